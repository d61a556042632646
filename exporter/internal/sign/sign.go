// Package sign puts a statement into a DSSE envelope (https://github.com/secure-systems-lab/dsse/blob/master/envelope.md),
// as in-toto and cosign read it.
package sign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
)

// MediaType is an envelope's, payloadType that of what is in it.
const (
	MediaType   = "application/vnd.dsse.envelope.v1+json"
	payloadType = "application/vnd.in-toto+json"
)

// maxKeySize bounds what is read of a key's file.
const maxKeySize = 16 << 10

// Key signs. It is Ed25519, or ECDSA on P-256.
type Key struct {
	signer crypto.Signer
	id     string
}

// ReadKey reads a private key in PEM: PKCS #8, or SEC 1 as `openssl ecparam -genkey` writes it. No error has anything of the
// key in it.
func ReadKey(path string) (*Key, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxKeySize))
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		// `openssl ecparam -genkey` writes the curve's parameters first.
		if block, content = pem.Decode(content); block == nil {
			return nil, errors.New("has no private key in PEM (-----BEGIN PRIVATE KEY-----)")
		}
		switch block.Type {
		case "PRIVATE KEY":
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, errors.New("has a private key that cannot be read")
			}
			return newKey(key)
		case "EC PRIVATE KEY":
			if block.Headers["Proc-Type"] != "" {
				return nil, errors.New("has an encrypted key: it must not be, as nobody is there to give its password")
			}
			key, err := x509.ParseECPrivateKey(block.Bytes)
			if err != nil {
				return nil, errors.New("has a private key that cannot be read")
			}
			return newKey(key)
		case "EC PARAMETERS":
		default:
			return nil, fmt.Errorf("has no plain private key: it says %q", block.Type)
		}
	}
}

func newKey(key any) (*Key, error) {
	var signer crypto.Signer
	switch key := key.(type) {
	case ed25519.PrivateKey:
		signer = key
	case *ecdsa.PrivateKey:
		if key.Curve != elliptic.P256() {
			return nil, errors.New("has an ECDSA key that is not of the curve P-256")
		}
		signer = key
	default:
		return nil, errors.New("has a key that is neither Ed25519 nor ECDSA on P-256")
	}
	public, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(public)
	return &Key{signer: signer, id: "sha256:" + hex.EncodeToString(sum[:])}, nil
}

// ID is a hint at the public key: the SHA-256 of its DER form,
// `openssl pkey -pubin -in key.pub -outform DER | sha256sum`.
func (k *Key) ID() string { return k.id }

type envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"`
	Signatures  []signature `json:"signatures"`
}

type signature struct {
	KeyID string `json:"keyid"`
	Sig   []byte `json:"sig"`
}

// Envelope signs an in-toto statement.
func (k *Key) Envelope(statement []byte) ([]byte, error) {
	message := preAuthentication(statement)
	options := crypto.SignerOpts(crypto.Hash(0))
	if _, ok := k.signer.(*ecdsa.PrivateKey); ok {
		sum := sha256.Sum256(message)
		message, options = sum[:], crypto.SHA256
	}
	sig, err := k.signer.Sign(rand.Reader, message, options)
	if err != nil {
		return nil, errors.New("the provenance could not be signed")
	}
	content, err := json.Marshal(envelope{payloadType, statement, []signature{{k.id, sig}}})
	return append(content, '\n'), err
}

// preAuthentication is what is signed (https://github.com/secure-systems-lab/dsse/blob/master/protocol.md).
func preAuthentication(payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}
