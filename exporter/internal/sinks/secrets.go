package sinks

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/kerbodyne/ke-1-build/exporter/internal/store"
)

// Secrets is a directory as Kubernetes mounts a Secret; empty for none. For each receiver it may have `<receiver>.username`
// and `<receiver>.password`, or `<receiver>.token`; Elasticsearch also takes `elasticsearch.apikey`. `ca.crt` has certificate
// authorities besides those that everybody knows.
type Secrets string

const maxSecret = 64 << 10

// Check reads all that will be needed, so that what is wrong is known before the build begins.
func (s Secrets) Check(receivers ...string) error {
	if s == "" {
		return nil
	}
	if _, err := os.ReadDir(string(s)); err != nil {
		return err
	}
	for _, receiver := range receivers {
		request := &http.Request{Header: http.Header{}}
		if err := s.Authorizer(receiver)(request); err != nil {
			return err
		}
	}
	if pem, err := s.read("ca.crt"); err != nil {
		return err
	} else if pem != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(pem)) {
		return errors.New("ca.crt has no certificate in PEM")
	}
	return nil
}

// Authorizer adds a receiver's credential to a request. It is read anew for each, so that it can be rotated.
func (s Secrets) Authorizer(receiver string) func(*http.Request) error {
	return func(request *http.Request) error {
		var found [4]string
		for i, key := range []string{"username", "password", "token", "apikey"} {
			var err error
			if found[i], err = s.read(receiver + "." + key); err != nil {
				return err
			}
		}
		username, password, token, apiKey := found[0], found[1], found[2], found[3]
		kinds := 0
		for _, there := range []bool{username != "" || password != "", token != "", apiKey != ""} {
			if there {
				kinds++
			}
		}
		switch {
		case kinds > 1:
			return fmt.Errorf("there is more than one credential for %s: keep one", receiver)
		case (username == "") != (password == ""):
			return fmt.Errorf("%s.username and %s.password go together: one is missing", receiver, receiver)
		case username != "":
			request.SetBasicAuth(username, password)
		case token != "":
			request.Header.Set("Authorization", "Bearer "+token)
		case apiKey != "":
			request.Header.Set("Authorization", "ApiKey "+apiKey)
		}
		return nil
	}
}

func (s Secrets) read(key string) (string, error) {
	if s == "" {
		return "", nil
	}
	file, err := os.Open(filepath.Join(string(s), key))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxSecret))
	if err != nil {
		return "", err
	}
	value := strings.TrimRight(string(content), "\r\n")
	if key != "ca.crt" && strings.ContainsAny(value, "\r\n\x00") {
		return "", fmt.Errorf("%s has more than one line", key)
	}
	return value, nil
}

func (s Secrets) roots() *x509.CertPool {
	pool := store.Roots().Clone()
	if pem, err := s.read("ca.crt"); err == nil {
		pool.AppendCertsFromPEM([]byte(pem))
	}
	return pool
}
