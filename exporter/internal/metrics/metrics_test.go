package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
)

var origin = Origin{BuildTag: "abc1234", Job: contract.Job{Namespace: "builds", Name: "job"}, Attempt: 2}

const infoText = "# HELP ke1_build_metrics_info The build that the metrics of this group are of.\n" +
	"# TYPE ke1_build_metrics_info gauge\n" +
	`ke1_build_metrics_info{attempt="2",build_job="job",build_tag="abc1234"} 1` + "\n"

func TestGoodFiles(t *testing.T) {
	for name, test := range map[string]struct {
		content, want string
		series        int
	}{
		"one, without a type and an end": {"tests_total 5", "# TYPE tests_total untyped\ntests_total 5\n", 1},
		"labels, escapes and odd numbers": {
			"# TYPE a gauge\n" + `a{b="x\"\\\n",c="ü"} +Inf` + "\n" + `a{c="y"} NaN` + "\n# EOF\n\n",
			"# TYPE a gauge\n" + `a{b="x\"\\\n",c="ü"} +Inf` + "\n" + `a{c="y"} NaN` + "\n", 2,
		},
		"a histogram and a summary, in any order": {
			"# TYPE z summary\nz{quantile=\"0.5\"} 2\nz_sum 4.5\nz_count 3\n" +
				"# HELP h how \\\\ long\\n\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4.5\nh_count 3\n",
			"# HELP h how \\\\ long\\n\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4.5\nh_count 3\n" +
				"# TYPE z summary\nz{quantile=\"0.5\"} 2\nz_sum 4.5\nz_count 3\n", 7,
		},
		"spaces, comments and commas": {
			"#comment\n # another\r\n\t a { b = \"c\" , d=\"}\", } \t 1e-3 \n", "# TYPE a untyped\n" + `a{b="c",d="}"} 1e-3` + "\n", 1,
		},
		"a name like a part of a histogram": {"a_count 3\na_sum 4\n", "# TYPE a_count untyped\na_count 3\n# TYPE a_sum untyped\na_sum 4\n", 2},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := parse(test.content, origin)
			if err != nil {
				t.Fatal(err)
			}
			if string(m.Text) != test.want+infoText || m.Series != test.series {
				t.Errorf("%d series:\n%s", m.Series, m.Text)
			}
		})
	}
}

func TestBadFiles(t *testing.T) {
	for name, test := range map[string]struct{ content, want string }{
		"nothing":                   {"", "no metric"},
		"only words":                {"# HELP a b\n", "no metric"},
		"no number":                 {"a b\n", "line 1: a has no number"},
		"no number at all":          {"\na", "line 2: a is followed by neither"},
		"a hexadecimal number":      {"a 0x1p-2\n", "no number"},
		"a number with underscores": {"a 1_000\n", "no number"},
		"no name":                   {"5 5\n", "does not begin with the name"},
		"a dash in a name":          {"a-b 5\n", "a is followed by neither"},
		"an open label":             {`a{b="c} 5` + "\n", "the value of the label b has no end"},
		"an open escape":            {`a{b="c\`, "the value of the label b has no end"},
		"an unknown escape":         {`a{b="\t"} 1`, "followed by none of"},
		"an open brace":             {`a{b="c" 5` + "\n", "neither a comma nor a brace"},
		"a label without quotes":    {`a{b=c} 5` + "\n", "not followed by a value in quotes"},
		"a label without a name":    {`a{="c"} 5` + "\n", "a label has no name"},
		"a label twice":             {`a{b="c",b="d"} 5` + "\n", "has the label b twice"},
		"a series twice":            {"a{b=\"c\",d=\"e\"} 5\na{d=\"e\",b=\"c\"} 6\n", "line 2: a is there twice with the same labels"},
		"two types":                 {"# TYPE a gauge\n# TYPE a counter\na 5\n", "TYPE twice"},
		"two helps":                 {"# HELP a gauge\n# HELP a counter\na 5\n", "HELP twice"},
		"a help's escape":           {`# HELP a \x` + "\na 5\n", "followed by neither"},
		"a late type":               {"a 5\n# TYPE a counter\n", "comes after its first line"},
		"an unknown type":           {"# TYPE a thing\na 5\n", "none of counter"},
		"no group":                  {"a 5\nb 5\na{c=\"d\"} 5\n", "the lines of a are not together"},
		"a bucket without a bound":  {"# TYPE a histogram\na_bucket 5\n", "no label le"},
		"a histogram of one number": {"# TYPE a histogram\na 5\n", "it has _bucket"},
		"a timestamp":               {"a 5 1395066363000\n", "timestamp"},
		"our own name":              {"ke1_build_success 1\n", "which is taken"},
		"a label that is ours":      {`a{job="x"} 5` + "\n", "which is taken"},
		"bytes":                     {"\x00\xff\xfe", "not valid UTF-8"},
		"invalid UTF-8":             {"a{b=\"\xff\"} 5\n", "not valid UTF-8"},
		"too many":                  {series(maxSeries + 1), "more than 10000"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := parse(test.content, origin)
			if err == nil {
				t.Fatalf("%s", m.Text)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Error(err)
			}
		})
	}
}

func series(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "b{i=\"%d\"} 1\n", i)
	}
	return b.String()
}

func TestSizeIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics")
	open := func() (*os.File, error) { return os.Open(path) }
	if _, err := Read(open, origin); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40)); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(open, origin); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Error(err)
	}
}

func TestPush(t *testing.T) {
	m, err := parse("a 1\n", origin)
	if err != nil {
		t.Fatal(err)
	}
	requests, status := 0, 503
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPut || r.URL.Path != "/path/metrics/job/ke1_build_metrics/namespace@base64/YnVpbGRz" ||
			string(body) != string(m.Text) || r.Header.Get("Authorization") != "Bearer x" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		if requests == 1 || status == 400 {
			w.WriteHeader(status)
		}
	}))
	defer server.Close()
	gateway := &Pushgateway{server.URL + "/path/", server.Client(), func(r *http.Request) error {
		r.Header.Set("Authorization", "Bearer x")
		return nil
	}}
	if err := gateway.Push(t.Context(), m, "builds"); err != nil || requests != 2 {
		t.Errorf("%v after %d requests", err, requests)
	}
	status = 400
	if err := gateway.Push(t.Context(), m, "builds"); err == nil || requests != 3 {
		t.Errorf("%v after %d requests", err, requests)
	}
	server.Close()
	began := time.Now()
	if err := gateway.Push(t.Context(), m, "builds"); err == nil || time.Since(began) > Patience+time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

func TestServeUntilScraped(t *testing.T) {
	m, err := parse("a 1\n", origin)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if _, err := Serve(m, port); err == nil {
		t.Error("a port was taken twice")
	}
	listener.Close()
	s, err := Serve(m, port)
	if err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	for _, request := range []struct{ method, path string }{{"HEAD", "/metrics"}, {"GET", "/"}, {"POST", "/metrics"}} {
		r, _ := http.NewRequestWithContext(t.Context(), request.method, url+request.path, nil)
		if response, err := http.DefaultClient.Do(r); err != nil {
			t.Error(err)
		} else {
			response.Body.Close()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	select {
	case <-s.scraped:
		t.Error("that was no scrape")
	case <-time.After(50 * time.Millisecond):
	}
	response, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	if string(body) != string(m.Text) || !strings.HasPrefix(response.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("%v %s", response.Header, body)
	}
	if !s.Wait(ctx) {
		t.Error("it goes on after it was scraped")
	}
	if _, err := http.Get(url + "/metrics"); err == nil {
		t.Error("it still listens")
	}
	s, err = Serve(m, port)
	if err != nil {
		t.Fatal(err)
	}
	limited, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if s.Wait(limited) {
		t.Error("nobody has scraped it")
	}
}
