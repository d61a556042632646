package contract

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const shared = "../../../contract"

// The samples are valid by the schemas (a TypeScript test sees to that): the types here must have a place for all that is
// in them, and write it back as it was.
func TestSamplesSurvive(t *testing.T) {
	samples, err := filepath.Glob(filepath.Join(shared, "testdata", "*.json"))
	if err != nil || len(samples) < 7 {
		t.Fatalf("%d samples, %v", len(samples), err)
	}
	for _, path := range samples {
		name := filepath.Base(path)
		var document any
		switch {
		case strings.HasPrefix(name, "manifest"):
			document = &Manifest{}
		case strings.HasPrefix(name, "started"):
			document = &Started{}
		case strings.HasPrefix(name, "finished"):
			document = &Finished{}
		case strings.HasPrefix(name, "exporter-result"):
			document = &Result{}
		default:
			t.Errorf("%s is no known document", name)
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(bytes.NewReader(content))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(document); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(generic(t, again), generic(t, content)) {
			t.Errorf("%s comes back as %s", name, again)
		}
	}
}

// Every property of a schema has a field here and the other way round, and required ones are always written.
func TestSchemasAndTypesAgree(t *testing.T) {
	for name, document := range map[string]any{
		"manifest": Manifest{}, "started": Started{}, "finished": Finished{}, "exporter-result": Result{},
	} {
		content, err := os.ReadFile(filepath.Join(shared, "schemas", name+".schema.json"))
		if err != nil {
			t.Fatal(err)
		}
		var schema struct {
			Properties map[string]any
			Required   []string
		}
		if err := json.Unmarshal(content, &schema); err != nil {
			t.Fatal(err)
		}
		optional := map[string]bool{}
		for property := range schema.Properties {
			optional[property] = true
		}
		for _, property := range schema.Required {
			optional[property] = false
		}
		fields := map[string]bool{}
		kind := reflect.TypeOf(document)
		for i := range kind.NumField() {
			field, option, _ := strings.Cut(kind.Field(i).Tag.Get("json"), ",")
			fields[field] = option == "omitempty"
		}
		if !reflect.DeepEqual(fields, optional) {
			t.Errorf("%s: the type has %v, the schema %v", name, fields, optional)
		}
	}
}

func TestTimes(t *testing.T) {
	at := time.Date(2026, 11, 21, 9, 51, 1, 123_900_000, time.FixedZone("CET", 3600))
	if got := LogName(at); got != "logs/20261121T085101.123Z.log" {
		t.Error(got)
	}
	if got := Timestamp(at); got != "2026-11-21T08:51:01.123Z" {
		t.Error(got)
	}
	if got := Seconds(1234567 * time.Microsecond); got != 1.234 {
		t.Error(got)
	}
}

func generic(t *testing.T, content []byte) any {
	t.Helper()
	var value any
	if err := json.Unmarshal(content, &value); err != nil {
		t.Fatal(err)
	}
	return value
}
