package mask

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// maxSecrets bounds the memory: each byte is there in some twenty forms.
	maxSecrets = 64 << 10
	maxFiles   = 1000
)

// Secrets are values that must not be seen.
type Secrets struct {
	values []string
}

// Of is for values that are at hand.
func Of(values ...string) Secrets { return Secrets{values} }

// ReadSecrets reads a directory as Kubernetes mounts a Secret: each file is a value. Notice takes a line for a person on what
// is not masked. No message has anything of a value in it.
func ReadSecrets(directory string, notice func(format string, args ...any)) (Secrets, error) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return Secrets{}, err
	}
	var secrets Secrets
	size := 0
	for _, entry := range entries {
		// ..data and what it points at are how Kubernetes replaces all files at once; the names beside it are links through it
		// (https://kubernetes.io/docs/concepts/configuration/secret/#mounted-secrets-are-updated-automatically).
		path := filepath.Join(directory, entry.Name())
		if strings.HasPrefix(entry.Name(), "..") {
			continue
		}
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			if err != nil {
				return Secrets{}, err
			}
			continue
		}
		content, err := readFile(path)
		if err != nil {
			return Secrets{}, err
		}
		value := strings.TrimRight(content, "\r\n")
		if len(value) < minLength {
			notice("the value %s is shorter than %d characters: it is not masked", entry.Name(), minLength)
			continue
		}
		if size += len(value); size > maxSecrets || len(secrets.values) == maxFiles {
			return Secrets{}, fmt.Errorf("%s has more than %d values or %d KiB of them: too much to mask",
				directory, maxFiles, maxSecrets>>10)
		}
		secrets.values = append(secrets.values, value)
	}
	slices.Sort(secrets.values)
	secrets.values = slices.Compact(secrets.values)
	return secrets, nil
}

func readFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxSecrets+1))
	return string(content), err
}
