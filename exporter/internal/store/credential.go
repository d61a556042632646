package store

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// ParseContainerURL accepts http(s)://<host>/<path to the container>, without a query: the credential is not part of it.
func ParseContainerURL(raw string) (*url.URL, error) {
	// The URL is not repeated in the message: somebody may have put a signature into it.
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.Trim(u.Path, "/") == "" {
		return nil, errors.New("is not http(s)://<host>/<container>")
	}
	if u.RawQuery != "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("must not have a query or user: the credential comes from a file")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

// ReadCredential reads a shared access signature: the query string of a URL, without "?".
func ReadCredential(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, 16<<10))
	if err != nil {
		return "", err
	}
	sas := strings.TrimPrefix(strings.TrimSpace(string(content)), "?")
	// Not url.ParseQuery's error: it quotes what it could not parse.
	query, err := url.ParseQuery(sas)
	if err != nil || query.Get("sig") == "" {
		return "", fmt.Errorf("%s has no shared access signature (sv=...&sig=...)", path)
	}
	return sas, nil
}

// Credential is what opens one container to this process: a SASFile or a WorkloadIdentity.
type Credential interface {
	// policies are for the pipeline: those of a request, and those of each of its tries. Progress takes a line for a person.
	policies(transport policy.Transporter, retry policy.RetryOptions, progress Progress) (perCall, perTry []policy.Policy, err error)
}

// Progress takes a line for a person.
type Progress func(format string, args ...any)

// SASFile is the path of a file with a shared access signature. It is read anew for each try, so that it can be rotated.
type SASFile string

func (f SASFile) policies(policy.Transporter, policy.RetryOptions, Progress) (perCall, perTry []policy.Policy, err error) {
	return nil, []policy.Policy{f}, nil
}

// Do adds the signature. Above it in the pipeline no URL has it, so the SDK cannot log or report it.
func (f SASFile) Do(req *policy.Request) (*http.Response, error) {
	sas, err := ReadCredential(string(f))
	if err != nil {
		return nil, err
	}
	target := req.Raw().URL
	if target.RawQuery == "" {
		target.RawQuery = sas
	} else {
		target.RawQuery += "&" + sas
	}
	return req.Next()
}

// guardPolicy stands before the credential's own policies: it lets no try of a request go to another host than the
// container's, and nothing of the credential come back in an error.
type guardPolicy struct {
	origin string
	// report takes one line for a person when a try has failed that may be made again.
	report func(string)
}

func (p *guardPolicy) Do(req *policy.Request) (*http.Response, error) {
	target := req.Raw().URL
	if target.Scheme+"://"+target.Host != p.origin {
		return nil, nonRetriable{fmt.Errorf("refused to send the credential to %s: it is for %s", target.Host, p.origin)}
	}
	response, err := req.Next()
	if err != nil {
		var final interface{ NonRetriable() }
		if errors.As(err, &final) {
			return nil, err
		}
		err = redacted{err}
		p.report(err.Error())
		return nil, err
	}
	if response.StatusCode >= http.StatusInternalServerError {
		p.report("it answered " + response.Status)
	}
	// What the SDK makes of an error response names the request's URL.
	if response.Request != nil {
		clean := *response.Request
		cleanURL := *response.Request.URL
		cleanURL.RawQuery = ""
		clean.URL = &cleanURL
		response.Request = &clean
	}
	return response, nil
}

// nonRetriable stops the SDK's retries, as azcore's errorinfo.NonRetriable asks.
type nonRetriable struct{ error }

func (nonRetriable) NonRetriable() {}

// redacted hides the signature in the text of net/http's errors, which quote the URL.
type redacted struct{ error }

func (e redacted) Error() string { return Redact(e.error.Error()) }
func (e redacted) Unwrap() error { return nil }

var (
	signature = regexp.MustCompile(`(?i)(sig=)[^&\s"']+`)
	bearer    = regexp.MustCompile(`(?i)(bearer\s+)[A-Za-z0-9._~+/=-]{8,}`)
	// A JSON Web Token, or what is left of one: its header begins with {" in base64url, and no word of a message does.
	jwt = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]+)*`)
)

// Redact hides signatures and tokens in a text.
func Redact(text string) string {
	text = signature.ReplaceAllString(text, "${1}REDACTED")
	text = jwt.ReplaceAllString(text, "REDACTED")
	return bearer.ReplaceAllString(text, "${1}REDACTED")
}
