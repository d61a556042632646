package e2e

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// secretsFor gives the exporter, and it alone, values to mask.
func (p *pod) secretsFor(values map[string]string) {
	p.t.Helper()
	dir := filepath.Join(filepath.Dir(p.dir), "mask")
	must(p.t, os.Mkdir(dir, 0o700))
	for name, value := range values {
		file := filepath.Join(dir, name)
		must(p.t, os.WriteFile(file, []byte(value), 0o400))
		p.own(file)
	}
	p.own(dir)
	p.environment = append(p.environment, "KE1_MASK_DIR="+dir)
}

func TestMaskedLog(t *testing.T) {
	shells(t, func(t *testing.T, p *pod) {
		const password, pin = "hunter2/+ü", "1234"
		p.secretsFor(map[string]string{"password": password + "\n", "pin": pin, "lines": "first line\nsecond line\n"})
		token := "ghp_" + strings.Repeat("aB3dE5gH7j", 4)[:36]
		encoded := base64.StdEncoding.EncodeToString([]byte("user:" + strings.Repeat("x", 50) + password + " and more"))
		lines := []string{
			"plain " + password, "url " + url.QueryEscape(password), "base64\n" + encoded[:76] + "\n" + encoded[76:],
			"second line", "the pin " + pin, "token " + token, "end",
		}
		must(t, os.WriteFile(filepath.Join(p.source, "output"), []byte(strings.Join(lines, "\n")+"\n"), 0o644))
		exporter := p.export()
		build := p.wrap(`cat output; printf hunter; sleep 0.4; printf '2/+ü'; sleep 1; echo .; mkdir bin; cat output >bin/x`)
		equal(t, "the build's exit code", build.wait(patience), 0, "")
		equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
		log := string(download(t, p.client, tag+"/"+p.manifest().Log.Name))
		head, rest, _ := strings.Cut(log, "base64\n")
		_, tail, _ := strings.Cut(rest, "\n***\n")
		equal(t, "the log's beginning", head, "plain ***\nurl ***\n", "")
		contains(t, tail, "the pin 1234\ntoken ***\nend\n***.\n")
		for _, part := range []string{"hunter", "aHVudGVy", "h1bnRlcj", "odW50ZXIy", token[:20]} {
			if strings.Contains(log, part) {
				t.Errorf("%q is in the log: %q", part, log)
			}
		}
		contains(t, exporter.stderr.String(), "the value pin is shorter")
		contains(t, exporter.stderr.String(), "masked in the log: ")
		// The pod's own log, which others may read, has nothing of what the build printed.
		equal(t, "the pod's log", build.stdout.String(), "ke1: what the build prints is masked and only in the store: ke1 logs \n", "")
		if strings.Contains(exporter.stderr.String(), "hunter") {
			t.Error("the exporter says a secret")
		}
		// An artifact is what the build made, whatever is in it.
		contains(t, string(download(t, p.client, tag+"/bin/x")), password)
	})
}

func TestMaskThatCannotBeRead(t *testing.T) {
	p := newPod(t)
	p.environment = append(p.environment, "KE1_MASK_DIR=/nonexistent")
	exporter, build := p.export(), p.wrap(`echo must not run`)
	equal(t, "the exporter's exit code", exporter.wait(patience), 2, "")
	contains(t, exporter.stderr.String(), "KE1_MASK_DIR")
	equal(t, "the build's exit code", build.wait(patience), 75, "")
}

// Whatever a build prints is in the blob byte for byte.
func TestLogOfEveryKind(t *testing.T) {
	for name, script := range map[string]string{
		"no newline at the end":          `printf 'a\nb'`,
		"nothing":                        `:`,
		"NUL, invalid UTF-8 and noise":   `printf '\000\377\300\200\n\r\n\033'; head -c 300000 /dev/urandom`,
		"colours and cursor movements":   `printf '\033[31mred\033[0m \033]0;title\007 \033[2J\033[10A\033[K\b\b\n'`,
		"a progress bar":                 `for i in $(seq 300); do printf '\r%d%%' $i; done; echo`,
		"one line without end":           fmt.Sprintf(`head -c %d /dev/zero | tr '\000' x`, large(100, 30)<<20),
		"a hundred thousand short lines": `seq 100000`,
		"dashes and beginnings":          `yes -- '-----BEGIN eyJ ghp_ AKIA sig=' | head -n 20000`,
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			exporter := p.export()
			peak := exporter.highWater()
			p.wrap(`mkdir bin; { ` + script + `; } >bin/expected; cat bin/expected`)
			equal(t, "the exporter's exit code", exporter.wait(2*time.Minute), 0, "")
			m := p.manifest()
			equal(t, "the log's size", m.Log.Size, m.Artifacts[0].Size, "")
			equal(t, "the log's digest", m.Log.SHA256, m.Artifacts[0].SHA256, "")
			equal(t, "the stored log's digest", digestOf(download(t, p.client, tag+"/"+m.Log.Name)), m.Log.SHA256, "")
			if highest := peak(); highest > memoryLimit {
				t.Errorf("the exporter's memory is %d MiB", highest>>20)
			}
		})
	}
}

// What is stored leaves the pod's volume.
func TestLogLeavesTheVolume(t *testing.T) {
	p := newPod(t)
	exporter := p.export()
	build := p.wrap(fmt.Sprintf(`mkdir bin; echo x >bin/x; yes 'one line of a log like many others' | head -c %d`, large(1024, 64)<<20))
	equal(t, "the build's exit code", build.wait(5*time.Minute), 0, "")
	equal(t, "the exporter's exit code", exporter.wait(5*time.Minute), 0, "")
	var stat syscall.Stat_t
	must(t, syscall.Stat(filepath.Join(p.dir, "log"), &stat))
	equal(t, "the log's size", stat.Size, p.manifest().Log.Size, "")
	if stat.Blocks*512 > 2<<20 {
		t.Errorf("the log still has %d MiB on the volume", stat.Blocks*512>>20)
	}
}

// From print to blob, at the pace that builds have, it takes two seconds at most for 19 of 20 lines.
func TestLogDelay(t *testing.T) {
	for name, test := range map[string]struct {
		rate, seconds int
		// told: there are receivers beside the store.
		told bool
	}{
		"a line a second":                   {1, large(60, 10), false},
		"ten thousand lines a second":       {10_000, large(30, 4), false},
		"ten thousand lines a second, told": {10_000, large(30, 4), true},
		"a hundred thousand a second":       {100_000, large(10, 3), false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			p.set("KE1_LOG_INTERVAL", "500ms")
			p.secretsFor(map[string]string{"password": "hunter2!", "key": "c0ffee-and-more"})
			fifo := filepath.Join(p.source, "lines")
			must(t, syscall.Mkfifo(fifo, 0o666))
			p.own(fifo)
			if test.told {
				p.give("KE1_LOKI_URL", newLoki(t).URL)
				// Nobody there: the queue is full all the time.
				p.give("KE1_ELASTICSEARCH_URL", "http://127.0.0.1:1")
				p.give("KE1_ELASTICSEARCH_INDEX", "builds")
			}
			exporter := p.export()
			peak := exporter.highWater()
			p.wrap(`mkdir bin; echo x >bin/x; cat lines`)
			lines, err := os.OpenFile(fifo, os.O_WRONLY, 0)
			must(t, err)
			var name string
			eventually(t, "the log is there", func() bool {
				for _, blob := range list(t, p.client) {
					if strings.Contains(blob, "/logs/") {
						name = blob
					}
				}
				return name != ""
			})
			type printed struct {
				at  time.Time
				end int64
			}
			marks := make(chan printed, 1<<20)
			go func() {
				defer lines.Close()
				defer close(marks)
				random := rand.New(rand.NewPCG(7, 8))
				// In batches of a hundredth of a second: a build does not print more evenly than that.
				batch, pause := max(test.rate/100, 1), time.Second/time.Duration(min(test.rate, 100))
				var end int64
				began := time.Now()
				for i := range test.seconds * test.rate / batch {
					jitter := time.Duration(0)
					if test.rate == 1 {
						jitter = time.Duration(random.IntN(900)) * time.Millisecond
					}
					time.Sleep(time.Until(began.Add(time.Duration(i)*pause + jitter)))
					var content []byte
					for j := range batch {
						content = fmt.Appendf(content, "line %d of a log, with a word that ends in %c\n", i*batch+j, 'a'+byte(random.IntN(26)))
					}
					_, _ = lines.Write(content)
					end += int64(len(content))
					marks <- printed{time.Now(), end}
				}
			}()
			var delays []time.Duration
			for mark := range marks {
				for {
					properties, err := p.client.NewBlobClient(name).GetProperties(t.Context(), nil)
					must(t, err)
					if *properties.ContentLength >= mark.end {
						break
					}
					time.Sleep(10 * time.Millisecond)
				}
				delays = append(delays, time.Since(mark.at))
			}
			equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
			slices.Sort(delays)
			median, late := delays[len(delays)/2], delays[len(delays)*95/100]
			t.Logf("from print to blob %s at the median, %s at the 95th percentile, %s at most; %d MiB; %v",
				median.Round(time.Millisecond), late.Round(time.Millisecond), delays[len(delays)-1].Round(time.Millisecond),
				peak()>>20, p.finished(1).Deliveries)
			if late > 2*time.Second {
				t.Errorf("the 95th percentile is %s", late)
			}
		})
	}
}
