package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kerbodyne/ke-1-build/exporter/internal/store"
)

const containerURL = "https://account.blob.core.windows.net/ke-1-builds"

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "credential")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// injected is what Azure's webhook gives a pod; more overrides it.
func injected(t *testing.T, more map[string]string) func(string) string {
	t.Helper()
	environment := map[string]string{
		"AZURE_CLIENT_ID": "client", "AZURE_TENANT_ID": "tenant", "AZURE_FEDERATED_TOKEN_FILE": write(t, "eyJ.eyJ.c2ln"),
		"AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
	}
	for name, value := range more {
		environment[name] = value
	}
	return func(name string) string { return environment[name] }
}

func TestCredentialIsAFileOrAnIdentity(t *testing.T) {
	file := write(t, "sv=1&sig=secret")
	found, problems := credential(func(name string) string {
		return map[string]string{"KE1_CREDENTIAL_FILE": file}[name]
	}, "http://10.0.0.1:10000/account/container")
	if found != store.SASFile(file) || problems != nil {
		t.Errorf("%v, %v", found, problems)
	}
	found, problems = credential(injected(t, nil), containerURL)
	identity, ok := found.(store.WorkloadIdentity)
	if !ok || problems != nil || identity.ClientID != "client" || identity.TenantID != "tenant" ||
		identity.AuthorityHost != "https://login.microsoftonline.com/" || identity.Patience != 10*time.Minute {
		t.Errorf("%v, %v", found, problems)
	}
}

func TestCredentialThatCannotBeIsOneLine(t *testing.T) {
	for _, each := range []struct {
		name, url   string
		environment map[string]string
		want        []string
	}{
		{"both", containerURL, map[string]string{"KE1_CREDENTIAL_FILE": "/x"},
			[]string{"two credentials", "KE1_CREDENTIAL_FILE", "AZURE_CLIENT_ID"}},
		{"neither", containerURL, map[string]string{
			"AZURE_CLIENT_ID": "", "AZURE_TENANT_ID": "", "AZURE_FEDERATED_TOKEN_FILE": "", "AZURE_AUTHORITY_HOST": "",
		}, []string{"no credential", "KE1_CREDENTIAL_FILE", "webhook installed", `azure.workload.identity/use: "true"`}},
		{"no client", containerURL, map[string]string{"AZURE_CLIENT_ID": ""},
			[]string{"AZURE_CLIENT_ID is not set", "azure.workload.identity/client-id"}},
		{"no token", containerURL, map[string]string{"AZURE_FEDERATED_TOKEN_FILE": "", "AZURE_AUTHORITY_HOST": ""},
			[]string{"AZURE_FEDERATED_TOKEN_FILE AZURE_AUTHORITY_HOST is not set"}},
		{"no file", containerURL, map[string]string{"AZURE_FEDERATED_TOKEN_FILE": "/nonexistent"},
			[]string{"AZURE_FEDERATED_TOKEN_FILE: open /nonexistent"}},
		{"an empty file", containerURL, map[string]string{"AZURE_FEDERATED_TOKEN_FILE": write(t, "")},
			[]string{"has no service account token"}},
		{"a store without TLS", "http://10.0.0.1:10000/a/c", nil, []string{"KE1_CONTAINER_URL is not https"}},
		{"an authority without TLS", containerURL, map[string]string{"AZURE_AUTHORITY_HOST": "http://10.0.0.1/"},
			[]string{"AZURE_AUTHORITY_HOST is not https"}},
		{"patience", containerURL, map[string]string{"KE1_CREDENTIAL_PATIENCE": "forever"},
			[]string{"KE1_CREDENTIAL_PATIENCE is not a duration"}},
	} {
		_, problems := credential(injected(t, each.environment), each.url)
		if len(problems) != 1 || strings.Contains(problems[0], "\n") {
			t.Errorf("%s: %q", each.name, problems)
			continue
		}
		for _, want := range each.want {
			if !strings.Contains(problems[0], want) {
				t.Errorf("%s: %s is not in %s", each.name, want, problems[0])
			}
		}
	}
}
