package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
)

// base is where a pod's volumes are.
func (p *pod) base() string { return filepath.Dir(p.dir) }

// companions tells the exporter what is configured, and makes the volumes.
func (p *pod) companions(limitSeconds int, inits []string, sidecars ...string) {
	p.t.Helper()
	var described []string
	for _, sidecar := range sidecars {
		name, options, _ := strings.Cut(sidecar, ":")
		described = append(described, fmt.Sprintf(`{"name":%q,"required":%t,"terminate":%t}`,
			name, strings.Contains(options, "required"), strings.Contains(options, "terminate")))
		p.makeVolume("sidecars", name)
	}
	for _, name := range inits {
		p.makeVolume("init", name)
	}
	names, err := json.Marshal(append([]string{}, inits...))
	must(p.t, err)
	p.environment = append(p.environment, fmt.Sprintf(
		`KE1_COMPANIONS={"init":%s,"initDir":%q,"sidecars":[%s],"sidecarDir":%q,"limitSeconds":%d}`,
		names, filepath.Join(p.base(), "init"), strings.Join(described, ","), filepath.Join(p.base(), "sidecars"), limitSeconds))
}

func (p *pod) makeVolume(parts ...string) {
	p.t.Helper()
	dir := filepath.Join(append([]string{p.base()}, parts...)...)
	must(p.t, os.MkdirAll(dir, 0o777))
	must(p.t, os.Chmod(dir, 0o777))
	p.own(dir)
}

// companion starts an init container or a sidecar with a command for a shell.
func (p *pod) companion(role contract.Role, name, script string) *process {
	p.t.Helper()
	wrapper, err := filepath.Abs("../wrapper/wrap.sh")
	must(p.t, err)
	content, err := os.ReadFile(wrapper)
	must(p.t, err)
	mounted := filepath.Join(p.base(), "wrap-"+name)
	must(p.t, os.WriteFile(mounted, content, 0o644))
	own := filepath.Join(p.base(), map[contract.Role]string{contract.Init: "init", contract.Sidecar: "sidecars"}[role], name)
	arguments := append(slices.Clone(p.shell), mounted, "sh", "-c", script)
	command := exec.Command(arguments[0], arguments[1:]...)
	command.Dir = "/"
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "KE1_DIR=" + own, "KE1_ROLE=" + string(role),
		"KE1_INIT_DIR=" + filepath.Join(p.base(), "init"), "KE1_BUILD_EXIT=" + filepath.Join(own, "ended"),
		"KE1_SUMMARY=" + filepath.Join(own, "summary.json")}
	return p.start(command)
}

func (p *pod) log(container string, end []contract.CompanionEnd) string {
	p.t.Helper()
	for _, each := range end {
		if each.Name == container && each.Log != nil {
			return string(download(p.t, p.client, tag+"/"+each.Log.Name))
		}
	}
	p.t.Fatalf("there is no log of %s in %+v", container, end)
	return ""
}

func describe(ends []contract.CompanionEnd) string {
	var all []string
	for _, each := range ends {
		code := "-"
		if each.ExitCode != nil {
			code = fmt.Sprint(*each.ExitCode)
		}
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s", each.Name, code, each.Problem)))
	}
	return strings.Join(all, "; ")
}

const waits = `until [ -e "$KE1_BUILD_EXIT" ]; do sleep 0.05; done; `

func TestSidecarIsToldAndWaitedFor(t *testing.T) {
	shells(t, func(t *testing.T, p *pod) {
		p.companions(30, nil, "junit")
		sidecar := p.companion(contract.Sidecar, "junit", `echo up; `+waits+
			`read code <"$KE1_BUILD_EXIT"; sleep 0.5; echo "{\"code\": $code, \"tests\": 3}" >"$KE1_SUMMARY"; printf "the last line"`)
		exporter := p.export()
		build := p.wrap("mkdir bin; echo it >bin/it")
		equal(t, "the build's exit code", build.wait(patience), 0, "")
		equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
		m := p.manifest()
		equal(t, "the end", describe(m.Companions), "junit 0", "")
		equal(t, "the log", p.log("junit", m.Companions), "up\nthe last line", "")
		equal(t, "the summary", string(compact(t, m.Summaries["junit"])), `{"code":0,"tests":3}`, "")
		// It stays until Kubernetes ends it, which would start it again otherwise.
		select {
		case <-sidecar.done:
			t.Error("the sidecar's wrapper has ended")
		case <-time.After(300 * time.Millisecond):
		}
		sidecar.signal(syscall.SIGTERM)
		equal(t, "the sidecar's exit code", sidecar.wait(patience), 0, "")
		// And started again it has nothing to do.
		again := p.companion(contract.Sidecar, "junit", "echo again")
		time.Sleep(time.Second)
		again.signal(syscall.SIGTERM)
		again.wait(patience)
		equal(t, "the second run's output", again.stdout.String(), "", "")
	})
}

func TestSidecarsThatDoNotEndWell(t *testing.T) {
	for name, c := range map[string]struct {
		options, script, want string
		code                  int
		kill                  bool
	}{
		"ends before the build":           {"", "exit 0", "s 0", 0, false},
		"fails":                           {"", waits + "exit 9", "s 9", 0, false},
		"fails, and is required":          {":required", waits + "exit 9", "s 9", 3, false},
		"does not end":                    {"", "sleep 1000", "s 143 stopped: it still ran 1s after the build's end", 0, false},
		"does not heed SIGTERM":           {"", "trap '' TERM; while :; do sleep 0.1; done", "s 137 stopped: it still ran 1s after the build's end", 0, false},
		"is a server":                     {":terminate,required", "trap 'exit 0' TERM; while :; do sleep 0.1; done", "s 0", 0, false},
		"is a server without a handler":   {":terminate,required", "exec sleep 1000", "s 143", 0, false},
		"is killed":                       {"", "sleep 1000", "s - killed before it could end (out of memory?)", 0, true},
		"is killed, and is required":      {":required", "sleep 1000", "s - killed before it could end (out of memory?)", 3, true},
		"says what is no summary":         {"", waits + `echo "[1]" >"$KE1_SUMMARY"`, "s 0 its summary is not taken: it is not a JSON object", 0, false},
		"says too much":                   {"", waits + `head -c 70000 /dev/zero >"$KE1_SUMMARY"`, "s 0 its summary is not taken: it is larger than 65536 bytes", 0, false},
		"leaves a link":                   {"", waits + `ln -s /etc/passwd "$KE1_SUMMARY"`, "s 0 its summary is not taken: open summary.json: too many levels of symbolic links", 0, false},
		"writes its own end":              {"", `echo "{}" >"$KE1_DIR/exit.json"; sleep 1000`, "s - stopped", 0, true},
		"takes away what it is told with": {"", `mkdir "$KE1_DIR/ended" "$KE1_DIR/ended.new"; rm "$KE1_DIR/alive"; ` + "sleep 1000", "s 143 stopped: it still ran 1s after the build's end", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPod(t)
			p.companions(1, nil, "s"+c.options)
			sidecar := p.companion(contract.Sidecar, "s", "echo begun; "+c.script)
			exporter := p.export()
			eventually(t, "the sidecar begins", func() bool { return strings.Contains(sidecar.stdout.String(), "begun") })
			build := p.wrap("sleep 0.5; mkdir bin; echo it >bin/it")
			if c.kill {
				_ = syscall.Kill(-sidecar.command.Process.Pid, syscall.SIGKILL)
			}
			equal(t, "the build's exit code", build.wait(patience), 0, "")
			equal(t, "the exporter's exit code", exporter.wait(patience), c.code, "")
			f := p.finished(1)
			if got := describe(f.Companions); name == "writes its own end" {
				contains(t, got, "the marker of the build's end is not valid")
			} else {
				equal(t, "the end", got, c.want, "")
			}
			contains(t, p.log("s", f.Companions), "begun\n")
			equal(t, "there being a manifest", p.has("manifest.json"), c.code == 0, "")
			if c.code != 0 {
				equal(t, "the outcome", f.Outcome, contract.BuildFailed, "")
				contains(t, f.Message, "the sidecar `s`, which is required")
			}
		})
	}
}

func TestFailedBuildHasSummary(t *testing.T) {
	p := newPod(t)
	p.companions(30, nil, "junit")
	p.companion(contract.Sidecar, "junit", waits+`cat "$KE1_BUILD_EXIT"; echo "{\"failures\":1}" >"$KE1_SUMMARY"`)
	exporter := p.export()
	equal(t, "the build's exit code", p.wrap("exit 4").wait(patience), 4, "")
	equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
	f := p.finished(1)
	equal(t, "the summary", string(f.Summaries["junit"]), `{"failures":1}`, "")
	equal(t, "what the sidecar was told", p.log("junit", f.Companions), "4\n", "")
}

func TestInitContainers(t *testing.T) {
	p := newPod(t)
	p.companions(1, []string{"first", "second", "third"})
	equal(t, "the first's exit code", p.companion(contract.Init, "first", "echo first; exit 0").wait(patience), 0, "")
	second := p.companion(contract.Init, "second", "printf 'no end of line'; exit 6")
	equal(t, "the second's exit code", second.wait(patience), 0, "for the exporter to come to be")
	third := p.companion(contract.Init, "third", "echo third")
	equal(t, "the third's exit code", third.wait(patience), 0, "")
	equal(t, "the third's output", third.stdout.String(), "", "")
	exporter := p.export()
	build := p.wrap("echo built")
	equal(t, "the build's exit code", build.wait(patience), 75, "")
	equal(t, "the exporter's exit code", exporter.wait(patience), 3, "")
	f := p.finished(1)
	equal(t, "the outcome", f.Outcome, contract.BuildFailed, "")
	equal(t, "the message", f.Message, "the init container `second` ended with exit code 6", "")
	equal(t, "the end", describe(f.Companions), "first 0; second 6", "")
	equal(t, "the first's log", p.log("first", f.Companions), "first\n", "")
	equal(t, "the second's log", p.log("second", f.Companions), "no end of line", "")
	equal(t, "the log named", f.Log.Name, f.Companions[1].Log.Name, "")
}

func TestInitContainerToldToEnd(t *testing.T) {
	p := newPod(t)
	p.companions(1, []string{"first"})
	first := p.companion(contract.Init, "first", "echo begun; exec sleep 1000")
	eventually(t, "it begins", func() bool { return strings.Contains(first.stdout.String(), "begun") })
	first.signal(syscall.SIGTERM)
	equal(t, "its exit code", first.wait(patience), 75, "so that the Job starts it again")
}

func TestInitContainerWithoutAnEnd(t *testing.T) {
	p := newPod(t)
	p.companions(1, []string{"first"})
	p.companion(contract.Init, "first", `rm -f "$KE1_DIR"/*; mkdir "$KE1_DIR/exit.json" "$KE1_DIR/exit.json.new"`).wait(patience)
	exporter := p.export()
	p.wrap("echo built").wait(patience)
	equal(t, "the exporter's exit code", exporter.wait(patience), 3, "")
	contains(t, p.finished(1).Message, "the init container `first` did not end as it should")
}

func TestSidecarsOfWhatIsBuiltAlready(t *testing.T) {
	p := newPod(t)
	exporter := p.export()
	p.wrap("mkdir bin; echo it >bin/it").wait(patience)
	exporter.wait(patience)
	next := p.again()
	next.companions(30, nil, "junit")
	sidecar := next.companion(contract.Sidecar, "junit", "echo begun")
	exporter = next.export()
	equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
	sidecar.signal(syscall.SIGTERM)
	equal(t, "the sidecar's exit code", sidecar.wait(patience), 0, "")
	equal(t, "its output", sidecar.stdout.String(), "", "")
}

func compact(t *testing.T, message json.RawMessage) []byte {
	t.Helper()
	var value any
	must(t, json.Unmarshal(message, &value))
	content, err := json.Marshal(value)
	must(t, err)
	return content
}
