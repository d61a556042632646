package store

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	azpolicy "github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
)

const sas = "sv=2025-01-05&sp=racw&sig=c2VjcmV0%2Bc2lnbmF0dXJl"

func credentialFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sas")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func TestRedirectIsNotFollowed(t *testing.T) {
	var strayed atomic.Int32
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { strayed.Add(1) })
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere+r.URL.Path, http.StatusTemporaryRedirect)
	})
	c, err := Open(url+"/account/container", SASFile(credentialFile(t, sas)), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Put(t.Context(), "x", "text/plain", []byte("x"), nil); err == nil {
		t.Error("a redirect is taken for success")
	}
	if _, err := c.Get(t.Context(), "x", 10); err == nil {
		t.Error("a redirect is taken for content")
	}
	if strayed.Load() != 0 {
		t.Error("the redirect was followed")
	}
}

func TestCredentialIsForOneHost(t *testing.T) {
	var strayed atomic.Int32
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { strayed.Add(1) })
	guard := &guardPolicy{origin: "http://127.0.0.1:1", report: func(string) {}}
	policies := []azpolicy.Policy{guard, SASFile(credentialFile(t, sas))}
	pipeline := runtime.NewPipeline("test", "v0", runtime.PipelineOptions{PerRetry: policies}, nil)
	request, err := runtime.NewRequest(t.Context(), http.MethodGet, elsewhere+"/account/container/x")
	if err != nil {
		t.Fatal(err)
	}
	_, err = pipeline.Do(request)
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("the error is %v", err)
	}
	if strayed.Load() != 0 {
		t.Error("the credential was sent")
	}
}

func TestCredentialIsReadAnew(t *testing.T) {
	var queries []string
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.URL.Query().Get("sig"))
		w.WriteHeader(http.StatusCreated)
	})
	file := credentialFile(t, "?sv=1&sig=first\n")
	c, err := Open(url+"/account/container", SASFile(file), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	for _, next := range []string{"sv=1&sig=second", ""} {
		if err := c.Put(t.Context(), "x", "text/plain", nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(next), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Join(queries, " ") != "first second" {
		t.Errorf("the signatures are %v", queries)
	}
}

func TestErrorsAreOneLineWithoutCredential(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("x-ms-error-code", "AuthorizationPermissionMismatch")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte("<Error>the request was " + r.URL.String() + "</Error>"))
	})
	c, err := Open(url+"/account/container", SASFile(credentialFile(t, sas)), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Put(t.Context(), "tag/x", "text/plain", nil, nil)
	if err == nil || strings.Contains(err.Error(), "c2VjcmV0") || strings.Contains(err.Error(), "\n") {
		t.Errorf("the error is %v", err)
	}
	var refusal *ResponseError
	if !errors.As(err, &refusal) || refusal.Code != "AuthorizationPermissionMismatch" {
		t.Errorf("the error is %v", err)
	}
}

func TestParseContainerURL(t *testing.T) {
	for raw, ok := range map[string]bool{
		"https://account.blob.core.windows.net/ke-1-builds": true, "http://127.0.0.1:10000/a/c/": true,
		"https://host/c?sig=x": false, "https://user:pass@host/c": false, "https://host": false, "ftp://host/c": false, "": false,
	} {
		_, err := ParseContainerURL(raw)
		if (err == nil) != ok {
			t.Errorf("%q: %v", raw, err)
		}
		if err != nil && strings.Contains(err.Error(), "sig=x") {
			t.Error("the error repeats the credential")
		}
	}
}

func TestRedact(t *testing.T) {
	// Not a token of anybody's: its signature is no signature.
	token := "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl-_x"
	for text, want := range map[string]string{
		`Put "http://h/c/b?comp=block&sig=abc%2F%3D&sv=1": EOF`: `Put "http://h/c/b?comp=block&sig=REDACTED&sv=1": EOF`,
		"the assertion " + token + " is refused":                "the assertion REDACTED is refused",
		"client_assertion=" + token + "&scope=x":                "client_assertion=REDACTED&scope=x",
		token[:40] + "...":                                      "REDACTED...",
		"Authorization: Bearer c2VjcmV0b3BhcXVl==":              "Authorization: Bearer REDACTED",
		"authorization: bearer\tabc.def-ghi_jkl~":               "authorization: bearer\tREDACTED",
		"the bearer of good news, eyJ":                          "the bearer of good news, eyJ",
	} {
		if got := Redact(text); got != want {
			t.Errorf("%q", got)
		}
	}
}
