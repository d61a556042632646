package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
)

// beginning is what a container does that speaks the wrapper's part of the protocol, but is not the wrapper.
const beginning = `cd "$KE1_DIR"; [ -p alive ] || mkfifo alive; exec 9>alive; echo 1 >&9; mkdir artifacts; echo x >artifacts/x; `

// hostile starts a container that does as it likes on the shared volume.
func (p *pod) hostile(script string) *process {
	p.t.Helper()
	command := exec.Command("sh", "-c", script)
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "KE1_DIR=" + p.dir}
	command.Dir = "/"
	return p.start(command)
}

func TestHostileVolume(t *testing.T) {
	for _, test := range []struct {
		name, script string
		exitCode     int
		outcome      contract.Outcome
		message      string
	}{
		{"log is a link to the exporter's environment",
			`ln -s /proc/self/environ "$KE1_DIR/log"; ` + beginning + `echo '{"exitCode":0}' >exit.json`,
			1, contract.ExportFailed, "log"},
		{"log is a FIFO",
			`mkfifo "$KE1_DIR/log"; ` + beginning + `echo '{"exitCode":0}' >exit.json`,
			1, contract.ExportFailed, "not a regular file"},
		{"marker of 1 GB",
			beginning + `truncate -s 1G exit.json`,
			0, contract.BuildFailed, "marker"},
		{"marker is a link to what has no end",
			beginning + `ln -s /dev/zero exit.json`,
			0, contract.BuildFailed, "marker"},
		{"marker is a FIFO",
			beginning + `mkfifo exit.json`,
			0, contract.BuildFailed, "marker"},
		{"marker without an exit code",
			beginning + `echo '{}' >exit.json`,
			0, contract.BuildFailed, "exit code"},
		{"artifact directory is a link",
			beginning + `rm -r artifacts; ln -s /etc artifacts; echo '{"exitCode":0}' >exit.json`,
			1, contract.ExportFailed, "artifact"},
		{"artifact that may not be read",
			beginning + `chmod 0 artifacts/x; echo '{"exitCode":0}' >exit.json`,
			3, contract.ExportFailed, "permission denied"},
		{"name that is not UTF-8",
			beginning + `touch artifacts/"$(printf '\377')"; echo '{"exitCode":0}' >exit.json`,
			3, contract.ExportFailed, "UTF-8"},
		{"name with a backslash",
			beginning + `touch 'artifacts/a\b'; echo '{"exitCode":0}' >exit.json`,
			3, contract.ExportFailed, "backslash"},
		{"name with a newline",
			beginning + `touch "artifacts/a
b"; echo '{"exitCode":0}' >exit.json`,
			3, contract.ExportFailed, "control characters"},
		{"name that ends with a dot",
			beginning + `touch artifacts/a.; echo '{"exitCode":0}' >exit.json`,
			3, contract.ExportFailed, "dot"},
		{"directories without end",
			beginning + `cd artifacts; for i in $(seq 400); do mkdir d; cd d; done; cd "$KE1_DIR"; echo '{"exitCode":0}' >exit.json`,
			3, contract.ExportFailed, "nested"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPod(t)
			p.hostile(test.script)
			exporter := p.export()
			equal(t, "the exporter's exit code", exporter.wait(patience), test.exitCode, "")
			result := p.result(exporter)
			equal(t, "the outcome", result.Outcome, test.outcome, "")
			contains(t, result.Message, test.message)
			equal(t, "finished.json's outcome", p.finished(1).Outcome, test.outcome, "")
			equal(t, "whether there is a manifest", p.has("manifest.json"), false, "")
			for _, blob := range list(t, p.client) {
				if strings.Contains(string(download(t, p.client, blob)), "KE1_CREDENTIAL_FILE") {
					t.Errorf("%s has the exporter's environment", blob)
				}
			}
		})
	}
}

func TestAliveIsNoFIFO(t *testing.T) {
	for name, script := range map[string]string{
		"file": `echo >"$KE1_DIR/alive"`,
		"link": `mkfifo "$KE1_DIR/elsewhere"; ln -s elsewhere "$KE1_DIR/alive"`,
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			p.hostile(script).wait(patience)
			exporter := p.export()
			equal(t, "the exporter's exit code", exporter.wait(patience), 1, "")
			contains(t, p.result(exporter).Message, "alive")
		})
	}
}

func TestWhatIsNotAFileIsSkipped(t *testing.T) {
	p := newPod(t)
	exporter := p.export()
	build := p.wrap(`mkdir -p bin/sub && cd bin && echo x >x && mkfifo fifo && ln -s /etc/passwd absolute &&
		ln -s ../../secret outside && ln -s sub/../../../secret winding && ln -s ../x sub/inside && ln -s nowhere dangling &&
		ln -s .. sub/up && ln -s ../.. sub/too-far && ln x sub/hard`)
	equal(t, "the build's exit code", build.wait(patience), 0, "")
	equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
	m := p.manifest()
	var names, links, skipped []string
	for _, artifact := range m.Artifacts {
		names = append(names, artifact.Name)
	}
	for _, link := range m.Links {
		links = append(links, link.Name+">"+link.Target)
	}
	for _, s := range m.Skipped {
		skipped = append(skipped, s.Name+": "+s.Reason)
	}
	equal(t, "the artifacts", strings.Join(names, " "), "sub/hard x", "")
	equal(t, "the links", strings.Join(links, " "), "dangling>nowhere sub/inside>../x sub/up>..", "")
	equal(t, "what was skipped", strings.Join(skipped, "; "), strings.Join([]string{
		"absolute: symbolic link to an absolute path", "fifo: FIFO",
		"outside: symbolic link that leaves the artifact directory",
		"sub/too-far: symbolic link that leaves the artifact directory",
		"winding: symbolic link that leaves the artifact directory",
	}, "; "), "")
}

func TestOddNames(t *testing.T) {
	p := newPod(t)
	odd := []string{
		"-leading dash", "per%cent%2F", "question?mark", "hash#tag", "plus+and&", "ünïcödé ☃", "e\u0301", "\u00e9", "'quotes\"",
		"directory with space/ .hidden", "colon:star*", strings.Repeat("long", 63), "😀", "[x]{y}", "~", "a=b;c",
		strings.Repeat("n", 255), strings.Repeat("ü", 127) + "x", "..lookalike", "…", "a..b", "\u2024\u2024", "trailing space ", "empty", "%2e%2e",
	}
	must(t, os.Mkdir(filepath.Join(p.source, "bin"), 0o755))
	must(t, os.Mkdir(filepath.Join(p.source, "bin", "directory with space"), 0o755))
	for _, name := range odd {
		must(t, os.WriteFile(filepath.Join(p.source, "bin", name), contentOf(name), 0o644))
	}
	exporter := p.export()
	p.wrap("true")
	equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
	m := p.manifest()
	equal(t, "the number of artifacts", len(m.Artifacts), len(odd), "")
	stored := list(t, p.client)
	for _, artifact := range m.Artifacts {
		blob := tag + "/bin/" + artifact.Name
		equal(t, blob, string(download(t, p.client, blob)), string(contentOf(artifact.Name)), "")
		found := false
		for _, name := range stored {
			found = found || name == blob
		}
		equal(t, "whether "+blob+" is listed under its name", found, true, "")
	}
}

func contentOf(name string) []byte {
	if name == "empty" {
		return nil
	}
	return []byte("content of " + name)
}

func TestSocketsAndDevicesAreSkipped(t *testing.T) {
	p := newPod(t)
	bin := filepath.Join(p.source, "bin")
	must(t, os.Mkdir(bin, 0o755))
	listener, err := net.Listen("unix", filepath.Join(bin, "socket"))
	must(t, err)
	defer listener.Close()
	wanted := "loop: loop; socket: socket"
	if os.Getuid() == 0 && syscall.Mknod(filepath.Join(bin, "device"), syscall.S_IFCHR|0o666, 1<<8|5) == nil {
		wanted = "device: character device; " + wanted
	}
	exporter := p.export()
	must(t, os.Symlink("loop", filepath.Join(bin, "loop")))
	must(t, os.WriteFile(filepath.Join(bin, "file"), []byte("x"), 0o644))
	must(t, os.Rename(bin, filepath.Join(p.dir, "artifacts")))
	p.own(filepath.Join(p.dir, "artifacts"))
	p.hostile(`cd "$KE1_DIR"; [ -p alive ] || mkfifo alive; exec 9>alive; echo 1 >&9; echo '{"exitCode":0}' >exit.json`)
	equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
	m := p.manifest()
	equal(t, "the number of artifacts", len(m.Artifacts), 1, "")
	var others []string
	for _, s := range m.Skipped {
		others = append(others, s.Name+": "+s.Reason)
	}
	for _, l := range m.Links {
		others = append(others, l.Name+": "+l.Target)
	}
	slices.Sort(others)
	equal(t, "what is no artifact", strings.Join(others, "; "), wanted, "")
}

func TestStrayWriter(t *testing.T) {
	p := newPod(t)
	exporter := p.export()
	// Somebody else holds the FIFO open when the wrapper has gone.
	p.wrap(`mkdir bin; echo x >bin/x; exec 7>"$KE1_DIR/alive"; sleep 60 >/dev/null 2>&1 &`)
	equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
	equal(t, "the outcome", p.result(exporter).Outcome, contract.Succeeded, "")
}

func TestCredentialStaysIn(t *testing.T) {
	for name, prepare := range map[string]func(p *pod){
		"nobody listens": func(p *pod) { p.set("KE1_CONTAINER_URL", "http://127.0.0.1:9/account/container") },
		"no container":   func(p *pod) { p.set("KE1_CONTAINER_URL", p.setting("KE1_CONTAINER_URL")+"x") },
		"no host":        func(p *pod) { p.set("KE1_CONTAINER_URL", "http://ke1.invalid/account/container") },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			prepare(p)
			exporter, build := p.export(), p.wrap("true")
			eventually(t, "the exporter has something to say", func() bool { return exporter.stderr.String() != "" })
			_ = exporter.command.Process.Signal(syscall.SIGTERM) // it may have given up already
			code := exporter.wait(patience)
			equal(t, "whether it failed", code != 0, true, "")
			build.wait(patience)
			for _, said := range []string{
				exporter.stdout.String(), exporter.stderr.String(), build.stdout.String(), build.stderr.String(),
			} {
				for part := range strings.SplitSeq(p.signature, "&") {
					if value, ok := strings.CutPrefix(part, "sig="); ok && strings.Contains(said, value) {
						t.Errorf("the signature is in %q", said)
					}
				}
			}
		})
	}
}
