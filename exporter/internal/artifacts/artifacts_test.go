package artifacts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kerbodyne/ke-1-build/exporter/internal/store"
)

// meddler is a store during whose work something else happens.
type meddler struct {
	put, stage func(content []byte) error
	committed  []string
}

func (m *meddler) Put(_ context.Context, _, _ string, content []byte, _ map[string]string) error {
	return call(m.put, content)
}

func (m *meddler) StageBlock(_ context.Context, _, _ string, content []byte) error {
	return call(m.stage, content)
}

func (m *meddler) Commit(context.Context, string, string, []string, map[string]string) error {
	return nil
}

func (m *meddler) PutNew(ctx context.Context, name, mediaType string, content []byte, metadata map[string]string) error {
	return m.Put(ctx, name, mediaType, content, metadata)
}

func (m *meddler) CommitNew(_ context.Context, _, _ string, ids []string, _ map[string]string) error {
	m.committed = ids
	return nil
}

func (m *meddler) Look(context.Context, string) (store.Stored, error) {
	return store.Stored{}, store.ErrNotFound
}

func (m *meddler) Blocks(context.Context, string) ([]string, map[string]int64, error) {
	return nil, nil, store.ErrNotFound
}

func call(f func([]byte) error, content []byte) error {
	if f == nil {
		return nil
	}
	return f(content)
}

func upload(t *testing.T, dir string, store Store, between func()) error {
	t.Helper()
	handle, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	inventory, err := Walk("tag/bin/", handle)
	if err != nil {
		t.Fatal(err)
	}
	between()
	uploader := &Uploader{
		Store:    store,
		BlobName: func(name string) string { return "tag/bin/" + name },
		Check:    func(context.Context) error { return nil },
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err = uploader.Upload(ctx, inventory)
	return err
}

func TestChangeWhileExporting(t *testing.T) {
	for name, test := range map[string]struct {
		size   int64
		early  bool
		meddle func(path string) error
	}{
		"small file grows before it is read":         {100, true, func(p string) error { return os.Truncate(p, 101) }},
		"small file is written in place":             {100, true, func(p string) error { return os.WriteFile(p, make([]byte, 100), 0o644) }},
		"small file is replaced by a link":           {100, true, func(p string) error { return errors.Join(os.Remove(p), os.Symlink("/etc/passwd", p)) }},
		"small file is replaced by one like it":      {100, true, func(p string) error { return errors.Join(os.Remove(p), os.WriteFile(p, make([]byte, 100), 0o644)) }},
		"small file vanishes":                        {100, true, os.Remove},
		"large file grows while it is sent":          {20 << 20, false, func(p string) error { return os.Truncate(p, 21<<20) }},
		"large file shrinks while it is sent":        {70 << 20, false, func(p string) error { return os.Truncate(p, 1<<20) }},
		"large file keeps its size, not its content": {20 << 20, false, func(p string) error { return overwrite(p) }},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			if err := errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, test.size)); err != nil {
				t.Fatal(err)
			}
			// Timestamps of files are as coarse as the kernel's clock tick.
			time.Sleep(20 * time.Millisecond)
			store := &meddler{}
			between := func() {}
			if test.early {
				between = func() {
					if err := test.meddle(path); err != nil {
						t.Error(err)
					}
				}
			} else {
				once := make(chan struct{}, 1)
				once <- struct{}{}
				store.stage = func([]byte) error {
					select {
					case <-once:
						return test.meddle(path)
					default:
						return nil
					}
				}
			}
			err := upload(t, dir, store, between)
			if err == nil || !strings.Contains(err.Error(), "changed while it was exported") {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func overwrite(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt([]byte("other"), 100)
	return errors.Join(err, file.Close())
}

// An error in one of many files must end the upload, and not leave the others waiting for buffers.
func TestStoreFails(t *testing.T) {
	dir := t.TempDir()
	for i := range 10 {
		path := filepath.Join(dir, hex.EncodeToString([]byte{byte(i)}))
		if err := errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, 30<<20)); err != nil {
			t.Fatal(err)
		}
	}
	failure := errors.New("the store is full")
	if err := upload(t, dir, &meddler{stage: func([]byte) error { return failure }}, func() {}); !errors.Is(err, failure) {
		t.Errorf("the error is %v", err)
	}
}

// A block is known by all that comes before its end: one that is staged for other bytes is never taken.
func TestBlockIDs(t *testing.T) {
	ids := func(content []byte) []string {
		t.Helper()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "file"), content, 0o644); err != nil {
			t.Fatal(err)
		}
		store := &meddler{}
		if err := upload(t, dir, store, func() {}); err != nil {
			t.Fatal(err)
		}
		return store.committed
	}
	content := make([]byte, 2*blockSize+1)
	one := ids(content)
	if again := ids(content); len(one) != 3 || !slices.Equal(one, again) {
		t.Errorf("the same bytes are %v and %v", one, again)
	}
	content[blockSize] = 1
	other := ids(content)
	if other[0] != one[0] || other[1] == one[1] || other[2] == one[2] {
		t.Errorf("bytes that differ in the second block are %v and %v", one, other)
	}
	sum := sha256.Sum256(content)
	if last, err := base64.StdEncoding.DecodeString(other[2]); err != nil || !bytes.Equal(last[4:], sum[:20]) {
		t.Errorf("the last block is %x, and the file %x", last, sum)
	}
}

func TestStaysInside(t *testing.T) {
	for _, test := range []struct {
		link, target string
		inside       bool
	}{
		{"a", "b", true}, {"a", "..", false}, {"a", ".", true}, {"d/a", "..", true}, {"d/a", "../b", true},
		{"d/a", "../..", false}, {"d/a", ".././../x", false}, {"a", "b/../c", false}, {"d/e/a", "../../b", true},
		{"a", "b/..", false}, {"a", "..b", true}, {"a", "./b//c", true},
	} {
		if staysInside(test.link, test.target) != test.inside {
			t.Errorf("%s -> %s", test.link, test.target)
		}
	}
}

func TestMediaType(t *testing.T) {
	elf := func(kind byte, order byte) []byte {
		head := make([]byte, 64)
		copy(head, "\x7fELF\x02")
		head[5] = order
		if order == 2 {
			head[17] = kind
		} else {
			head[16] = kind
		}
		return head
	}
	for _, test := range []struct {
		name       string
		head       []byte
		executable bool
		wanted     string
	}{
		{"ke-1-ctl", elf(2, 1), true, "application/x-executable"},
		{"ke-1-ctl", elf(2, 2), true, "application/x-executable"},
		{"ke-1-ctl", elf(3, 1), true, "application/x-pie-executable"},
		{"lib.so.1", elf(3, 1), true, "application/x-sharedlib"},
		{"a.o", elf(1, 1), false, "application/x-object"},
		{"program.txt", elf(2, 1), true, "application/x-executable"},
		{"notes.TXT", []byte("x"), false, "text/plain; charset=utf-8"},
		{"x.tar.gz", []byte{0x1f, 0x8b, 8}, false, "application/gzip"},
		{"script", []byte("#!/bin/sh\n"), true, "text/plain; charset=utf-8"},
		{"empty", nil, false, "text/plain; charset=utf-8"},
	} {
		if got := mediaType(test.name, test.head, test.executable); got != test.wanted {
			t.Errorf("%s is %s, not %s", test.name, got, test.wanted)
		}
	}
}
