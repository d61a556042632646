package e2e

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
)

// through puts a proxy between the pod and the store.
func (p *pod) through(handler func(forward http.Handler) http.Handler) {
	p.t.Helper()
	target, err := url.Parse(p.setting("KE1_CONTAINER_URL"))
	must(p.t, err)
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = target.Scheme, target.Host, target.Host
	}}
	server := httptest.NewServer(handler(forward))
	p.t.Cleanup(server.Close)
	p.set("KE1_CONTAINER_URL", server.URL+target.Path)
}

// seen tells the first request for something from the others.
type seen struct {
	mutex sync.Mutex
	keys  map[string]bool
}

func (s *seen) first(key string) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.keys == nil {
		s.keys = map[string]bool{}
	}
	before := s.keys[key]
	s.keys[key] = true
	return !before
}

func withoutSignature(r *http.Request) string {
	query := r.URL.Query()
	return r.Method + " " + r.URL.Path + " " + query.Get("comp") + " " + query.Get("blockid") + " " +
		r.Header.Get("x-ms-blob-condition-appendpos") + r.Header.Get("x-ms-lease-action")
}

// A store that does what it is asked, but whose first answer to each request is lost on the way.
func TestLostAnswers(t *testing.T) {
	p := newPod(t)
	var requests seen
	lost := 0
	p.through(func(forward http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !requests.first(withoutSignature(r)) || r.Method == http.MethodGet {
				forward.ServeHTTP(w, r)
				return
			}
			forward.ServeHTTP(httptest.NewRecorder(), r)
			lost++
			panic(http.ErrAbortHandler)
		})
	})
	exporter := p.export()
	p.wrap(`mkdir bin; echo x >bin/x; head -c 3000000 /dev/zero >bin/large; echo one; sleep 0.5; echo two`)
	equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
	m := p.manifest()
	equal(t, "the outcome", p.result(exporter).Outcome, contract.Succeeded, "")
	equal(t, "the attempt", m.Attempt, 1, "")
	equal(t, "the log", string(download(t, p.client, tag+"/"+m.Log.Name)), "one\ntwo\n", "")
	equal(t, "whether there is a second attempt", p.has("attempts/2/started.json"), false, "")
	if lost < 8 {
		t.Errorf("only %d answers were lost", lost)
	}
}

func TestBusyStore(t *testing.T) {
	p := newPod(t)
	var requests seen
	p.through(func(forward http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if requests.first(withoutSignature(r)) {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			forward.ServeHTTP(w, r)
		})
	})
	exporter := p.export()
	p.wrap(`mkdir bin; echo x >bin/x; echo one; sleep 0.5; echo two`)
	equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
	equal(t, "the log", string(download(t, p.client, tag+"/"+p.manifest().Log.Name)), "one\ntwo\n", "")
}

func TestStoreAwayDuringBuild(t *testing.T) {
	own, err := startAzurite(filepath.Join(t.TempDir(), "azurite"))
	must(t, err)
	t.Cleanup(func() { own.stop() })
	endpoint, signature, client := own.containerOf(t)
	p := podOn(t, endpoint, signature, client)
	exporter := p.export()
	build := p.wrap(`echo before; while [ ! -e go ]; do sleep 0.05; done; echo during; while [ ! -e end ]; do sleep 0.05; done
		mkdir bin; echo x >bin/x; echo after`)
	eventually(t, "the log begins", func() bool {
		for _, blob := range list(t, client) {
			if strings.Contains(blob, "/logs/") && string(download(t, client, blob)) == "before\n" {
				return true
			}
		}
		return false
	})
	own.stop()
	touch(t, p, "go")
	eventually(t, "the exporter notices", func() bool { return strings.Contains(exporter.stderr.String(), "trouble") })
	// Also away when the build ends.
	touch(t, p, "end")
	equal(t, "the build's exit code", build.wait(patience), 0, "")
	must(t, own.start())
	equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
	equal(t, "the log", string(download(t, client, tag+"/"+p.manifest().Log.Name)), "before\nduring\nafter\n", "")
}

// An expired or wrong signature is no reason to wait for minutes.
func TestRefusedCredential(t *testing.T) {
	p := newPod(t)
	p.through(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("x-ms-error-code", "AuthenticationFailed")
			w.WriteHeader(http.StatusForbidden)
		})
	})
	exporter, build := p.export(), p.wrap("true")
	equal(t, "the exporter's exit code", exporter.wait(patience), 1, "")
	equal(t, "the build's exit code", build.wait(patience), 75, "")
	contains(t, p.result(exporter).Message, "403 AuthenticationFailed: the credential has expired")
}

// The manifest of another build that was done first, although this one had the lease.
func TestManifestIsWrittenOnce(t *testing.T) {
	for name, source := range map[string]string{"same tree": tree, "another tree": other} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			exporter := p.export()
			build := p.wrap(`mkdir bin; echo x >bin/x; echo begun; while [ ! -e end ]; do sleep 0.05; done`)
			eventually(t, "the build begins", func() bool { return strings.Contains(build.stdout.String(), "begun") })
			intruder := []byte(`{"schemaVersion":1,"buildTag":"` + tag + `","source":{"tree":"` + source +
				`"},"command":["make","build"]}`)
			_, err := p.client.NewBlockBlobClient(tag+"/manifest.json").UploadBuffer(t.Context(), intruder, nil)
			must(t, err)
			touch(t, p, "end")
			code := exporter.wait(patience)
			result := p.result(exporter)
			if source == tree {
				equal(t, "the exporter's exit code", code, 0, "")
				equal(t, "the outcome", result.Outcome, contract.AlreadyBuilt, "")
			} else {
				equal(t, "the exporter's exit code", code, 3, "")
				contains(t, result.Message, "another tree")
			}
			equal(t, "finished.json's outcome", p.finished(1).Outcome, result.Outcome, "")
			equal(t, "the manifest", string(download(t, p.client, tag+"/manifest.json")), string(intruder), "")
		})
	}
}

func touch(t *testing.T, p *pod, name string) {
	t.Helper()
	command := p.hostile(`touch "` + filepath.Join(p.source, name) + `"`)
	equal(t, "touch", command.wait(patience), 0, "")
}
