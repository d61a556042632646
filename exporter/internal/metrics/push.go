package metrics

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Patience is how long a Pushgateway is tried; the artifacts are stored meanwhile.
const Patience = 5 * time.Second

// Pushgateway is where metrics are pushed to.
type Pushgateway struct {
	URL       string
	Client    *http.Client
	Authorize func(*http.Request) error
}

// Push puts the metrics in the place of those of the build before. A Pushgateway forgets nothing by itself: so the group is
// the namespace's, of which there is one for each stack, and never that of a BUILD_TAG.
func (p *Pushgateway) Push(ctx context.Context, m *Metrics, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	wait := 250 * time.Millisecond
	for {
		again, err := p.try(ctx, m, namespace)
		if err == nil || !again {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
			wait *= 2
		}
	}
}

func (p *Pushgateway) try(ctx context.Context, m *Metrics, namespace string) (again bool, err error) {
	// https://github.com/prometheus/pushgateway#put-method; base64 as a namespace's name may be anything to us.
	target := fmt.Sprintf("%s/metrics/job/ke1_build_metrics/namespace@base64/%s", strings.TrimRight(p.URL, "/"),
		base64.RawURLEncoding.EncodeToString([]byte(namespace)))
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, target, bytes.NewReader(m.Text))
	if err != nil {
		return false, err
	}
	request.Header.Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	request.Header.Set("User-Agent", "ke1-exporter")
	if err := p.Authorize(request); err != nil {
		return false, err
	}
	response, err := p.Client.Do(request)
	if err != nil {
		return true, err
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(response.Body, 400))
	if response.StatusCode/100 == 2 {
		return false, nil
	}
	return response.StatusCode == http.StatusTooManyRequests || response.StatusCode >= 500,
		fmt.Errorf("it answered %d %s", response.StatusCode, answer)
}
