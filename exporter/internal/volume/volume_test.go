package volume

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func tree(t *testing.T) (string, int) {
	t.Helper()
	dir := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "a/b"), 0o755),
		os.WriteFile(filepath.Join(dir, "a/b/file"), []byte("content"), 0o644),
		os.Symlink("a", filepath.Join(dir, "link")),
		os.Symlink("file", filepath.Join(dir, "a/b/filelink")),
		unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return dir, fd
}

// Both ways to open must refuse the same: which one is used depends on the kernel and the seccomp profile.
func TestOpenBeneath(t *testing.T) {
	_, fd := tree(t)
	for way, open := range map[string]func(int, string, int) (int, error){"openat2": openBeneath, "walk": walkBeneath} {
		for name, wanted := range map[string]bool{
			"a/b/file": true, "link/b/file": false, "a/b/filelink": false, "../x": false, "a/../a/b/file": way == "openat2",
			"/etc/passwd": false, "a/b/none": false, "..": false,
		} {
			got, err := open(fd, name, unix.O_RDONLY)
			if (err == nil) != wanted {
				t.Errorf("%s of %s: %v", way, name, err)
			}
			if err == nil {
				unix.Close(got)
			}
		}
	}
}

func TestOpenRegularDoesNotHangOnFIFO(t *testing.T) {
	_, fd := tree(t)
	done := make(chan error, 1)
	go func() {
		_, err := OpenRegular(fd, "fifo")
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Error("a FIFO was opened as a regular file")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("hangs")
	}
}

func TestParseMarker(t *testing.T) {
	good, err := parseMarker([]byte(`{"exitCode":1,"startedAt":1700000000,"endedAt":1700000009,"problem":"no-artifacts"}` + "\n"))
	if err != nil || good != (Marker{1, 1700000000, 1700000009, NoArtifacts}) {
		t.Errorf("%v, %v", good, err)
	}
	for _, bad := range []string{
		``, `null`, `{}`, `[]`, `0`, `{"exitCode":null}`, `{"exitCode":"0"}`, `{"exitCode":-1}`, `{"exitCode":256}`,
		`{"exitCode":0.5}`, `{"exitCode":0}{"exitCode":0}`, `{"exitCode":0,"other":1}`, `{"exitCode":0} x`,
		`{"exitCode":0,"problem":"no-artifacts"}`, `{"exitCode":1,"problem":"other"}`, `{"exitCode":99999999999999999999}`,
	} {
		if marker, err := parseMarker([]byte(bad)); !errors.Is(err, ErrBadMarker) {
			t.Errorf("%s gives %v, %v", bad, marker, err)
		}
	}
}

func TestWaitKnowsWriterToComeFromWriterGone(t *testing.T) {
	dir := t.TempDir()
	v, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.Prepare(), v.Prepare()); err != nil {
		t.Fatal(err)
	}
	alive, err := v.Go()
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	// Nobody has come: waits until it is told not to.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := alive.Wait(ctx, func() {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("without a writer: %v", err)
	}
	writer, err := os.OpenFile(filepath.Join(dir, aliveName), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.WriteString("1\n"); err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- alive.Wait(t.Context(), func() { close(started) }) }()
	select {
	case <-started:
	case <-time.After(5 * time.Second):
		t.Fatal("the writer was not seen")
	}
	select {
	case err := <-ended:
		t.Fatalf("ended while the writer is there: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	writer.Close()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the writer's end was not seen")
	}
}
