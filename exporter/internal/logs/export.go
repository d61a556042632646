// Package logs carries the build's log to an append blob while the build runs.
package logs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
	"github.com/kerbodyne/ke-1-build/exporter/internal/store"
)

const (
	mediaType = "text/plain; charset=utf-8"
	// pollInterval: an fstat(2) this often costs nothing, works on every kind of volume, and has no queue to overflow.
	pollInterval = 50 * time.Millisecond
	// readSize is less than an append may have: with what the mask held back it is one append.
	readSize = store.MaxAppendBytes - 128<<10
	// easeAfter is how long nothing may come until the mask is asked for the end of a line.
	easeAfter = 700 * time.Millisecond
	// reclaimSize is how much of the file is given back to the volume at once.
	reclaimSize = 1 << 20
	// maxBackoff is the longest wait between two tries while the store is away and the build runs.
	maxBackoff = 5 * time.Second
)

// Blob is where a log goes to. Both methods may be called again after an error.
type Blob interface {
	Create(ctx context.Context, mediaType string) error
	Append(ctx context.Context, content []byte) error
}

// Exporter follows one log. The file on the volume is its only buffer: it holds one block in memory, however far behind.
type Exporter struct {
	// Open opens the log; os.ErrNotExist means not yet.
	Open     func() (*os.File, error)
	Blob     Blob
	Interval time.Duration
	Mask     Mask
	// Progress takes one line for a person.
	Progress func(format string, args ...any)
	// Passed, if there is one, sees all that was stored, and when it was read. The bytes are valid during the call.
	Passed func(at time.Time, content []byte)
	// Done, if there is one, is told when nothing more will pass.
	Done func(at time.Time)
	// Bounds are for a file that is not the wrapper's; nil for the log itself.
	Bounds *Bounds

	file   *os.File
	offset int64
	buffer []byte
	size   int64
	sum    hash.Hash
	blocks int
	begun  time.Time
	sent   time.Time
	read   time.Time
	// taken is how much was read in all; cut: the file has more than that.
	taken int64
	cut   bool
	// reclaimed is how much of the file has been given back; less than 0 if the volume does not know how.
	reclaimed int64
}

// Run carries the log until ended is closed and all that was there then is stored. While the build runs an unreachable
// store is waited for; once it has ended, the store's error is returned when its own retries have come to nothing. The
// record is of what is stored, byte for byte, also with an error.
func (e *Exporter) Run(ctx context.Context, ended <-chan struct{}) (contract.Log, error) {
	e.sum = sha256.New()
	e.begun = time.Now()
	defer func() {
		if e.file != nil {
			e.file.Close()
		}
		if e.Done != nil {
			e.Done(time.Now())
		}
	}()
	err := e.persist(ctx, ended, func() error { return e.Blob.Create(ctx, mediaType) })
	if err == nil {
		err = e.follow(ctx, ended)
	}
	return contract.Log{Size: e.size, SHA256: hex.EncodeToString(e.sum.Sum(nil))}, err
}

func (e *Exporter) follow(ctx context.Context, ended <-chan struct{}) error {
	for {
		// Before looking at the file: what was written before the end must be seen.
		over := isClosed(ended)
		available, err := e.available()
		if err != nil {
			return err
		}
		wait := pace(e.Interval, e.blocks, time.Since(e.begun)) - time.Since(e.sent)
		if over {
			if err := e.drain(ctx, ended, available); err != nil {
				return err
			}
			if err := e.send(ctx, ended, e.Mask.End()); err != nil || !e.cut {
				return err
			}
			return e.send(ctx, ended, []byte(cutMark))
		}
		if available >= e.piece() || (available > 0 && wait <= 0) {
			if err := e.forward(ctx, ended, min(available, e.piece())); err != nil {
				return err
			}
			continue
		}
		if available == 0 && wait <= 0 && time.Since(e.read) > easeAfter {
			if err := e.send(ctx, ended, e.Mask.Ease()); err != nil {
				return err
			}
		}
		pause := e.poll()
		if available > 0 {
			pause = min(max(wait, time.Millisecond), time.Second)
		}
		if err := sleep(ctx, ended, pause); err != nil {
			return err
		}
	}
}

// available opens the log if need be and returns how many bytes of it are still to be read.
func (e *Exporter) available() (int64, error) {
	if e.file == nil {
		file, err := e.Open()
		if errors.Is(err, os.ErrNotExist) {
			return 0, nil
		}
		if err != nil {
			return 0, fmt.Errorf("the log on the shared volume cannot be read: %w", err)
		}
		e.file = file
	}
	info, err := e.file.Stat()
	if err != nil {
		return 0, err
	}
	if e.Bounds != nil {
		return e.bounded(info.Size()), nil
	}
	// Less than was read already: the build has cut its own log. The wrapper goes on writing where it was.
	return max(info.Size()-e.offset, 0), nil
}

// drain forwards so many bytes and no more: a process that the build left behind cannot keep it going for ever.
func (e *Exporter) drain(ctx context.Context, ended <-chan struct{}, left int64) error {
	for left > 0 {
		before := e.offset
		if err := e.forward(ctx, ended, min(left, e.piece())); err != nil {
			return err
		}
		if e.offset == before {
			return nil
		}
		left -= e.offset - before
	}
	return nil
}

func (e *Exporter) forward(ctx context.Context, ended <-chan struct{}, size int64) error {
	if int64(cap(e.buffer)) < size {
		// In powers of two: most logs are small.
		capacity := int64(64 << 10)
		for capacity < size {
			capacity *= 2
		}
		e.buffer = make([]byte, capacity)
	}
	n, err := e.file.ReadAt(e.buffer[:size], e.offset)
	if err != nil && err != io.EOF {
		return fmt.Errorf("the log on the shared volume cannot be read: %w", err)
	}
	e.offset += int64(n)
	e.taken += int64(n)
	if e.Bounds != nil {
		e.Bounds.Left.Add(-int64(n))
	}
	e.read = time.Now()
	if err := e.send(ctx, ended, e.Mask.Next(e.buffer[:n])); err != nil {
		return err
	}
	e.reclaim()
	return nil
}

// reclaim gives back to the volume what is stored: a log may be larger than the volume. The file keeps its size, so that
// whoever writes it notices nothing. A file system that cannot do that keeps all of it.
func (e *Exporter) reclaim() {
	// Whole blocks of any file system.
	end := e.offset &^ (64<<10 - 1)
	if e.Bounds != nil || e.reclaimed < 0 || end-e.reclaimed < reclaimSize {
		return
	}
	err := unix.Fallocate(int(e.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, e.reclaimed, end-e.reclaimed)
	if e.reclaimed = end; err != nil {
		e.reclaimed = -1
	}
}

func (e *Exporter) send(ctx context.Context, ended <-chan struct{}, content []byte) error {
	for len(content) > 0 {
		if e.blocks >= store.MaxAppendBlocks {
			return fmt.Errorf("the log has more than the %d blocks that an append blob can have", store.MaxAppendBlocks)
		}
		block := content[:min(len(content), store.MaxAppendBytes)]
		if err := e.persist(ctx, ended, func() error { return e.Blob.Append(ctx, block) }); err != nil {
			return err
		}
		e.sum.Write(block)
		e.size += int64(len(block))
		e.blocks++
		e.sent = time.Now()
		if e.Passed != nil {
			e.Passed(e.read, block)
		}
		content = content[len(block):]
	}
	return nil
}

// persist tries until it works, as long as the build runs; then once more.
func (e *Exporter) persist(ctx context.Context, ended <-chan struct{}, operation func() error) error {
	for backoff := 250 * time.Millisecond; ; backoff = min(2*backoff, maxBackoff) {
		over := isClosed(ended)
		err := operation()
		if err == nil || over || ctx.Err() != nil {
			return err
		}
		e.Progress("the log waits: %v", err)
		if err := sleep(ctx, ended, backoff); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, ended <-chan struct{}, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-ended:
	case <-timer.C:
	}
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
