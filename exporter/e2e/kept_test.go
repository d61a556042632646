package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
)

// kept is a container with an immutability policy that lets append blobs grow
// (https://learn.microsoft.com/azure/storage/blobs/immutable-time-based-retention-policy-overview): the emulator has none.
type kept struct {
	mutex   sync.Mutex
	written map[string]bool
	// refused are the requests that would have written over something, sent those that brought content.
	refused, sent []string
	// conditions says whether the store looks at If-None-Match before it looks at its policy.
	conditions bool
}

func (k *kept) proxy(forward http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		operation := r.URL.Query().Get("comp")
		creates := r.Method == http.MethodPut && (operation == "" || operation == "blocklist")
		k.mutex.Lock()
		if creates || operation == "block" {
			k.sent = append(k.sent, r.URL.Path)
		}
		refused := creates && k.written[r.URL.Path] && !(k.conditions && r.Header.Get("If-None-Match") != "")
		if refused && r.Header.Get("If-None-Match") == "" {
			k.refused = append(k.refused, r.URL.Path)
		}
		k.mutex.Unlock()
		if refused {
			w.Header().Set("x-ms-error-code", "BlobImmutableDueToPolicy")
			w.WriteHeader(http.StatusConflict)
			return
		}
		answer := &statusRecorder{ResponseWriter: w}
		forward.ServeHTTP(answer, r)
		if creates && answer.status == http.StatusCreated {
			k.mutex.Lock()
			k.written[r.URL.Path] = true
			k.mutex.Unlock()
		}
	})
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (s *statusRecorder) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

func underPolicy(p *pod) *kept {
	k := &kept{written: map[string]bool{}}
	p.through(k.proxy)
	return k
}

// What is transient can be told from what is kept by the type of its blob, and nothing is written twice.
func TestTransientIsAppendedAndKeptIsBlocks(t *testing.T) {
	p := newPod(t)
	k := underPolicy(p)
	failing := p.export()
	p.wrap(`mkdir bin; echo x >bin/x; exit 4`)
	equal(t, "the exporter's exit code", failing.wait(patience), 0, "")
	p = p.again()
	exporter := p.export()
	p.wrap(`mkdir bin; echo x >bin/x; head -c 3000000 /dev/zero >bin/large; echo out`)
	equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
	equal(t, "what was written over", fmt.Sprint(k.refused), "[]", "")
	for pager := p.client.NewListBlobsFlatPager(nil); pager.More(); {
		page, err := pager.NextPage(t.Context())
		must(t, err)
		for _, item := range page.Segment.BlobItems {
			name := strings.TrimPrefix(*item.Name, tag+"/")
			wanted := blob.BlobTypeBlockBlob
			if strings.HasPrefix(name, "attempts/") || strings.HasPrefix(name, "logs/") {
				wanted = blob.BlobTypeAppendBlob
			}
			equal(t, "the type of "+name, *item.Properties.BlobType, wanted, "")
		}
	}
}

// An exporter that ends between making started.json and writing it leaves a number that is nobody's.
func TestNumberWithoutRecord(t *testing.T) {
	p := newPod(t)
	_, err := p.client.NewAppendBlobClient(tag+"/attempts/1/started.json").Create(t.Context(), nil)
	must(t, err)
	exporter := p.export()
	p.wrap(`mkdir bin; echo x >bin/x`)
	equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
	equal(t, "the attempt", p.manifest().Attempt, 2, "")
	equal(t, "the first number's record", len(download(t, p.client, tag+"/attempts/1/started.json")), 0, "")
	equal(t, "whether the first number has an end", p.has("attempts/1/finished.json"), false, "")
}

// The first attempt ends before its manifest; the second finds its artifacts.
func TestSecondAttemptSendsWhatIsMissing(t *testing.T) {
	const build = `mkdir bin; echo small >bin/small; seq 3000000 >bin/large; seq 2000000 >bin/other`
	for name, test := range map[string]struct {
		// interrupt says at which request the first attempt comes to its end.
		interrupt func(r *http.Request) bool
		again     string
		sent      string
	}{
		"all is there": {
			func(r *http.Request) bool {
				return strings.HasSuffix(r.URL.Path, "/manifest.json") && r.Method == http.MethodPut
			},
			build, "",
		},
		"one is made of other bytes": {
			func(r *http.Request) bool {
				return strings.HasSuffix(r.URL.Path, "/manifest.json") && r.Method == http.MethodPut
			},
			build + `; echo SMALL >bin/small`, "small",
		},
		"blocks that were staged, and never made a blob": {
			func(r *http.Request) bool {
				return strings.HasSuffix(r.URL.Path, "/large") && r.URL.Query().Get("comp") == "blocklist" && r.Method == http.MethodPut
			},
			build, "large",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			direct := p.setting("KE1_CONTAINER_URL")
			p.through(func(forward http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if test.interrupt(r) {
						w.Header().Set("x-ms-error-code", "AuthenticationFailed")
						w.WriteHeader(http.StatusForbidden)
						return
					}
					forward.ServeHTTP(w, r)
				})
			})
			exporter := p.export()
			p.wrap(build)
			equal(t, "the first exit code", exporter.wait(patience), 1, "")
			p.set("KE1_CONTAINER_URL", direct)
			p = p.again()
			k := &kept{written: map[string]bool{}}
			p.through(k.proxy)
			exporter = p.export()
			p.wrap(test.again)
			equal(t, "the second exit code", exporter.wait(patience), 0, "")
			sent := map[string]bool{}
			for _, path := range k.sent {
				if _, artifact, ok := strings.Cut(path, "/bin/"); ok {
					sent[artifact] = true
				}
			}
			equal(t, "whether the small file was sent", sent["small"], test.sent == "small", "")
			equal(t, "whether the large file was committed", sent["large"], test.sent == "large", "")
			blocks := 0
			for _, path := range k.sent {
				if strings.HasSuffix(path, "/large") {
					blocks++
				}
			}
			if test.sent == "large" {
				equal(t, "the number of requests with parts of it", blocks, 1, "(the list of blocks alone)")
			}
			for _, artifact := range p.manifest().Artifacts {
				equal(t, artifact.Name, digestOf(download(t, p.client, tag+"/bin/"+artifact.Name)), artifact.SHA256, "")
			}
		})
	}
}

// Metadata is not believed where the service knows better.
func TestForgedMetadata(t *testing.T) {
	p := newPod(t)
	for _, name := range []string{"bin/small", "bin/large"} {
		size, content := 6, []byte("small\n")
		if name == "bin/large" {
			size, content = 3000000, make([]byte, 3000000)
		}
		digest := digestOf(content)
		_, err := p.client.NewBlockBlobClient(tag+"/"+name).UploadBuffer(t.Context(), make([]byte, size+1)[1:], nil)
		must(t, err)
		if name == "bin/small" {
			_, err = p.client.NewBlockBlobClient(tag+"/"+name).UploadBuffer(t.Context(), []byte("SMALL\n"), nil)
			must(t, err)
		}
		_, err = p.client.NewBlobClient(tag+"/"+name).SetMetadata(t.Context(), map[string]*string{"sha256": &digest}, nil)
		must(t, err)
	}
	_, err := p.client.NewAppendBlobClient(tag+"/attempts/1/started.json").Create(t.Context(), nil)
	must(t, err)
	exporter := p.export()
	p.wrap(`mkdir bin; echo small >bin/small; head -c 3000000 /dev/zero >bin/large`)
	equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
	equal(t, "the artifact", string(download(t, p.client, tag+"/bin/small")), "small\n", "")
	if strings.Contains(exporter.stderr.String(), "stored by an earlier attempt") {
		t.Error("what somebody else has put there was taken for an artifact of ours")
	}
}

// Under a policy, another attempt's other bytes cannot be mended: a clear failure that is not tried again.
func TestPolicyKeepsAnotherAttemptsArtifact(t *testing.T) {
	for _, conditions := range []bool{true, false} {
		t.Run(fmt.Sprintf("conditions first: %v", conditions), func(t *testing.T) {
			p := newPod(t)
			k := underPolicy(p)
			k.conditions = conditions
			_, err := p.client.NewBlockBlobClient(tag+"/bin/x").UploadBuffer(t.Context(), []byte("other\n"), nil)
			must(t, err)
			container := strings.SplitN(p.setting("KE1_CONTAINER_URL"), "/", 4)[3]
			k.written["/"+container+"/"+tag+"/bin/x"] = true
			exporter := p.export()
			p.wrap(`mkdir bin; echo x >bin/x`)
			equal(t, "the exporter's exit code", exporter.wait(patience), 3, "")
			result := p.result(exporter)
			equal(t, "the outcome", result.Outcome, contract.ExportFailed, "")
			contains(t, result.Message, "immutability policy")
			equal(t, "the artifact", string(download(t, p.client, tag+"/bin/x")), "other\n", "")
		})
	}
}
