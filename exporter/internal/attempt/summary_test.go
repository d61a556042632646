package attempt

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseSummary(t *testing.T) {
	for content, want := range map[string]string{
		`{"tests": 3, "failed": ["a<b>"], "inner": {"x": null}}`: `{"failed":["a<b>"],"inner":{"x":null},"tests":3}`,
		`{"twice": 1, "twice": 2}`:                               `{"twice":2}`,
		`{}`:                                                     `{}`,
		`{"text": "[[[[[[[[[[[[[[[[[[[[[[[[\"[[[["}`:             `{"text":"[[[[[[[[[[[[[[[[[[[[[[[[\"[[[["}`,
	} {
		if got, err := parseSummary([]byte(content)); err != nil || string(got) != want {
			t.Errorf("%s gives %s, %v", content, got, err)
		}
	}
	deep := strings.Repeat(`{"a":`, 17) + "1" + strings.Repeat("}", 17)
	for content, want := range map[string]string{
		``: "not a JSON object", `null`: "not a JSON object", `[]`: "not a JSON object", `"a"`: "not a JSON object",
		`{} {}`: "not a JSON object", `{"a": 1e999}`: "not a JSON object", "{\"a\": \"\xff\"}": "not UTF-8",
		`{"__proto__": 1}`:                         "not a name",
		`{"a": [{"constructor ": 1}]}`:             "not a name",
		`{"4dabf18193072939515e22adb298388d": ""}`: "not a name",
		deep:                        "nested",
		strings.Repeat("[", 60_000): "nested",
		fmt.Sprintf(`{%q: 1}`, strings.Repeat("a", 65)): "not a name",
	} {
		if got, err := parseSummary([]byte(content)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s gives %s, %v", content, got, err)
		}
	}
}
