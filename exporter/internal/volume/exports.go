package volume

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Names of what a build may hand over besides its log and its artifact directory. The pod's environment (components/exports.ts)
// and the wrapper know them too.
const (
	// logDir is KE1_LOG_DIR: whatever is written there is followed while it grows.
	logDir = "logs"
	// handedDir has the log files that the wrapper found by their patterns when the build had ended.
	handedDir = "handed-logs"
	// exportsDir is KE1_ARTIFACTS: what is there when the build ends are artifacts.
	exportsDir = "exports"
	// metricsName is KE1_METRICS_FILE.
	metricsName = "metrics.prom"
)

// MakeDirectories makes those that a build, or a container beside it, may write to without making them first.
func (v *Volume) MakeDirectories() error {
	for _, name := range []string{logDir, exportsDir} {
		err := unix.Mkdirat(v.fd, name, 0o755)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return &os.PathError{Op: "mkdir", Path: name, Err: err}
		}
	}
	return nil
}

// LogDirectory is for logs that grow, HandedLogs for those that were found at the end, and Exports for artifacts that are not
// in the artifact directory: os.ErrNotExist where there is none.
func (v *Volume) LogDirectory() (*os.File, error) { return v.directory(logDir) }
func (v *Volume) HandedLogs() (*os.File, error)   { return v.directory(handedDir) }
func (v *Volume) Exports() (*os.File, error)      { return v.directory(exportsDir) }

// Metrics opens the build's metrics: os.ErrNotExist where there are none.
func (v *Volume) Metrics() (*os.File, error) { return OpenRegular(v.fd, metricsName) }

func (v *Volume) directory(name string) (*os.File, error) {
	fd, err := openBeneath(v.fd, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}
