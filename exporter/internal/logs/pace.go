package logs

import (
	"time"

	"github.com/kerbodyne/ke-1-build/exporter/internal/store"
)

// pace returns how long to wait between two appends that are not full. An append blob has a limited number of blocks: the
// interval doubles with each eighth of them, so that 500 ms at first lasts for days.
func pace(base time.Duration, blocks int) time.Duration {
	return base << min(blocks/(store.MaxAppendBlocks/8), 16)
}
