package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// memoryLimit of the exporter, whatever it has to carry.
const memoryLimit = 150 << 20

// highWater follows the process's peak of resident memory until it ends.
func (r *process) highWater() func() int64 {
	peak := make(chan int64, 1)
	go func() {
		var last int64
		for {
			content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.command.Process.Pid))
			if err == nil {
				for line := range strings.Lines(string(content)) {
					var kib int64
					if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
						last = kib << 10
					}
				}
			}
			select {
			case <-r.done:
				peak <- last
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() int64 { return <-peak }
}

// large tests take a while: KE1_TEST_SCALE=1 runs them at full size.
func large(full, quick int) int {
	if os.Getenv("KE1_TEST_SCALE") != "" {
		return full
	}
	return quick
}

func TestScale(t *testing.T) {
	for _, test := range []struct {
		name, script string
		artifacts    int
	}{
		{"one large file", fmt.Sprintf(`mkdir bin; truncate -s %dM bin/large; printf end >>bin/large`, large(1024, 200)), 1},
		{"one sparse file", fmt.Sprintf(`mkdir bin; truncate -s %dM bin/sparse; printf end >>bin/sparse`, large(5*1024, 64)), 1},
		{"several large files",
			fmt.Sprintf(`mkdir bin; for i in 1 2 3 4; do truncate -s %dM bin/$i; done`, large(256, 32)), 4},
		{"many small files", fmt.Sprintf(
			`mkdir bin; head -c %d /dev/urandom | (cd bin; split -a 4 -b 10240)`, 10240*large(10000, 1000)), large(10000, 1000)},
		{"much output", fmt.Sprintf(
			`mkdir bin; echo x >bin/x; head -c %d /dev/urandom`, large(1024, 64)<<20), 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPod(t)
			exporter := p.export()
			peak := exporter.highWater()
			build := p.wrap(test.script)
			build.wait(10 * time.Minute)
			equal(t, "the exporter's exit code", exporter.wait(10*time.Minute), 0, "")
			m := p.manifest()
			equal(t, "the number of artifacts", len(m.Artifacts), test.artifacts, "")
			highest := peak()
			state := exporter.command.ProcessState
			t.Logf("%d artifacts: build %.2f s, export %.2f s (CPU %.2f s), log %d bytes, peak %d MiB",
				len(m.Artifacts), m.Durations.BuildSeconds, m.Durations.ExportSeconds,
				(state.UserTime() + state.SystemTime()).Seconds(), m.Log.Size, highest>>20)
			if highest == 0 || highest > memoryLimit {
				t.Errorf("the exporter's memory is %d MiB", highest>>20)
			}
		})
	}
}
