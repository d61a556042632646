package store

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestMain makes the certificate of all of httptest's servers one of the machine's authorities, as SSL_CERT_FILE does for
// a private one in a pod. It is read once a process, before the first test.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		server := httptest.NewTLSServer(nil)
		defer server.Close()
		dir, err := os.MkdirTemp("", "ke1-roots-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "ca.crt")
		block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
		if err := os.WriteFile(file, block, 0o600); err != nil {
			panic(err)
		}
		os.Setenv("SSL_CERT_FILE", file)
		return m.Run()
	}())
}

const (
	tenant = "11111111-2222-3333-4444-555555555555"
	client = "66666666-7777-8888-9999-aaaaaaaaaaaa"
	// assertion looks like a service account's token, which is what must not be seen anywhere.
	assertion = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.YXNzZXJ0aW9u"
)

// entra is a token endpoint that answers with what the test says, and counts. The integration test has one that checks.
type entra struct {
	url      string
	requests atomic.Int32
	answer   func(request int32, w http.ResponseWriter, form map[string][]string)
}

func newEntra(t *testing.T, answer func(int32, http.ResponseWriter, map[string][]string)) *entra {
	t.Helper()
	e := &entra{answer: answer}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodGet {
			fmt.Fprintf(w, `{"issuer":"%[1]s/%[2]s/v2.0","authorization_endpoint":"%[1]s/%[2]s/oauth2/v2.0/authorize",`+
				`"token_endpoint":"%[1]s/%[2]s/oauth2/v2.0/token"}`, e.url, tenant)
			return
		}
		_ = r.ParseForm()
		e.answer(e.requests.Add(1), w, r.PostForm)
	}))
	t.Cleanup(server.Close)
	e.url = server.URL
	return e
}

func (e *entra) identity(t *testing.T, patience time.Duration) WorkloadIdentity {
	return WorkloadIdentity{
		ClientID: client, TenantID: tenant, AuthorityHost: e.url + "/", TokenFile: credentialFile(t, assertion), Patience: patience,
	}
}

func give(w http.ResponseWriter, token string, seconds int) {
	fmt.Fprintf(w, `{"token_type":"Bearer","access_token":%q,"expires_in":%d,"ext_expires_in":%d}`, token, seconds, seconds)
}

func refuse(w http.ResponseWriter, code, text string) {
	w.WriteHeader(http.StatusUnauthorized)
	description := "AADSTS" + code + ": " + text + " Trace ID: 0000 Correlation ID: 1111 Timestamp: 2026-11-21 12:00:00Z"
	_ = json.NewEncoder(w).Encode(map[string]any{"error": "invalid_client", "error_description": description})
}

// blobs is a store over TLS that keeps the Authorization headers of what it is asked.
func blobs(t *testing.T, answer func(request int32, w http.ResponseWriter)) (url string, seen func() []string) {
	t.Helper()
	var mutex sync.Mutex
	var headers []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mutex.Lock()
		defer mutex.Unlock()
		headers = append(headers, r.Header.Get("Authorization"))
		answer(int32(len(headers)), w)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/account/container", func() []string {
		mutex.Lock()
		defer mutex.Unlock()
		return slices.Clone(headers)
	}
}

func created(_ int32, w http.ResponseWriter) { w.WriteHeader(http.StatusCreated) }

func forbidden(w http.ResponseWriter) {
	w.Header().Set("x-ms-error-code", "AuthorizationPermissionMismatch")
	w.WriteHeader(http.StatusForbidden)
}

func TestTokenIsExchangedOnceAndSent(t *testing.T) {
	directory := newEntra(t, func(_ int32, w http.ResponseWriter, form map[string][]string) {
		for name, want := range map[string]string{
			"client_id": client, "client_assertion": assertion, "grant_type": "client_credentials",
			"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
		} {
			if strings.Join(form[name], " ") != want {
				t.Errorf("%s is %q", name, form[name])
			}
		}
		if !strings.Contains(strings.Join(form["scope"], " "), "https://storage.azure.com/.default") {
			t.Errorf("the scope is %q", form["scope"])
		}
		give(w, "first", 3600)
	})
	url, seen := blobs(t, created)
	c, err := Open(url, directory.identity(t, 0), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := c.Put(t.Context(), "x", "text/plain", []byte("x"), nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(seen(), ","); got != "Bearer first,Bearer first,Bearer first" {
		t.Errorf("the store saw %s", got)
	}
	if directory.requests.Load() != 1 {
		t.Errorf("%d tokens were asked for", directory.requests.Load())
	}
}

func TestTokenThatExpiresIsRenewed(t *testing.T) {
	directory := newEntra(t, func(n int32, w http.ResponseWriter, _ map[string][]string) {
		give(w, fmt.Sprint("token-", n), 1)
	})
	url, seen := blobs(t, created)
	c, err := Open(url, directory.identity(t, 0), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Put(t.Context(), "x", "text/plain", nil, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond)
	}
	if got := strings.Join(seen(), ","); got != "Bearer token-1,Bearer token-2" {
		t.Errorf("the store saw %s", got)
	}
}

func TestRefusalByEntraIsOneLineThatSaysWhatToDo(t *testing.T) {
	for code, want := range map[string]string{
		"700213": "federated credential must name", "70021": "federated credential must name",
		"700016": "azure.workload.identity/client-id", "700024": "clock", "50000": "AADSTS50000",
	} {
		directory := newEntra(t, func(_ int32, w http.ResponseWriter, _ map[string][]string) {
			refuse(w, code, "No good: "+assertion+".")
		})
		url, seen := blobs(t, created)
		c, err := Open(url, directory.identity(t, 0), t.Logf)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Put(t.Context(), "tag/x", "text/plain", nil, nil)
		var refused *Refused
		if !errors.As(err, &refused) {
			t.Fatalf("%s: the error is %v", code, err)
		}
		text := err.Error()
		for _, part := range []string{want, "AADSTS" + code, client, "No good"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s is not in %s", part, text)
			}
		}
		for _, part := range []string{"\n", "eyJ", "Trace ID", "troubleshoot"} {
			if strings.Contains(text, part) {
				t.Errorf("%q is in %s", part, text)
			}
		}
		if len(seen()) != 0 || directory.requests.Load() != 1 {
			t.Errorf("%s: %d requests for a token, %d to the store", code, directory.requests.Load(), len(seen()))
		}
	}
}

func TestWhatWasGrantedAMomentAgoIsWaitedFor(t *testing.T) {
	directory := newEntra(t, func(n int32, w http.ResponseWriter, _ map[string][]string) {
		if n == 1 {
			refuse(w, "700213", "No matching federated identity record found.")
			return
		}
		give(w, "token", 3600)
	})
	var notices []string
	url, _ := blobs(t, func(n int32, w http.ResponseWriter) {
		if n == 1 {
			forbidden(w)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	c, err := Open(url, directory.identity(t, 10*time.Second), func(format string, args ...any) {
		notices = append(notices, fmt.Sprintf(format, args...))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Put(t.Context(), "x", "text/plain", []byte("x"), nil); err != nil {
		t.Error(err)
	}
	// One notice for both: it is said at most once a minute.
	if len(notices) != 1 || !strings.Contains(notices[0], "700213") || strings.Contains(notices[0], "\n") {
		t.Errorf("the notices are %q", notices)
	}
}

func TestPatienceWithAMissingRoleEnds(t *testing.T) {
	directory := newEntra(t, func(_ int32, w http.ResponseWriter, _ map[string][]string) { give(w, "token", 3600) })
	url, seen := blobs(t, func(_ int32, w http.ResponseWriter) { forbidden(w) })
	c, err := Open(url, directory.identity(t, 100*time.Millisecond), func(string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Put(t.Context(), "x", "text/plain", []byte("x"), nil)
	var refused *Refused
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "role must be assigned at the container") {
		t.Errorf("the error is %v", err)
	}
	if tries := len(seen()); tries < 3 || tries > 21 {
		t.Errorf("it was tried %d times", len(seen()))
	}
}

func TestTokenIsForOneHostAndForTLS(t *testing.T) {
	directory := newEntra(t, func(_ int32, w http.ResponseWriter, _ map[string][]string) { give(w, "token", 3600) })
	var strayed atomic.Int32
	plain := serve(t, func(http.ResponseWriter, *http.Request) { strayed.Add(1) })
	c, err := Open(plain+"/account/container", directory.identity(t, 0), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Put(t.Context(), "x", "text/plain", nil, nil); err == nil || !strings.Contains(err.Error(), "TLS") {
		t.Errorf("the error is %v", err)
	}
	url, _ := blobs(t, func(_ int32, w http.ResponseWriter) {
		w.Header().Set("Location", plain)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	if c, err = Open(url, directory.identity(t, 0), t.Logf); err != nil {
		t.Fatal(err)
	}
	if err := c.Put(t.Context(), "x", "text/plain", nil, nil); err == nil {
		t.Error("a redirect is taken for success")
	}
	if strayed.Load() != 0 {
		t.Error("something was sent without TLS or to another host")
	}
}
