package config

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/kerbodyne/ke-1-build/exporter/internal/store"
)

const (
	credentialFile = "KE1_CREDENTIAL_FILE"
	clientID       = "AZURE_CLIENT_ID"
	tenantID       = "AZURE_TENANT_ID"
	tokenFile      = "AZURE_FEDERATED_TOKEN_FILE"
	authorityHost  = "AZURE_AUTHORITY_HOST"
	patience       = "KE1_CREDENTIAL_PATIENCE"
)

// webhookHint is for a pod that Azure's workload identity webhook has not seen
// (https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html).
const webhookHint = `is the Azure workload identity webhook installed, has the pod the label azure.workload.identity/use: "true", ` +
	"and its service account the annotation azure.workload.identity/client-id?"

// credential chooses between the two that there are: a file that is named here, or what Azure's webhook has injected.
func credential(getenv func(string) string, containerURL string) (store.Credential, []string) {
	var set, missing []string
	for _, name := range []string{clientID, tenantID, tokenFile, authorityHost} {
		if getenv(name) == "" {
			missing = append(missing, name)
		} else {
			set = append(set, name)
		}
	}
	file := getenv(credentialFile)
	switch {
	case file != "" && len(set) > 0:
		return nil, []string{fmt.Sprintf("there are two credentials, %s and %s: set one", credentialFile, strings.Join(set, " "))}
	case file != "":
		if _, err := store.ReadCredential(file); err != nil {
			return nil, []string{credentialFile + ": " + err.Error()}
		}
		return store.SASFile(file), nil
	case len(set) == 0:
		return nil, []string{fmt.Sprintf("there is no credential: %s is not set, nor is %s (%s)",
			credentialFile, strings.Join(missing, " "), webhookHint)}
	case len(missing) > 0:
		return nil, []string{fmt.Sprintf("%s is not set (%s)", strings.Join(missing, " "), webhookHint)}
	}
	return workloadIdentity(getenv, containerURL)
}

func workloadIdentity(getenv func(string) string, containerURL string) (store.Credential, []string) {
	var problems []string
	identity := store.WorkloadIdentity{
		ClientID:      getenv(clientID),
		TenantID:      getenv(tenantID),
		AuthorityHost: getenv(authorityHost),
		TokenFile:     getenv(tokenFile),
	}
	// A token is as good as a password: it is not sent where somebody could listen.
	if u, err := url.Parse(identity.AuthorityHost); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		problems = append(problems, fmt.Sprintf("%s is not https://<host>/: %q", authorityHost, identity.AuthorityHost))
	}
	if strings.HasPrefix(containerURL, "http:") {
		problems = append(problems, "KE1_CONTAINER_URL is not https, as it must be with a token")
	}
	if content, err := os.ReadFile(identity.TokenFile); err != nil {
		problems = append(problems, tokenFile+": "+err.Error())
	} else if strings.Count(string(content), ".") != 2 {
		problems = append(problems, fmt.Sprintf("%s has no service account token: %q", tokenFile, identity.TokenFile))
	}
	// As long as Azure's documentation says that a role assignment takes
	// (https://learn.microsoft.com/azure/role-based-access-control/troubleshooting).
	var err error
	identity.Patience, err = time.ParseDuration(orDefault(getenv(patience), "10m"))
	if err != nil || identity.Patience < 0 || identity.Patience > time.Hour {
		problems = append(problems, patience+` is not a duration of 0s to 1h, such as "10m"`)
	}
	return identity, problems
}
