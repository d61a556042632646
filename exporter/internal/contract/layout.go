package contract

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// BuildTag is an image tag, a blob prefix and a Kubernetes label value at once; see contract/layout.ts.
var BuildTag = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)

// Step is the name of a pipeline's step: a blob prefix and a part of a Job's name; see contract/layout.ts.
var Step = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

// Layout gives the names of the blobs of one build, below the container.
type Layout string

// LayoutOf is that of a BUILD_TAG or, where step is not empty, of one step of its pipeline.
func LayoutOf(tag, step string) Layout {
	if step == "" {
		return Layout(tag)
	}
	return Layout(tag + "/steps/" + step)
}

func (tag Layout) Artifact(name string) string { return string(tag) + "/bin/" + name }
func (tag Layout) Log(name string) string      { return string(tag) + "/" + name }
func (tag Layout) Lease() string               { return string(tag) + "/attempts/lease" }
func (tag Layout) Manifest() string            { return string(tag) + "/manifest.json" }
func (tag Layout) Provenance() string          { return string(tag) + "/provenance.json" }
func (tag Layout) Envelope() string            { return string(tag) + "/provenance.dsse.json" }
func (tag Layout) Started(attempt int) string {
	return fmt.Sprintf("%s/attempts/%d/started.json", tag, attempt)
}
func (tag Layout) Finished(attempt int) string {
	return fmt.Sprintf("%s/attempts/%d/finished.json", tag, attempt)
}

// LogName is the path of a log that begins at t, below <BUILD_TAG>/: ISO 8601 basic format, UTC, milliseconds.
func LogName(t time.Time) string {
	return "logs/" + t.UTC().Format("20060102T150405.000Z") + ".log"
}

// ContainerLogName is the path of the log of an init container or a sidecar, beside the build's own.
func ContainerLogName(logName, container string) string {
	return strings.TrimSuffix(logName, ".log") + "." + container + ".log"
}

// LogFileName is the path of a log file of the attempt that has this log.
func LogFileName(log, name string) string { return strings.TrimSuffix(log, ".log") + "/" + name }

// Timestamp is RFC 3339, UTC, milliseconds, as Date.toISOString() writes it.
func Timestamp(t time.Time) string {
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// Seconds are rounded to the millisecond.
func Seconds(d time.Duration) float64 {
	return float64(max(d, 0).Milliseconds()) / 1000
}
