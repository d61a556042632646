// Package sinks tells receivers of logs, beside the store, what a build prints: Loki and Elasticsearch. The store has the
// log whatever becomes of that: a receiver that is away, slow or refuses costs memory up to a limit, then lines, and never a
// build. What has been dropped is counted.
package sinks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
	"github.com/kerbodyne/ke-1-build/exporter/internal/store"
)

const (
	// maxQueued bounds the memory of what waits for one receiver, in bytes; lineCost is what a line takes besides its text.
	maxQueued = 4 << 20
	lineCost  = 96
	// A batch goes when it has so much, or so many lines, or is so old. Loki refuses requests of more than 4 MiB, and more
	// than 4 MB a second (ingestion_rate_mb); Elasticsearch's are to be "a few MB" at most.
	batchBytes = 512 << 10
	batchLines = 4000
	batchAge   = time.Second
	// maxTries of one batch, with waits in between that grow: about 45 s.
	maxTries   = 10
	firstWait  = 250 * time.Millisecond
	longWait   = 8 * time.Second
	tryTimeout = 10 * time.Second
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 4 << 20
)

// Patience is how long the end of a build is held up at most by all receivers together.
const Patience = 5 * time.Second

// hopeless is how many tries in a row must have failed for a receiver to get only one more when the build has ended.
const hopeless = 3

// protocol is how one kind of receiver is spoken to.
type protocol interface {
	// encode gives the body for some lines.
	encode(lines []line, into *bytes.Buffer) (mediaType string)
	// judge reads an answer: the lines to be told again, how many were refused for good, and why.
	judge(lines []line, status int, answer []byte) (again []line, refused int, problem string)
}

// sink is one receiver.
type sink struct {
	receiver string
	url      string
	header   http.Header
	protocol protocol
	// authorize adds the credential, which is read anew each time.
	authorize func(*http.Request) error
	client    *http.Client
	progress  func(format string, args ...any)

	mutex   sync.Mutex
	queue   []line
	queued  int
	lines   int64
	dropped int64
	problem string
	full    chan struct{}

	// failures in a row; reported is when somebody was last told. Both are the sender's.
	failures int
	reported time.Time
}

func costOf(l line) int { return len(l.text) + lineCost }

// offer queues a line, or drops it. It never waits.
func (s *sink) offer(l line) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.queued+costOf(l) > maxQueued {
		s.dropped++
		return
	}
	s.queue = append(s.queue, l)
	s.queued += costOf(l)
	if s.queued >= batchBytes || len(s.queue) >= batchLines {
		select {
		case s.full <- struct{}{}:
		default:
		}
	}
}

func (s *sink) take() []line {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	n, size := 0, 0
	for n < len(s.queue) && n < batchLines && (n == 0 || size+costOf(s.queue[n]) <= batchBytes) {
		size += costOf(s.queue[n])
		n++
	}
	batch := append([]line(nil), s.queue[:n]...)
	rest := copy(s.queue, s.queue[n:])
	clear(s.queue[rest:])
	s.queue = s.queue[:rest]
	return batch
}

// settle notes what became of lines that were taken; only then there is room for others.
func (s *sink) settle(size int, told, dropped int, problem string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.queued -= size
	s.lines += int64(told)
	s.dropped += int64(dropped)
	if problem != "" {
		s.problem = problem
	}
}

// run sends until closing is closed and all is sent, or ctx ends; what is left then is dropped.
func (s *sink) run(ctx context.Context, closing <-chan struct{}) {
	for {
		timer := time.NewTimer(batchAge)
		select {
		case <-timer.C:
		case <-s.full:
		case <-closing:
		case <-ctx.Done():
		}
		timer.Stop()
		over := isClosed(closing)
		for {
			batch := s.take()
			if len(batch) == 0 {
				break
			}
			s.deliver(ctx, batch, closing)
			if !over && !s.isFull() {
				break
			}
		}
		if over || ctx.Err() != nil {
			return
		}
	}
}

func (s *sink) isFull() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.queued >= batchBytes || len(s.queue) >= batchLines
}

// deliver tells one batch, until it is told, refused, or has been tried for long enough.
func (s *sink) deliver(ctx context.Context, batch []line, closing <-chan struct{}) {
	size := 0
	for _, l := range batch {
		size += costOf(l)
	}
	lines, refused, problem := batch, 0, ""
	defer func() { s.settle(size, len(batch)-len(lines)-refused, len(lines)+refused, problem) }()
	wait := firstWait
	for try := 1; ; try++ {
		again, no, trouble, pause := s.try(ctx, lines)
		refused += no
		if lines = again; trouble != "" {
			problem = trouble
			s.report(trouble, len(again) > 0)
		}
		if len(lines) == 0 {
			s.failures = 0
			return
		}
		s.failures++
		if try == maxTries || ctx.Err() != nil || isClosed(closing) && s.failures > hopeless {
			return
		}
		pause = max(pause, wait/2+rand.N(wait/2))
		wait = min(2*wait, longWait)
		if !sleep(ctx, pause, closing) {
			return
		}
	}
}

// sleep waits, but not beyond the build's end if that comes meanwhile. It returns whether there is time for more.
func sleep(ctx context.Context, pause time.Duration, closing <-chan struct{}) bool {
	if isClosed(closing) {
		closing = nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-closing:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// try makes one request. pause is how long the receiver asked to be left alone.
func (s *sink) try(ctx context.Context, lines []line) (again []line, refused int, problem string, pause time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	var body bytes.Buffer
	mediaType := s.protocol.encode(lines, &body)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, &body)
	if err != nil {
		return nil, len(lines), OneLine(err.Error()), 0
	}
	for name, values := range s.header {
		request.Header[name] = values
	}
	request.Header.Set("Content-Type", mediaType)
	request.Header.Set("User-Agent", "ke1-exporter")
	if err := s.authorize(request); err != nil {
		return lines, 0, OneLine(err.Error()), 0
	}
	response, err := s.client.Do(request)
	if err != nil {
		return lines, 0, Reason(err), 0
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return lines, 0, Reason(err), 0
	}
	switch status := response.StatusCode; {
	case status == http.StatusTooManyRequests || status >= 500 || status == http.StatusRequestTimeout:
		seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		pause = min(time.Duration(max(seconds, 0))*time.Second, longWait)
		return lines, 0, statusLine(status, answer), pause
	case status < 200 || status > 299:
		return nil, len(lines), statusLine(status, answer), 0
	}
	again, refused, problem = s.protocol.judge(lines, response.StatusCode, answer)
	return again, refused, problem, 0
}

func (s *sink) report(trouble string, again bool) {
	if time.Since(s.reported) < 30*time.Second {
		return
	}
	s.reported = time.Now()
	what := "has refused lines"
	if again {
		what = "does not take the log; trying again"
	}
	s.progress("%s %s: %s", s.receiver, what, trouble)
}

// end counts what is left as dropped, and says how it went.
func (s *sink) end() contract.Delivery {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.dropped += int64(len(s.queue))
	s.queue = nil
	delivery := contract.Delivery{Receiver: s.receiver, Lines: s.lines, Dropped: s.dropped}
	if s.dropped > 0 {
		if delivery.Problem = s.problem; delivery.Problem == "" {
			delivery.Problem = "it takes lines more slowly than the build prints them"
		}
		s.progress("%s took %d lines of the log; %d were dropped: %s", s.receiver, s.lines, s.dropped, delivery.Problem)
	} else {
		s.progress("%s took %d lines of the log", s.receiver, s.lines)
	}
	return delivery
}

// Reason is what net/http says, without the address, in which somebody may have put a secret.
func Reason(err error) string {
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.Canceled) {
		return "it does not answer in time"
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return OneLine(err.Error())
}

func statusLine(status int, answer []byte) string {
	return strings.TrimSpace(OneLine(fmt.Sprintf("it answered %d %s", status, answer)))
}

// OneLine makes a receiver's words harmless: they are shown to people, and kept.
func OneLine(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > 200 {
		text = string(runes[:200]) + "…"
	}
	return store.Redact(text)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
