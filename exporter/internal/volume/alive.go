package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// strayWriter is how long the marker may be there before the FIFO's end: then somebody other than the wrapper, which
// closes it right after, holds the FIFO open.
const strayWriter = 5 * time.Second

// Prepare makes the FIFO, unless the wrapper was first.
func (v *Volume) Prepare() error {
	err := unix.Mkfifoat(v.fd, aliveName, 0o600)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return &os.PathError{Op: "mkfifo", Path: aliveName, Err: err}
	}
	return nil
}

// Alive is the read end of the FIFO that the wrapper holds open as long as it lives.
type Alive struct {
	volume *Volume
	fd     int
}

// Go opens the FIFO: the wrapper, which waits for that, goes on.
func (v *Volume) Go() (*Alive, error) {
	fd, err := openBeneath(v.fd, aliveName, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: aliveName, Err: err}
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFIFO {
		unix.Close(fd)
		return nil, notA(aliveName, "a FIFO")
	}
	return &Alive{volume: v, fd: fd}, nil
}

// Skip tells the wrapper to end with 0 without running anything.
func (v *Volume) Skip() error {
	return v.turnAway(skipName, "")
}

// Refuse tells the wrapper to end with an error that gives the reason: the exporter cannot do its part.
func (v *Volume) Refuse(reason string) error {
	return v.turnAway(refuseName, reason+"\n")
}

// turnAway lets a wrapper that waits go on, and one that is still to come not wait: a FIFO without a reader would hold it
// for ever, so an ordinary file takes the FIFO's place.
func (v *Volume) turnAway(name, content string) error {
	if err := v.write(name, content); err != nil {
		return err
	}
	alive, err := v.Go()
	if err != nil {
		return err
	}
	const replacement = aliveName + ".gone"
	if err := v.write(replacement, ""); err != nil {
		return err
	}
	if err := unix.Renameat(v.fd, replacement, v.fd, aliveName); err != nil {
		return &os.PathError{Op: "rename", Path: aliveName, Err: err}
	}
	// Left open until the process ends: a wrapper may be on its way from the FIFO's name to the FIFO.
	_ = alive
	return nil
}

// Wait returns when the wrapper has gone: it closed the FIFO, or died. It calls started when the wrapper has come.
func (a *Alive) Wait(ctx context.Context, started func()) error {
	wake, err := wakeOnDone(ctx)
	if err != nil {
		return err
	}
	defer wake.Close()
	var came bool
	var markerSeen time.Time
	buffer := make([]byte, 16)
	for {
		// A FIFO that no writer has opened yet polls as nothing, one whose writers have all gone as POLLHUP: read(2) cannot
		// tell these two apart. The timeout is for the stray writer only.
		polled := []unix.PollFd{{Fd: int32(a.fd), Events: unix.POLLIN}, {Fd: int32(wake.Fd()), Events: unix.POLLIN}}
		if _, err := unix.Poll(polled, 1000); err != nil && err != unix.EINTR {
			return fmt.Errorf("poll: %w", err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if polled[0].Revents&unix.POLLIN != 0 {
			if n, _ := unix.Read(a.fd, buffer); n > 0 && !came {
				came = true
				started()
			}
			continue
		}
		if polled[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0 {
			return nil
		}
		if came && a.volume.exists(markerName) {
			if markerSeen.IsZero() {
				markerSeen = time.Now()
			} else if time.Since(markerSeen) > strayWriter {
				return nil
			}
		}
	}
}

// Close lets go of the FIFO.
func (a *Alive) Close() { unix.Close(a.fd) }

// wakeOnDone returns a pipe that becomes readable when ctx ends.
func wakeOnDone(ctx context.Context) (*wakePipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	w := &wakePipe{read: fds[0], stopped: make(chan struct{})}
	stop := make(chan struct{})
	w.stop = stop
	go func() {
		select {
		case <-ctx.Done():
		case <-stop:
		}
		unix.Close(fds[1])
		close(w.stopped)
	}()
	return w, nil
}

type wakePipe struct {
	read          int
	stop, stopped chan struct{}
}

func (w *wakePipe) Fd() int { return w.read }

func (w *wakePipe) Close() {
	close(w.stop)
	<-w.stopped
	unix.Close(w.read)
}
