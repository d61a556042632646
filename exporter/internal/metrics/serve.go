package metrics

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Server serves metrics until somebody has read them.
type Server struct {
	server  *http.Server
	scraped chan struct{}
}

// Serve begins to listen.
func Serve(m *Metrics, port int) (*Server, error) {
	listener, err := net.Listen("tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	s := &Server{scraped: make(chan struct{})}
	var once sync.Once
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		w.Header().Set("Content-Length", strconv.Itoa(len(m.Text)))
		n, err := w.Write(m.Text)
		// A HEAD request is no scrape.
		if err == nil && n == len(m.Text) && r.Method == http.MethodGet {
			once.Do(func() { close(s.scraped) })
		}
	})
	s.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10,
	}
	go func() { _ = s.server.Serve(listener) }()
	return s, nil
}

// Wait returns whether they were scraped before ctx ended, and stops.
func (s *Server) Wait(ctx context.Context) bool {
	scraped := false
	select {
	case <-s.scraped:
		scraped = true
	case <-ctx.Done():
	}
	// An answer under way is to arrive.
	closing, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = s.server.Shutdown(closing)
	return scraped
}
