package volume

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Names on the volume of a sidecar (wrapper/wrap.sh).
const (
	endedName   = "ended"
	stopName    = "stop"
	killName    = "kill"
	summaryName = "summary.json"
)

// MaxSummary bounds what sidecars say of a build, in bytes and all together: it goes into the manifest, and from there into
// the state of a stack.
const MaxSummary = 64 << 10

// OpenDir opens a directory on the volume as a volume of its own: that of one init container.
func (v *Volume) OpenDir(name string) (*Volume, error) {
	fd, err := openBeneath(v.fd, name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return &Volume{fd: fd}, nil
}

// PrepareForOthers is Prepare for a container that may run as another user than the exporter.
func (v *Volume) PrepareForOthers() error {
	if err := v.Prepare(); err != nil {
		return err
	}
	// Not where the other was first: it is not this process's to change, and need not be.
	_ = unix.Fchmodat(v.fd, aliveName, 0o666, 0)
	return nil
}

// TellEnd tells a sidecar that the build has ended, and how: its exit code, or another word.
func (v *Volume) TellEnd(how string) error {
	const fresh = endedName + ".new"
	// What a sidecar has put there itself is its own affair.
	_ = unix.Unlinkat(v.fd, fresh, 0)
	if err := v.write(fresh, how+"\n"); err != nil {
		return err
	}
	if err := unix.Renameat(v.fd, fresh, v.fd, endedName); err != nil {
		return &os.PathError{Op: "rename", Path: endedName, Err: err}
	}
	return nil
}

// Stop tells a sidecar's wrapper to end its command in good order.
func (v *Volume) Stop() error { return ignoreExist(v.write(stopName, "")) }

// Kill tells a sidecar's wrapper to end its command at once.
func (v *Volume) Kill() error { return ignoreExist(v.write(killName, "")) }

// Summary reads what a sidecar has to say of the build: os.ErrNotExist if nothing.
func (v *Volume) Summary() ([]byte, error) {
	file, err := OpenRegular(v.fd, summaryName)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, MaxSummary+1))
	if err == nil && len(content) > MaxSummary {
		err = fmt.Errorf("it is larger than %d bytes", MaxSummary)
	}
	return content, err
}

func ignoreExist(err error) error {
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}
