package sinks

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
)

var origin = Origin{BuildTag: "abc1234", Job: contract.Job{Namespace: "builds", Name: "job"}, PodUID: "uid", Attempt: 2}

// receiver is a server that holds to what Loki's and Elasticsearch's documentation say of a request, and fails as it is told.
type receiver struct {
	*httptest.Server
	t     *testing.T
	mutex sync.Mutex
	// lines by source, in order of arrival, and the documents' ids.
	lines map[string][]string
	ids   map[string]bool
	times map[string]int64
	// answer is asked before a request is taken; 0 to take it.
	answer func(n int) int
	// item is asked for each document.
	item     func(n int) int
	requests int
	items    int
	header   http.Header
	largest  int
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{t: t, lines: map[string][]string{}, ids: map[string]bool{}, times: map[string]int64{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /loki/api/v1/push", func(w http.ResponseWriter, q *http.Request) { r.take(w, q, r.loki) })
	mux.HandleFunc("POST /ke1-builds/_bulk", func(w http.ResponseWriter, q *http.Request) { r.take(w, q, r.bulk) })
	r.Server = httptest.NewServer(mux)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) take(w http.ResponseWriter, q *http.Request, accept func(w http.ResponseWriter, body []byte)) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.requests++
	r.header = q.Header.Clone()
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return
	}
	r.largest = max(r.largest, len(body))
	if r.answer != nil {
		if status := r.answer(r.requests); status != 0 {
			w.WriteHeader(status)
			fmt.Fprintln(w, "not now\x1b[31m\nsecond line")
			return
		}
	}
	accept(w, body)
}

func (r *receiver) loki(w http.ResponseWriter, body []byte) {
	var push struct {
		Streams []struct {
			Stream map[string]string
			Values [][]string
		}
	}
	strict(r.t, body, &push)
	for _, s := range push.Streams {
		if s.Stream["build_tag"] != "abc1234" || s.Stream["namespace"] != "builds" || s.Stream["job"] != "job" ||
			s.Stream["attempt"] != "2" || len(s.Stream) != 5 {
			r.t.Errorf("labels %v", s.Stream)
		}
		source := s.Stream["source"]
		for _, value := range s.Values {
			at, err := strconv.ParseInt(value[0], 10, 64)
			if err != nil || at <= r.times[source] || len(value) != 2 {
				r.t.Errorf("%s comes after %d", value[0], r.times[source])
			}
			r.times[source] = at
			r.lines[source] = append(r.lines[source], value[1])
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) bulk(w http.ResponseWriter, body []byte) {
	if len(body) == 0 || body[len(body)-1] != '\n' {
		r.t.Error("the body does not end with a line break")
	}
	type item struct {
		Status int            `json:"status"`
		Error  map[string]any `json:"error,omitempty"`
	}
	answer := struct {
		Errors bool              `json:"errors"`
		Items  []map[string]item `json:"items"`
	}{}
	lines := bufio.NewScanner(strings.NewReader(string(body)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var action struct {
			Create struct {
				ID string `json:"_id"`
			} `json:"create"`
		}
		strict(r.t, lines.Bytes(), &action)
		if !lines.Scan() {
			r.t.Error("an action without a document")
		}
		var d document
		strict(r.t, lines.Bytes(), &d)
		if _, err := time.Parse(time.RFC3339Nano, d.Timestamp); err != nil || d.BuildTag != "abc1234" || d.Attempt != 2 {
			r.t.Errorf("document %+v", d)
		}
		r.items++
		status := http.StatusCreated
		if r.item != nil && r.item(r.items) != 0 {
			status = r.item(r.items)
		} else if r.ids[action.Create.ID] {
			status = http.StatusConflict
		} else {
			r.ids[action.Create.ID] = true
			r.lines[d.Source] = append(r.lines[d.Source], d.Message)
		}
		it := item{Status: status}
		if status >= 300 {
			answer.Errors = true
			it.Error = map[string]any{"type": "some_exception", "reason": "because"}
		}
		answer.Items = append(answer.Items, map[string]item{"create": it})
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func strict(t *testing.T, content []byte, into any) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(string(content)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		t.Errorf("%v in %.200q", err, content)
	}
	if !utf8.Valid(content) {
		t.Error("not UTF-8")
	}
}

func both(t *testing.T, test func(t *testing.T, r *receiver, settings Settings)) {
	t.Run("Loki", func(t *testing.T) {
		r := newReceiver(t)
		test(t, r, Settings{LokiURL: r.URL + "/"})
	})
	t.Run("Elasticsearch", func(t *testing.T) {
		r := newReceiver(t)
		test(t, r, Settings{ElasticsearchURL: r.URL, ElasticsearchIndex: "ke1-builds"})
	})
}

func TestLines(t *testing.T) {
	both(t, func(t *testing.T, r *receiver, settings Settings) {
		set := Start(t.Context(), settings, origin, t.Logf)
		output, file := set.Stream("output"), set.Stream("a%20file")
		long := strings.Repeat("ü", maxLine)
		content := "one\r\ntwo \x00 \xff\xfe <&> \"\\ \u2028\n\n" + long + "\nlast"
		for i := range len(content) {
			// All lines at one moment: their times must differ nevertheless.
			output.Write(time.Unix(1_800_000_000, 0), []byte(content[i:i+1]))
		}
		file.Write(time.Now(), []byte("of the file\n"))
		output.End(time.Now())
		file.End(time.Now())
		deliveries := set.Close(time.Now().Add(5 * time.Second))
		want := []string{"one", "two \x00 \uFFFD <&> \"\\ \u2028", "",
			long[:maxLine] + partMark, partMark + long[maxLine:2*maxLine] + "", "last"}
		if !slices.Equal(r.lines["output"], want) {
			t.Errorf("got %d lines: %.80q", len(r.lines["output"]), r.lines["output"])
		}
		if !slices.Equal(r.lines["a%20file"], []string{"of the file"}) {
			t.Errorf("%q", r.lines["a%20file"])
		}
		if d := deliveries[0]; d.Lines != 7 || d.Dropped != 0 || d.Problem != "" {
			t.Errorf("%+v", d)
		}
	})
}

// What fails in a way that may pass is told again, all of it once, and in order.
func TestTroubleThatPasses(t *testing.T) {
	for _, status := range []int{429, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			both(t, func(t *testing.T, r *receiver, settings Settings) {
				r.answer = func(n int) int {
					if n <= 3 {
						return status
					}
					return 0
				}
				set := Start(t.Context(), settings, origin, t.Logf)
				output := set.Stream("output")
				var want []string
				for i := range 10_000 {
					want = append(want, fmt.Sprintf("line %d", i))
					output.Write(time.Now(), []byte(want[i]+"\n"))
				}
				// While the build runs.
				time.Sleep(4 * time.Second)
				d := set.Close(time.Now().Add(5 * time.Second))[0]
				if !slices.Equal(r.lines["output"], want) || d.Lines != 10_000 || d.Dropped != 0 {
					t.Errorf("%d lines, %+v", len(r.lines["output"]), d)
				}
			})
		})
	}
}

// Of a bulk request only those lines are told again that were not taken, and those that never will be are counted.
func TestPartsOfABulkRequest(t *testing.T) {
	r := newReceiver(t)
	r.item = func(n int) int {
		switch {
		case n == 3 || n == 5:
			return 429
		case n == 7:
			return 400
		}
		return 0
	}
	set := Start(t.Context(), Settings{ElasticsearchURL: r.URL, ElasticsearchIndex: "ke1-builds"}, origin, t.Logf)
	output := set.Stream("output")
	for i := range 10 {
		output.Write(time.Now(), fmt.Appendf(nil, "%d\n", i+1))
	}
	d := set.Close(time.Now().Add(5 * time.Second))[0]
	if got := strings.Join(r.lines["output"], " "); got != "1 2 4 6 8 9 10 3 5" || r.items != 12 {
		t.Errorf("%s, in %d items", got, r.items)
	}
	if d.Lines != 9 || d.Dropped != 1 || d.Problem != "it answered 400: some_exception because" {
		t.Errorf("%+v", d)
	}
}

// A receiver that is down, slow, or refuses holds nothing up for longer than it may, and what it did not get is counted.
func TestReceiverThatTakesNothing(t *testing.T) {
	hang := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	t.Cleanup(slow.Close)
	t.Cleanup(func() { close(hang) })
	gone := httptest.NewServer(nil)
	gone.Close()
	refusing := newReceiver(t)
	refusing.answer = func(int) int { return 401 }
	for name, test := range map[string]struct {
		url, problem string
		limit        time.Duration
	}{
		"down":    {gone.URL, "connection refused", 3 * time.Second},
		"slow":    {slow.URL, "it does not answer in time", 3500 * time.Millisecond},
		"refuses": {refusing.URL, "it answered 401 not now [31m second line", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			set := Start(t.Context(), Settings{LokiURL: test.url}, origin, t.Logf)
			output := set.Stream("output")
			began := time.Now()
			text := []byte(strings.Repeat("x", 99) + "\n")
			const lines = 200_000
			for range lines {
				output.Write(time.Now(), text)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("20 MB were taken in %s", took)
			}
			if queued := set.sinks[0].queued; queued > maxQueued {
				t.Errorf("%d bytes wait", queued)
			}
			began = time.Now()
			d := set.Close(began.Add(3 * time.Second))[0]
			if took := time.Since(began); took > test.limit {
				t.Errorf("the end took %s", took)
			}
			if d.Lines != 0 || d.Dropped != lines || !strings.Contains(d.Problem, test.problem) || d.Problem == "" {
				t.Errorf("%+v", d)
			}
		})
	}
}

func TestBatchesAreBounded(t *testing.T) {
	both(t, func(t *testing.T, r *receiver, settings Settings) {
		set := Start(t.Context(), settings, origin, t.Logf)
		output := set.Stream("output")
		for range 30 {
			output.Write(time.Now(), []byte(strings.Repeat("y", 100_000)+"\n"))
			time.Sleep(5 * time.Millisecond)
		}
		d := set.Close(time.Now().Add(5 * time.Second))[0]
		if d.Lines != 120 || d.Dropped != 0 || r.largest > batchBytes+64<<10 || r.requests < 6 {
			t.Errorf("%+v, %d requests of at most %d bytes", d, r.requests, r.largest)
		}
	})
}

func TestCredentials(t *testing.T) {
	for name, test := range map[string]struct {
		files     map[string]string
		want, bad string
	}{
		"none":              {map[string]string{}, "", ""},
		"a password":        {map[string]string{"loki.username": "user\n", "loki.password": "pass\n"}, "Basic dXNlcjpwYXNz", ""},
		"a token":           {map[string]string{"loki.token": "abc"}, "Bearer abc", ""},
		"an API key":        {map[string]string{"loki.apikey": "abc"}, "ApiKey abc", ""},
		"somebody else's":   {map[string]string{"elasticsearch.token": "abc"}, "", ""},
		"two":               {map[string]string{"loki.token": "abc", "loki.apikey": "abc"}, "", "more than one credential for loki"},
		"half a password":   {map[string]string{"loki.username": "user"}, "", "go together"},
		"a header's end":    {map[string]string{"loki.token": "abc\nX-Other: 1"}, "", "more than one line"},
		"a wrong authority": {map[string]string{"ca.crt": "abc"}, "", "no certificate in PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range test.files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := Secrets(dir).Check("loki")
			if test.bad != "" {
				if err == nil || !strings.Contains(err.Error(), test.bad) || strings.Contains(err.Error(), "abc\n") {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r := newReceiver(t)
			set := Start(t.Context(), Settings{LokiURL: r.URL, LokiTenant: "team", Secrets: Secrets(dir)}, origin, t.Logf)
			set.Stream("output").Write(time.Now(), []byte("x\n"))
			set.Close(time.Now().Add(5 * time.Second))
			if got := r.header.Get("Authorization"); got != test.want || r.header.Get("X-Scope-OrgID") != "team" {
				t.Errorf("%q, %v", got, r.header)
			}
		})
	}
}

// A credential goes where it belongs, and nowhere else.
func TestRedirectIsNotFollowed(t *testing.T) {
	other := newReceiver(t)
	r := httptest.NewServer(http.RedirectHandler(other.URL+"/loki/api/v1/push", http.StatusTemporaryRedirect))
	t.Cleanup(r.Close)
	set := Start(t.Context(), Settings{LokiURL: r.URL}, origin, t.Logf)
	set.Stream("output").Write(time.Now(), []byte("x\n"))
	d := set.Close(time.Now().Add(5 * time.Second))[0]
	if other.requests != 0 || d.Dropped != 1 || !strings.HasPrefix(d.Problem, "it answered 307") {
		t.Errorf("%d requests, %+v", other.requests, d)
	}
}
