package logs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kerbodyne/ke-1-build/exporter/internal/store"
)

// memory is a blob that fails as often as it is told.
type memory struct {
	mutex    sync.Mutex
	content  []byte
	appends  int
	failures int
}

func (m *memory) Create(context.Context, string) error { return nil }

func (m *memory) Append(_ context.Context, content []byte) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.failures > 0 {
		m.failures--
		return errors.New("the store is away")
	}
	if len(content) > store.MaxAppendBytes {
		return errors.New("too large a block")
	}
	m.content = append(m.content, content...)
	m.appends++
	return nil
}

func (m *memory) works() bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.failures == 0
}

func (m *memory) length() int {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return len(m.content)
}

func (m *memory) String() string {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return string(m.content)
}

func follow(t *testing.T, blob Blob, mask Mask, interval time.Duration, write func(file *os.File)) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	exporter := &Exporter{
		Open:     func() (*os.File, error) { return os.OpenFile(path, os.O_RDWR, 0) },
		Blob:     blob,
		Interval: interval,
		Mask:     mask,
		Progress: t.Logf,
	}
	ended := make(chan struct{})
	done := make(chan error, 1)
	var digest string
	go func() {
		record, err := exporter.Run(t.Context(), ended)
		digest = record.SHA256
		done <- err
	}()
	// The log is not there at first.
	time.Sleep(20 * time.Millisecond)
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	write(file)
	file.Close()
	close(ended)
	select {
	case err := <-done:
		return digest, err
	case <-time.After(20 * time.Second):
		t.Fatal("the log does not come to an end")
	}
	return "", nil
}

func TestEveryByteOnce(t *testing.T) {
	blob := &memory{failures: 2}
	var wanted bytes.Buffer
	digest, err := follow(t, blob, Verbatim{}, 30*time.Millisecond, func(file *os.File) {
		for i := range 40 {
			piece := bytes.Repeat([]byte{byte(i), 0, '\r', 0xff}, i*i*100)
			wanted.Write(piece)
			_, _ = file.Write(piece)
			time.Sleep(5 * time.Millisecond)
		}
		for !blob.works() {
			time.Sleep(5 * time.Millisecond)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if blob.String() != wanted.String() {
		t.Errorf("%d bytes instead of %d", len(blob.content), wanted.Len())
	}
	sum := sha256.Sum256(wanted.Bytes())
	if digest != hex.EncodeToString(sum[:]) {
		t.Error("the digest is of something else")
	}
	if blob.appends > 20 {
		t.Errorf("%d appends in 0.2 s with an interval of 30 ms", blob.appends)
	}
}

func TestLogThatTheBuildCuts(t *testing.T) {
	blob := &memory{}
	_, err := follow(t, blob, Verbatim{}, time.Millisecond, func(file *os.File) {
		_, _ = file.WriteString("before the cut|")
		for blob.String() == "" {
			time.Sleep(time.Millisecond)
		}
		_ = file.Truncate(0)
		// The wrapper's tee goes on where it was.
		_, _ = file.WriteString("after")
	})
	if err != nil || blob.String() != "before the cut|after" {
		t.Errorf("%q, %v", blob.String(), err)
	}
}

// secretMask hides a word also where two pieces meet, and holds back what may be its beginning.
type secretMask struct {
	secret string
	held   string
}

func (m *secretMask) Next(piece []byte) []byte {
	text := strings.ReplaceAll(m.held+string(piece), m.secret, "***")
	keep := min(len(text), len(m.secret)-1)
	m.held = text[len(text)-keep:]
	return []byte(text[:len(text)-keep])
}

func (m *secretMask) Ease() []byte { return nil }

func (m *secretMask) End() []byte { return []byte(m.held) }

func TestMaskSeesOneStream(t *testing.T) {
	blob := &memory{}
	_, err := follow(t, blob, &secretMask{secret: "hunter2"}, time.Millisecond, func(file *os.File) {
		for _, piece := range []string{"the password is hun", "ter", "2, is it not", "?"} {
			_, _ = file.WriteString(piece)
			time.Sleep(120 * time.Millisecond)
		}
	})
	if err != nil || blob.String() != "the password is ***, is it not?" {
		t.Errorf("%q, %v", blob.String(), err)
	}
	if blob.appends < 2 {
		t.Error("the pieces were not seen apart: the test shows nothing")
	}
}

// A build that prints without a pause: for a day, 19 of 20 bytes are in the blob within 2 s, and the blocks last for days.
func TestPaceLastsForDays(t *testing.T) {
	const base = 500 * time.Millisecond
	// What an append takes, and how long until it is noticed that there is something to append.
	const overhead = pollInterval + 50*time.Millisecond
	var total, late time.Duration
	for blocks := range store.MaxAppendBlocks {
		wait := pace(base, blocks, total)
		if total < 24*time.Hour {
			// What is printed right after an append waits longest.
			late += max(wait+overhead-2*time.Second, 0)
		}
		total += wait
	}
	if total < 5*24*time.Hour {
		t.Errorf("%d blocks last only %s", store.MaxAppendBlocks, total)
	}
	if late > 24*time.Hour/20 {
		t.Errorf("for %s of a day, what is printed comes too late", late)
	}
	if pace(base, 1000, 0) != base || pace(base, 20_000, 12*time.Hour) != base {
		t.Error("slower than asked, although there are blocks")
	}
	if pace(10*time.Second, 10, 0) != 10*time.Second {
		t.Error("faster than asked")
	}
}

// What is stored is given back to the volume while the build goes on writing.
func TestVolumeDoesNotFill(t *testing.T) {
	blob := &memory{}
	const piece, pieces = 1 << 20, 24
	wanted := sha256.New()
	digest, err := follow(t, blob, Verbatim{}, time.Millisecond, func(file *os.File) {
		var most int64
		for i := range pieces {
			content := bytes.Repeat([]byte{byte('a' + i)}, piece)
			wanted.Write(content)
			_, _ = file.Write(content)
			for blob.length() < (i+1)*piece {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(5 * time.Millisecond)
			var stat unix.Stat_t
			_ = unix.Fstat(int(file.Fd()), &stat)
			most = max(most, stat.Blocks*512)
		}
		if most > 4*piece {
			t.Errorf("the file had %d MiB on the volume", most>>20)
		}
	})
	if err != nil || digest != hex.EncodeToString(wanted.Sum(nil)) {
		t.Errorf("the log is something else: %v", err)
	}
}
