package store

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"testing"
)

// A service that verifies what it gets, and that gets the first so many blocks spoilt.
func verifying(t *testing.T, spoilt int) (url string, tries *int) {
	t.Helper()
	tries = new(int)
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		if *tries++; *tries <= spoilt {
			content = append(content, '!')
		}
		sum := md5.Sum(content)
		if r.Header.Get("Content-MD5") != base64.StdEncoding.EncodeToString(sum[:]) {
			w.Header().Set("x-ms-error-code", "Md5Mismatch")
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusCreated)
	}), tries
}

func TestBlockIsVerified(t *testing.T) {
	for spoilt, test := range map[int]struct {
		tries int
		ok    bool
	}{
		0: {1, true},
		2: {3, true},
		9: {3, false},
	} {
		url, tries := verifying(t, spoilt)
		c, err := Open(url+"/account/container", SASFile(credentialFile(t, sas)), t.Logf)
		if err != nil {
			t.Fatal(err)
		}
		err = c.StageBlock(t.Context(), "x", "aWQ=", bytes.Repeat([]byte("block"), 1000))
		var refusal *ResponseError
		if test.ok != (err == nil) || (!test.ok && (!errors.As(err, &refusal) || refusal.Code != "Md5Mismatch")) {
			t.Errorf("spoilt %d times: the error is %v", spoilt, err)
		}
		if *tries != test.tries {
			t.Errorf("spoilt %d times: sent %d times", spoilt, *tries)
		}
	}
}
