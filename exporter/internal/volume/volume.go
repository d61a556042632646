// Package volume reads the directory that the exporter shares with the build container. Whatever is there is hostile:
// no link is followed, nothing is read that is not a regular file, no size or name is trusted.
package volume

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Names on the volume. The wrapper (wrapper/wrap.sh) knows them too.
const (
	aliveName    = "alive"
	skipName     = "skip"
	refuseName   = "refuse"
	quietName    = "quiet"
	logName      = "log"
	markerName   = "exit.json"
	artifactsDir = "artifacts"
)

// Volume is the shared directory.
type Volume struct {
	fd int
}

// Open opens the shared directory itself, which Kubernetes made.
func Open(dir string) (*Volume, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return &Volume{fd: fd}, nil
}

// Log opens the build's log: os.ErrNotExist until the build has begun. Also for writing, as that is what it takes to give
// back what was read; whoever made it another file than the wrapper's harms only his own.
func (v *Volume) Log() (*os.File, error) {
	file, err := openRegular(v.fd, logName, unix.O_RDWR)
	if errors.Is(err, os.ErrPermission) {
		return OpenRegular(v.fd, logName)
	}
	return file, err
}

// Quiet tells the wrapper not to print what the build prints: the pod's own log is not masked.
func (v *Volume) Quiet() error {
	return v.write(quietName, "")
}

// Artifacts opens the directory that the wrapper moved the artifacts to.
func (v *Volume) Artifacts() (*os.File, error) {
	return v.directory(artifactsDir)
}

// OpenRegular opens a regular file below dirFD for reading, without following a link anywhere on the way and without
// waiting: a FIFO, device or socket is an error.
func OpenRegular(dirFD int, name string) (*os.File, error) {
	return openRegular(dirFD, name, unix.O_RDONLY)
}

func openRegular(dirFD int, name string, mode int) (*os.File, error) {
	// O_NONBLOCK: or a FIFO would hang it until somebody writes. It means nothing for a regular file.
	fd, err := openBeneath(dirFD, name, mode|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return nil, &os.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openBeneath is openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS or, where the kernel or a seccomp profile does not
// have that, the same by a walk from directory to directory.
func openBeneath(dirFD int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat2(dirFD, name, &unix.OpenHow{
			Flags:   uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW),
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
		})
		switch err {
		case unix.EINTR, unix.EAGAIN:
			continue
		case unix.ENOSYS, unix.EPERM:
			return walkBeneath(dirFD, name, flags)
		}
		return fd, err
	}
}

func walkBeneath(dirFD int, name string, flags int) (int, error) {
	if name != path.Clean(name) || path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../") {
		return -1, unix.EXDEV
	}
	parts := strings.Split(name, "/")
	dir := dirFD
	for i, part := range parts {
		partFlags := unix.O_PATH | unix.O_DIRECTORY
		if i == len(parts)-1 {
			partFlags = flags
		}
		fd, err := unix.Openat(dir, part, partFlags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if dir != dirFD {
			unix.Close(dir)
		}
		if err != nil {
			return -1, err
		}
		dir = fd
	}
	return dir, nil
}

// write makes a new file of the exporter's own on the volume.
func (v *Volume) write(name, content string) error {
	fd, err := unix.Openat(v.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return &os.PathError{Op: "create", Path: name, Err: err}
	}
	file := os.NewFile(uintptr(fd), name)
	_, err = io.WriteString(file, content)
	return errors.Join(err, file.Close())
}

func (v *Volume) exists(name string) bool {
	var stat unix.Stat_t
	return unix.Fstatat(v.fd, name, &stat, unix.AT_SYMLINK_NOFOLLOW) == nil
}

func notA(name, what string) error {
	return fmt.Errorf("%s on the shared volume is not %s", name, what)
}
