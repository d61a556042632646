// Package store writes to one container of an Azure Blob store with a credential that may create, write, add and read, and
// need neither list nor delete: a shared access signature, or the token of an Azure workload identity.
package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

var (
	// ErrExists: a blob that must be new is there already.
	ErrExists = errors.New("the blob exists already")
	// ErrKept: the store has a policy by which what is there must stay as it is.
	ErrKept = errors.New("the store lets nothing be written over")
	// ErrNotFound: no such blob.
	ErrNotFound = errors.New("no such blob")
)

// Container is the blob container of the builds. Its methods retry what may pass (no connection, 408, 429, 5xx) for
// about two minutes, and may be used by several goroutines at once. No error's text has the credential in it.
type Container struct {
	client *container.Client
	// writer is this process, in the metadata of the append blobs that it makes.
	writer string
}

// Open does not connect yet. Progress takes a line for a person, now and then, while the store does not answer or does not
// let this process in yet.
func Open(containerURL string, credential Credential, progress Progress) (*Container, error) {
	u, err := ParseContainerURL(containerURL)
	if err != nil {
		return nil, fmt.Errorf("container URL %w", err)
	}
	transport := newTransport(u.Scheme == "https")
	retry := policy.RetryOptions{
		MaxRetries:    30,
		RetryDelay:    200 * time.Millisecond,
		MaxRetryDelay: 5 * time.Second,
		TryTimeout:    2 * time.Minute,
	}
	perCall, perTry, err := credential.policies(transport, retry, progress)
	if err != nil {
		return nil, redacted{err}
	}
	guard := &guardPolicy{
		origin: u.Scheme + "://" + u.Host,
		report: seldom(10*time.Second, func(trouble string) { progress("the store has trouble: %s", trouble) }),
	}
	client, err := container.NewClientWithNoCredential(u.String(), &container.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport:        transport,
		PerCallPolicies:  perCall,
		PerRetryPolicies: append([]policy.Policy{guard}, perTry...),
		Telemetry:        telemetry,
		Retry:            retry,
	}})
	if err != nil {
		return nil, redacted{err}
	}
	return &Container{client: client, writer: rand.Text()}, nil
}

var telemetry = policy.TelemetryOptions{ApplicationID: "ke1-exporter"}

func newTransport(secure bool) *http.Client {
	transport := &http.Transport{
		// No proxy from the environment: it would see the credential.
		Proxy:               nil,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 32,
		// Shorter than the 5 s after which Azurite closes an idle connection, so that none is closed as it is used.
		IdleConnTimeout:       3 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true,
		ForceAttemptHTTP2:     false,
	}
	if secure {
		// Only then: to read them all takes longer than all the rest of the start.
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: Roots()}
	}
	return &http.Client{
		Transport: transport,
		// A redirect could lead the credential elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// seldom calls report at most once in so much time.
func seldom(interval time.Duration, report func(string)) func(string) {
	var mutex sync.Mutex
	var last time.Time
	return func(text string) {
		mutex.Lock()
		defer mutex.Unlock()
		if now := time.Now(); now.Sub(last) >= interval {
			last = now
			report(text)
		}
	}
}

// Roots are the machine's certificate authorities or, in an image that has none, Mozilla's.
func Roots() *x509.CertPool {
	if pool, err := x509.SystemCertPool(); err == nil && !pool.Equal(x509.NewCertPool()) {
		return pool
	}
	pool := x509.NewCertPool()
	for root := range bundle.Roots() {
		certificate, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			continue
		}
		if root.Constraint == nil {
			pool.AddCert(certificate)
		} else {
			pool.AddCertWithConstraint(certificate, root.Constraint)
		}
	}
	return pool
}

// Get returns a blob of at most limit bytes.
func (c *Container) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	response, err := c.client.NewBlobClient(name).DownloadStream(ctx, nil)
	if err != nil {
		return nil, explain("read", name, err)
	}
	body := response.NewRetryReader(ctx, nil)
	defer body.Close()
	content, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return nil, explain("read", name, err)
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return content, nil
}

// Stream gives a blob's content; the reader makes the connection again where it breaks.
func (c *Container) Stream(ctx context.Context, name string) (io.ReadCloser, error) {
	response, err := c.client.NewBlobClient(name).DownloadStream(ctx, nil)
	if err != nil {
		return nil, explain("read", name, err)
	}
	return &stream{response.NewRetryReader(ctx, nil), name}, nil
}

// stream's errors have no credential in them.
type stream struct {
	io.ReadCloser
	name string
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = explain("read", s.name, err)
	}
	return n, err
}

// Put writes a small blob, over one that may be there: ErrKept if the store lets nothing be written over.
func (c *Container) Put(ctx context.Context, name, mediaType string, content []byte, metadata map[string]string) error {
	return c.put(ctx, name, mediaType, content, metadata, nil)
}

// PutNew writes a small blob that must not be there yet: ErrExists if it is. A retry after a lost answer may meet the
// blob that it wrote itself: the caller compares.
func (c *Container) PutNew(ctx context.Context, name, mediaType string, content []byte, metadata map[string]string) error {
	return existing(c.put(ctx, name, mediaType, content, metadata, ifNew()))
}

func (c *Container) put(
	ctx context.Context, name, mediaType string, content []byte, metadata map[string]string, when *blob.AccessConditions,
) error {
	_, err := c.client.NewBlockBlobClient(name).Upload(ctx, body(content), &blockblob.UploadOptions{
		HTTPHeaders:      &blob.HTTPHeaders{BlobContentType: &mediaType},
		Metadata:         pointers(metadata),
		AccessConditions: when,
	})
	return explain("write", name, err)
}

func body(content []byte) io.ReadSeekCloser { return streaming.NopCloser(bytes.NewReader(content)) }

func ifNew() *blob.AccessConditions {
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{
		IfNoneMatch: to.Ptr(azcore.ETagAny),
	}}
}

func pointers(metadata map[string]string) map[string]*string {
	result := make(map[string]*string, len(metadata))
	for key, value := range metadata {
		result[key] = &value
	}
	return result
}

// existing is for what must be new: a store that lets nothing be written over may say so instead.
func existing(err error) error {
	if errors.Is(err, ErrKept) {
		return fmt.Errorf("%w (%w)", ErrExists, err)
	}
	return err
}

// explain turns the SDK's many lines into one, without the credential.
func explain(action, name string, err error) error {
	if err == nil {
		return nil
	}
	for _, ended := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, ended) {
			return fmt.Errorf("could not %s %s: %w", action, name, ended)
		}
	}
	var answer *azcore.ResponseError
	if errors.As(err, &answer) {
		switch {
		case answer.StatusCode == http.StatusNotFound && answer.ErrorCode != "ContainerNotFound":
			return fmt.Errorf("%w: %s", ErrNotFound, name)
		case answer.ErrorCode == "BlobAlreadyExists" || answer.ErrorCode == "ConditionNotMet" ||
			answer.ErrorCode == "LeaseIdMissing":
			return fmt.Errorf("%w: %s", ErrExists, name)
		case strings.HasPrefix(answer.ErrorCode, "BlobImmutableDueTo"):
			return fmt.Errorf("%w: %s", ErrKept, name)
		}
		return &ResponseError{action, name, answer.StatusCode, answer.ErrorCode}
	}
	var refused *Refused
	if errors.As(err, &refused) {
		return fmt.Errorf("could not %s %s: %w", action, name, refused)
	}
	text := Redact(err.Error())
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	return fmt.Errorf("could not %s %s: %s", action, name, text)
}

// ResponseError is the store's refusal.
type ResponseError struct {
	action, name string
	Status       int
	// Code is the store's own, for example AuthorizationFailure.
	Code string
}

func (e *ResponseError) Error() string {
	hint := ""
	if e.Status == http.StatusForbidden || e.Status == http.StatusUnauthorized {
		hint = ": the credential has expired or may not do this"
	}
	if e.Code == "AuthorizationFailure" {
		hint += ", or the store's network rules keep this pod out"
	}
	return fmt.Sprintf("could not %s %s: the store answered %d %s%s", e.action, e.name, e.Status, e.Code, hint)
}
