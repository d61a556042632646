package logs

import (
	"sync/atomic"
	"time"
)

// Bounds are what a file may take that the build, or a container beside it, writes as it likes: there can be many at once.
type Bounds struct {
	// Size is how much of one file is carried.
	Size int64
	// Left is how much of all of them still is.
	Left atomic.Int64
}

const (
	// boundedPiece is what is read at once of such a file: a hundred of them, each with a buffer, take little memory.
	boundedPiece = 64 << 10
	boundedPoll  = 250 * time.Millisecond
	cutMark      = "\nke1: the rest of this log was too large to be kept\n"
)

func (e *Exporter) piece() int64 {
	if e.Bounds != nil {
		return boundedPiece
	}
	return readSize
}

func (e *Exporter) poll() time.Duration {
	if e.Bounds != nil {
		return boundedPoll
	}
	return pollInterval
}

// bounded is what of a file of this size is still to be read. One that has become shorter is written anew from its
// beginning, as by a program that empties its log.
func (e *Exporter) bounded(size int64) int64 {
	if size < e.offset {
		e.offset = 0
	}
	available := size - e.offset
	allowed := max(min(available, e.Bounds.Size-e.taken), 0)
	if allowed > 0 && e.Bounds.Left.Load() < allowed {
		allowed = 0
	}
	e.cut = e.cut || allowed < available
	return allowed
}
