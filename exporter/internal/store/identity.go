package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// storageScope is the audience of every storage account
// (https://learn.microsoft.com/azure/storage/blobs/authorize-access-azure-active-directory).
const storageScope = "https://storage.azure.com/.default"

const (
	// patientPause is between two tries of what is refused for now, and no more than a twentieth of all the patience.
	patientPause = 3 * time.Second
	// maxDescription bounds what is told of Entra's own words.
	maxDescription = 300
)

// WorkloadIdentity is what Azure's webhook tells a pod with the label azure.workload.identity/use
// (https://azure.github.io/azure-workload-identity/docs/installation/mutating-admission-webhook.html): the service
// account's token is exchanged for one of the identity's, and again before that one expires.
type WorkloadIdentity struct {
	ClientID, TenantID string
	// AuthorityHost is where tokens are given out; https only. It is trusted: the cluster's webhook names it.
	AuthorityHost string
	// TokenFile is the service account's token, which Kubernetes renews.
	TokenFile string
	// Patience is how long after Open a refusal is taken for one of a role or a federated credential that has just been
	// made: both take minutes to be known everywhere.
	Patience time.Duration
}

func (w WorkloadIdentity) policies(
	transport policy.Transporter, retry policy.RetryOptions, progress Progress,
) (perCall, perTry []policy.Policy, err error) {
	credential, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		ClientOptions: azcore.ClientOptions{
			Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: w.AuthorityHost},
			Transport: transport,
			Retry:     retry,
			Telemetry: telemetry,
		},
		ClientID:      w.ClientID,
		TenantID:      w.TenantID,
		TokenFilePath: w.TokenFile,
		// It would ask another host, which a build's network policy does not let it reach.
		DisableInstanceDiscovery: true,
	})
	if err != nil {
		return nil, nil, err
	}
	patient := &patientPolicy{
		until:  time.Now().Add(w.Patience),
		pause:  min(patientPause, w.Patience/20),
		client: w.ClientID,
		report: seldom(time.Minute, func(refusal string) {
			progress("trying again for %s, as what was granted a moment ago takes minutes to be known everywhere: %s",
				w.Patience, refusal)
		}),
	}
	exchange := &exchange{credential: credential, client: w.ClientID, authority: w.AuthorityHost}
	// The bearer policy itself refuses to send a token without TLS.
	bearer := runtime.NewBearerTokenPolicy(exchange, []string{storageScope}, nil)
	return []policy.Policy{patient}, []policy.Policy{bearer}, nil
}

// Refused is an identity that Entra gives no token, or that the store does not let in: a person has to mend that.
type Refused struct {
	message string
	// passing: it may be that something was granted a moment ago and is not known everywhere yet.
	passing bool
}

func (e *Refused) Error() string { return e.message }

// exchange gets tokens, and says in one line why it gets none. The bearer policy makes any such error final for the SDK's
// own retries, which are for what passes in seconds: this has had retries of its own.
type exchange struct {
	credential        azcore.TokenCredential
	client, authority string
}

func (e *exchange) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := e.credential.GetToken(ctx, options)
	if err == nil {
		return token, nil
	}
	var failed *azidentity.AuthenticationFailedError
	if errors.As(err, &failed) && failed.RawResponse != nil {
		if refused := refusalOf(e.client, failed.RawResponse); refused != nil {
			return azcore.AccessToken{}, refused
		}
	}
	text, _, _ := strings.Cut(Redact(err.Error()), "\n")
	return azcore.AccessToken{}, fmt.Errorf("no token from %s: %s", e.authority, text)
}

var entraCode = regexp.MustCompile(`^AADSTS(\d+)`)

// Entra's codes (https://learn.microsoft.com/entra/identity-platform/reference-error-codes) that have a remedy here. They
// only choose a hint and whether to wait a while: codes may change.
var (
	noFederation = []string{"70021", "700211", "700212", "700213", "7002138"}
	noIdentity   = []string{"700016", "7000229", "90002"}
	staleToken   = []string{"700024"}
)

// refusalOf returns nil for an answer that is not Entra's own.
func refusalOf(client string, response *http.Response) *Refused {
	body, err := runtime.Payload(response)
	if err != nil {
		return nil
	}
	var answer struct {
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Description == "" {
		return nil
	}
	// What follows are ids and a time, each on a line of its own or after two spaces.
	description, _, _ := strings.Cut(answer.Description, "Trace ID:")
	description = strings.Join(strings.Fields(Redact(description)), " ")
	if runes := []rune(description); len(runes) > maxDescription {
		description = string(runes[:maxDescription]) + "..."
	}
	refused := &Refused{message: fmt.Sprintf("Entra gives the identity %s no token: %s", client, description)}
	if match := entraCode.FindStringSubmatch(description); match != nil {
		hint, passing := remedy(match[1])
		refused.message += hint
		refused.passing = passing
	}
	return refused
}

func remedy(code string) (hint string, passing bool) {
	switch {
	case slices.Contains(noFederation, code):
		return " (the identity's federated credential must name this cluster's issuer, this namespace and service account," +
			" and the audience api://AzureADTokenExchange)", true
	case slices.Contains(noIdentity, code):
		return " (the service account's annotation azure.workload.identity/client-id must name an identity of the tenant)", true
	case slices.Contains(staleToken, code):
		return " (is the node's clock right?)", false
	}
	return "", false
}

// patientPolicy tries again, for some time after the start, what is refused to an identity that was just made. It stands
// above the SDK's own retries, so that the time is not a try's.
type patientPolicy struct {
	until  time.Time
	pause  time.Duration
	client string
	report func(string)
}

func (p *patientPolicy) Do(req *policy.Request) (*http.Response, error) {
	ctx := req.Raw().Context()
	for {
		if err := req.RewindBody(); err != nil {
			return nil, err
		}
		response, err := req.Clone(ctx).Next()
		refused := p.refusal(response, err)
		if refused == nil {
			return response, err
		}
		if response != nil {
			runtime.Drain(response)
		}
		wait := min(p.pause, time.Until(p.until))
		if !refused.passing || wait <= 0 {
			return nil, refused
		}
		p.report(refused.message)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (p *patientPolicy) refusal(response *http.Response, err error) *Refused {
	var refused *Refused
	if errors.As(err, &refused) {
		return refused
	}
	if err != nil {
		return nil
	}
	switch code := response.Header.Get("x-ms-error-code"); {
	// https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory
	case response.StatusCode == http.StatusForbidden && code == "AuthorizationPermissionMismatch":
		return &Refused{passing: true, message: fmt.Sprintf("the store does not let the identity %s do this (%s):"+
			" its role must be assigned at the container, and allow to read, write and add blobs", p.client, code)}
	case response.StatusCode == http.StatusUnauthorized && code == "InvalidAuthenticationInfo":
		return &Refused{message: fmt.Sprintf("the store does not take a token of the identity %s (%s): is it of the tenant"+
			" that the storage account belongs to?", p.client, code)}
	}
	return nil
}
