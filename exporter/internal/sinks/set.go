package sinks

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
)

// Settings say who is told; empty addresses for nobody.
type Settings struct {
	LokiURL, LokiTenant                  string
	ElasticsearchURL, ElasticsearchIndex string
	// Secrets opens the receivers.
	Secrets Secrets
}

// Origin is the attempt whose log it is.
type Origin struct {
	BuildTag string
	Job      contract.Job
	PodUID   string
	Attempt  int
}

// Set is all receivers of one attempt.
type Set struct {
	sinks   []*sink
	closing chan struct{}
	stop    context.CancelFunc
	group   sync.WaitGroup
	mutex   sync.Mutex
	sources int
}

// Start begins to tell. The requests end with ctx.
func Start(ctx context.Context, settings Settings, origin Origin, progress func(format string, args ...any)) *Set {
	ctx, cancel := context.WithCancel(ctx)
	set := &Set{closing: make(chan struct{}), stop: cancel}
	add := func(receiver, url string, protocol protocol, header http.Header, authorize func(*http.Request) error) {
		set.sinks = append(set.sinks, &sink{
			receiver: receiver, url: url, header: header, protocol: protocol, authorize: authorize,
			client: Client(url, settings.Secrets), progress: progress, full: make(chan struct{}, 1),
		})
	}
	if settings.LokiURL != "" {
		header := http.Header{}
		if settings.LokiTenant != "" {
			header.Set("X-Scope-OrgID", settings.LokiTenant)
		}
		add("Loki", strings.TrimRight(settings.LokiURL, "/")+"/loki/api/v1/push", &loki{origin}, header,
			settings.Secrets.Authorizer("loki"))
	}
	if settings.ElasticsearchURL != "" {
		add("Elasticsearch", strings.TrimRight(settings.ElasticsearchURL, "/")+"/"+settings.ElasticsearchIndex+bulkPath,
			&elasticsearch{origin}, http.Header{}, settings.Secrets.Authorizer("elasticsearch"))
	}
	for _, s := range set.sinks {
		set.group.Go(func() { s.run(ctx, set.closing) })
	}
	return set
}

// Stream is for the lines of one source; nil where there is nobody to tell.
func (s *Set) Stream(name string) *Stream {
	if len(s.sinks) == 0 {
		return nil
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.sources++
	return &Stream{set: s, source: &source{name: name, index: s.sources}}
}

// Close sends what is left, until the deadline, and says what became of all.
func (s *Set) Close(deadline time.Time) []contract.Delivery {
	close(s.closing)
	timer := time.AfterFunc(time.Until(deadline), s.stop)
	s.group.Wait()
	timer.Stop()
	s.stop()
	var deliveries []contract.Delivery
	for _, sink := range s.sinks {
		deliveries = append(deliveries, sink.end())
	}
	return deliveries
}

// Client is for receivers: it follows no redirect and asks no proxy, as both would see the credential.
func Client(url string, secrets Secrets) *http.Client {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		IdleConnTimeout:     3 * time.Second,
		MaxIdleConnsPerHost: 2,
	}
	if strings.HasPrefix(url, "https:") {
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: secrets.roots()}
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
