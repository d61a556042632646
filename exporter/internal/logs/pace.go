package logs

import (
	"time"

	"github.com/kerbodyne/ke-1-build/exporter/internal/store"
)

// An append blob has a limited number of blocks. A build that prints without a pause has so many at its beginning, and then
// one every steady, which lasts for a day and keeps what it prints less than two seconds from the blob; the last ones are
// for days.
const (
	freeBlocks    = 3000
	steady        = 1850 * time.Millisecond
	lastBlocks    = 2500
	lastBlockStep = lastBlocks / 10
)

// pace returns how long to wait between two appends that are not full, after so many of them in so much time. A build that
// was silent for a while has saved some.
func pace(base time.Duration, blocks int, elapsed time.Duration) time.Duration {
	if left := store.MaxAppendBlocks - blocks; left <= lastBlocks {
		return max(base, steady) << (1 + (lastBlocks-max(left, 1))/lastBlockStep)
	}
	if blocks < freeBlocks+int(elapsed/steady) {
		return base
	}
	return max(base, steady)
}
