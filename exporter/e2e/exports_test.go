package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
)

// give adds to what the exporter is told, offer to what the build is.
func (p *pod) give(name, value string)  { p.environment = append(p.environment, name+"="+value) }
func (p *pod) offer(name, value string) { p.extra = append(p.extra, name+"="+value) }

// places are where a build leaves what is to be carried, as the pod's environment says it.
func (p *pod) places() {
	p.offer("KE1_LOG_DIR", filepath.Join(p.dir, "logs"))
	p.offer("KE1_ARTIFACTS", filepath.Join(p.dir, "exports"))
	p.offer("KE1_METRICS_FILE", filepath.Join(p.dir, "metrics.prom"))
}

func (p *pod) logFile(log, name string) string {
	p.t.Helper()
	return string(download(p.t, p.client, tag+"/"+contract.LogFileName(log, name)))
}

// lokiServer notes what it is told.
type lokiServer struct {
	*httptest.Server
	mutex sync.Mutex
	lines map[string][]string
}

func newLoki(t *testing.T) *lokiServer {
	t.Helper()
	l := &lokiServer{lines: map[string][]string{}}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var push struct {
			Streams []struct {
				Stream map[string]string
				Values [][2]string
			}
		}
		content, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(content, &push); err != nil || r.URL.Path != "/loki/api/v1/push" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		l.mutex.Lock()
		defer l.mutex.Unlock()
		for _, s := range push.Streams {
			for _, value := range s.Values {
				l.lines[s.Stream["source"]] = append(l.lines[s.Stream["source"]], value[1])
			}
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *lokiServer) of(source string) string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return strings.Join(l.lines[source], "\n")
}

func TestLogFiles(t *testing.T) {
	shells(t, func(t *testing.T, p *pod) {
		p.places()
		p.offer("KE1_LOG_FILES", "^\\./build/(.*/)?[^/]*[.]log$\n^\\./top[.]txt$")
		p.secretsFor(map[string]string{"password": "hunter2!"})
		loki := newLoki(t)
		p.give("KE1_LOKI_URL", loki.URL)
		exporter := p.export()
		build := p.wrap(`mkdir -p build/deep/er; echo found hunter2! >build/deep/er/a.log; echo b >'build/b c.log'; echo no >build/no.txt
			echo top >top.txt; ln -s /etc/passwd build/link.log; mkfifo build/fifo.log
			mkdir "$KE1_LOG_DIR/sub"; echo first >"$KE1_LOG_DIR/sub/x"; echo clash >"$KE1_LOG_DIR/top.txt"
			ln -s /etc/passwd "$KE1_LOG_DIR/link"; mkfifo "$KE1_LOG_DIR/fifo"; echo odd >"$KE1_LOG_DIR/$(printf 'a\\b\377\n.')"
			sleep 2.5; echo second >>"$KE1_LOG_DIR/sub/x"; mv "$KE1_LOG_DIR/sub/x" "$KE1_LOG_DIR/sub/x.1"; sleep 1.5
			echo anew >"$KE1_LOG_DIR/sub/x"; printf 'no end' >"$KE1_LOG_DIR/late"; exit 3`)
		// Live: it is in the store and in Loki while the build runs.
		var live string
		eventually(t, "the first line of a log that grows is stored", func() bool {
			i := slices.IndexFunc(list(t, p.client), func(name string) bool { return strings.HasSuffix(name, "/sub/x") })
			if i >= 0 {
				live = string(download(t, p.client, list(t, p.client)[i]))
			}
			return live == "first\n"
		})
		equal(t, "the build's exit code", build.wait(patience), 3, "a failed build's logs matter most")
		equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
		finished := p.finished(1)
		want := map[string]string{
			"a%5Cb%FF%0A%2E": "odd\n", "build/b%20c.log": "b\n", "build/deep/er/a.log": "found ***\n", "late": "no end",
			"sub/x": "first\nsecond\n", "sub/x~2": "anew\n", "top.txt": "clash\n", "top.txt~2": "top\n",
		}
		got := map[string]string{}
		for _, file := range finished.LogFiles {
			content := p.logFile(finished.Log.Name, file.Name)
			got[file.Name] = content
			equal(t, "the size of "+file.Name, file.Size, int64(len(content)), "")
			equal(t, "the digest of "+file.Name, file.SHA256, digestOf([]byte(content)), "")
			equal(t, "what Loki has of "+file.Name, loki.of(file.Name), strings.TrimSuffix(content, "\n"), "")
		}
		equal(t, "the log files", fmt.Sprint(got), fmt.Sprint(want), "")
		equal(t, "what was told", finished.Deliveries[0], contract.Delivery{Receiver: "Loki", Lines: 9}, "")
		properties, err := p.client.NewBlobClient(tag+"/"+contract.LogFileName(finished.Log.Name, "late")).GetProperties(t.Context(), nil)
		must(t, err)
		equal(t, "the blob's type", string(*properties.BlobType), "AppendBlob", "so that the rule for logs is for it")
	})
}

// However many and large the files are: the build's own log and artifacts are stored, and the memory stays small.
func TestTooManyAndTooLargeLogFiles(t *testing.T) {
	p := newPod(t)
	p.places()
	exporter := p.export()
	peak := exporter.highWater()
	build := p.wrap(`mkdir bin; echo x >bin/x; cd "$KE1_LOG_DIR"; i=0; while [ $i -lt 150 ]; do seq 20000 >f$i; i=$((i+1)); done
		cd ..; rm -rf exports; ln -s /etc exports`)
	equal(t, "the build's exit code", build.wait(2*time.Minute), 0, "")
	exporter.wait(2 * time.Minute)
	finished := p.finished(1)
	equal(t, "the number of logs", len(finished.LogFiles), 100, "")
	equal(t, "the outcome", finished.Outcome, contract.ExportFailed, "KE1_ARTIFACTS became a link")
	contains(t, exporter.stderr.String(), "50 log files were left: there are more than 100 of them")
	if highest := peak(); highest > memoryLimit {
		t.Errorf("the exporter's memory is %d MiB", highest>>20)
	}
}

func TestLargeLogFileIsCut(t *testing.T) {
	p := newPod(t)
	p.places()
	exporter := p.export()
	p.wrap(`mkdir bin; echo x >bin/x; echo head >"$KE1_LOG_DIR/big"; truncate -s 300M "$KE1_LOG_DIR/big"`)
	equal(t, "the exporter's exit code", exporter.wait(2*time.Minute), 0, "")
	m := p.manifest()
	const mark = "\nke1: the rest of this log was too large to be kept\n"
	equal(t, "its size", m.LogFiles[0].Size, 256<<20+int64(len(mark)), "")
	equal(t, "whether it is said", m.LogFiles[0].Truncated, true, "")
	content := download(t, p.client, tag+"/"+contract.LogFileName(m.Log.Name, "big"))
	contains(t, string(content[len(content)-100:]), mark)
	equal(t, "its digest", digestOf(content), m.LogFiles[0].SHA256, "")
}

func TestArtifactsFromTheVolume(t *testing.T) {
	for name, test := range map[string]struct {
		script, artifacts, message string
		exporterCode, buildCode    int
	}{
		"besides bin": {
			script:    `mkdir bin; echo a >bin/a; mkdir "$KE1_ARTIFACTS/d"; echo b >"$KE1_ARTIFACTS/d/b"; ln -s d/b "$KE1_ARTIFACTS/l"`,
			artifacts: "a d/b",
		},
		"instead of bin":          {script: `echo b >"$KE1_ARTIFACTS/b"`, artifacts: "b"},
		"instead of an empty bin": {script: `mkdir bin; echo b >"$KE1_ARTIFACTS/b"`, artifacts: "b"},
		"the same name": {
			script:  `mkdir bin; echo a >bin/a; echo b >"$KE1_ARTIFACTS/a"`,
			message: "there are two artifacts a, one in the artifact directory and one in KE1_ARTIFACTS", exporterCode: 3,
		},
		"a file and a directory": {
			script:  `mkdir bin; echo a >bin/a; mkdir "$KE1_ARTIFACTS/a"; echo b >"$KE1_ARTIFACTS/a/b"`,
			message: "the artifact a is a file in one of the artifact directory and KE1_ARTIFACTS", exporterCode: 3,
		},
		"nothing at all":    {script: `true`, message: "the build left nothing in bin/", buildCode: 1},
		"of a failed build": {script: `echo b >"$KE1_ARTIFACTS/b"; exit 4`, message: "exit code 4", buildCode: 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPod(t)
			p.places()
			exporter, build := p.export(), p.wrap(test.script)
			equal(t, "the build's exit code", build.wait(patience), test.buildCode, "")
			equal(t, "the exporter's exit code", exporter.wait(patience), test.exporterCode, "")
			contains(t, p.finished(1).Message, test.message)
			equal(t, "whether it is built", p.has("manifest.json"), test.artifacts != "", "")
			if test.artifacts == "" {
				return
			}
			var names []string
			for _, artifact := range p.manifest().Artifacts {
				names = append(names, artifact.Name)
				equal(t, "the digest of "+artifact.Name, digestOf(download(t, p.client, tag+"/bin/"+artifact.Name)), artifact.SHA256, "")
			}
			equal(t, "the artifacts", strings.Join(names, " "), test.artifacts, "")
		})
	}
}

func TestMetricsAreCarried(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	pushed := make(chan string, 1)
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		pushed <- r.Method + " " + r.URL.Path + "\n" + string(content)
	}))
	t.Cleanup(gateway.Close)
	p := newPod(t)
	p.places()
	p.offer("KE1_METRICS_PATH", "out/metrics.txt")
	p.give("KE1_METRICS_PUSHGATEWAY", gateway.URL)
	p.give("KE1_METRICS_PORT", fmt.Sprint(port))
	exporter := p.export()
	build := p.wrap(`mkdir bin out; echo x >bin/x; echo 'tests_total 12' >out/metrics.txt`)
	equal(t, "the build's exit code", build.wait(patience), 0, "")
	eventually(t, "the manifest is there before anybody has scraped", func() bool { return p.has("manifest.json") })
	var scraped string
	eventually(t, "the metrics are served", func() bool {
		response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
		if err != nil {
			return false
		}
		defer response.Body.Close()
		content, _ := io.ReadAll(response.Body)
		scraped = string(content)
		return true
	})
	equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
	contains(t, exporter.stderr.String(), "metrics: scraped")
	contains(t, scraped, "# TYPE tests_total untyped\ntests_total 12\n")
	contains(t, scraped, `build_tag="abc1234"`)
	equal(t, "what was pushed", <-pushed, "PUT /metrics/job/ke1_build_metrics/namespace@base64/a2UtMQ\n"+scraped, "")
	equal(t, "what finished.json says", p.finished(1).Metrics, "pushed", "")
}

// A receiver that takes nothing makes nobody fail, and holds a build up for no longer than is said.
func TestReceiversThatAreDown(t *testing.T) {
	hang := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	t.Cleanup(slow.Close)
	t.Cleanup(func() { close(hang) })
	p := newPod(t)
	p.places()
	p.give("KE1_LOKI_URL", slow.URL)
	p.give("KE1_ELASTICSEARCH_URL", "http://127.0.0.1:1")
	p.give("KE1_ELASTICSEARCH_INDEX", "builds")
	p.give("KE1_METRICS_PUSHGATEWAY", slow.URL)
	exporter := p.export()
	build := p.wrap(`mkdir bin; echo x >bin/x; seq 1000; echo 'a 1' >"$KE1_METRICS_FILE"`)
	equal(t, "the build's exit code", build.wait(patience), 0, "")
	ended := time.Now()
	equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
	if took := time.Since(ended); took > 8*time.Second {
		t.Errorf("the build was held up for %s", took)
	}
	finished := p.finished(1)
	equal(t, "the outcome", finished.Outcome, contract.Succeeded, "")
	equal(t, "what Loki did not get", finished.Deliveries[0].Dropped, 1000, "")
	equal(t, "what Elasticsearch did not get", finished.Deliveries[1].Dropped, 1000, "")
	contains(t, finished.Deliveries[1].Problem, "connection refused")
	contains(t, finished.Metrics, "not pushed: it does not answer in time")
	contains(t, exporter.stderr.String(), "Elasticsearch took 0 lines of the log; 1000 were dropped: connection refused")
}

func TestWrongReceiverSettings(t *testing.T) {
	p := newPod(t)
	secrets := filepath.Join(filepath.Dir(p.dir), "sinks")
	must(t, os.Mkdir(secrets, 0o755))
	must(t, os.WriteFile(filepath.Join(secrets, "loki.username"), []byte("s3cret"), 0o644))
	p.give("KE1_LOKI_URL", "http://user:s3cret@loki")
	p.give("KE1_ELASTICSEARCH_URL", "http://es")
	p.give("KE1_ELASTICSEARCH_INDEX", "../other")
	p.give("KE1_METRICS_PORT", "80")
	p.give("KE1_SINK_DIR", secrets)
	exporter, build := p.export(), p.wrap(`echo must not run`)
	equal(t, "the exporter's exit code", exporter.wait(patience), 2, "")
	for _, part := range []string{"KE1_LOKI_URL is not", `KE1_ELASTICSEARCH_INDEX is not the name of an index: "../other"`,
		"KE1_METRICS_PORT is not", "KE1_SINK_DIR: loki.username and loki.password go together"} {
		contains(t, exporter.stderr.String(), part)
	}
	if strings.Contains(exporter.stderr.String(), "s3cret") {
		t.Error("the exporter says a secret")
	}
	equal(t, "the build's exit code", build.wait(patience), 75, "")
}
