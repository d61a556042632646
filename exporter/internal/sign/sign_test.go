package sign

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, blocks ...*pem.Block) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	var content []byte
	for _, block := range blocks {
		content = append(content, pem.EncodeToMemory(block)...)
	}
	must(t, os.WriteFile(path, content, 0o600))
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pkcs8(t *testing.T, key any) *pem.Block {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	return &pem.Block{Type: "PRIVATE KEY", Bytes: der}
}

// The example of the specification (https://github.com/secure-systems-lab/dsse/blob/master/protocol.md), with our type.
func TestPreAuthentication(t *testing.T) {
	if got := string(preAuthentication([]byte("hello world"))); got != "DSSEv1 28 application/vnd.in-toto+json 11 hello world" {
		t.Errorf("%q", got)
	}
}

func TestEnvelope(t *testing.T) {
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	sec1, err := x509.MarshalECPrivateKey(curve)
	must(t, err)
	verifyCurve := func(message, sig []byte) bool {
		sum := sha256.Sum256(message)
		return ecdsa.VerifyASN1(&curve.PublicKey, sum[:], sig)
	}
	for name, test := range map[string]struct {
		path   string
		verify func(message, sig []byte) bool
	}{
		"Ed25519": {write(t, pkcs8(t, edwards)), func(message, sig []byte) bool {
			return ed25519.Verify(edwards.Public().(ed25519.PublicKey), message, sig)
		}},
		"ECDSA": {write(t, pkcs8(t, curve)), verifyCurve},
		"ECDSA as openssl writes it": {
			write(t, &pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6}}, &pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}), verifyCurve,
		},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := ReadKey(test.path)
			must(t, err)
			statement := []byte(`{"_type":"https://in-toto.io/Statement/v1"}`)
			content, err := key.Envelope(statement)
			must(t, err)
			var e envelope
			must(t, json.Unmarshal(content, &e))
			if string(e.Payload) != string(statement) || len(e.Signatures) != 1 || e.Signatures[0].KeyID != key.ID() {
				t.Errorf("%s", content)
			}
			if !test.verify(preAuthentication(statement), e.Signatures[0].Sig) {
				t.Error("the signature is not valid")
			}
			if test.verify(preAuthentication([]byte("{}")), e.Signatures[0].Sig) {
				t.Error("the signature is valid for anything")
			}
		})
	}
}

func TestKeysThatCannotSign(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	factors, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	for words, path := range map[string]string{
		"P-256":                 write(t, pkcs8(t, other)),
		"neither":               write(t, pkcs8(t, factors)),
		"no private key in PEM": write(t),
		"ENCRYPTED PRIVATE KEY": write(t, &pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}),
		"cannot be read":        write(t, &pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}),
		"no such file":          "/nonexistent",
		"encrypted key": write(t, &pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("x"),
			Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}}),
	} {
		if _, err := ReadKey(path); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: the error is %v", words, err)
		}
	}
}
