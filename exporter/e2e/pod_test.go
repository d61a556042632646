// Package e2e runs the real exporter and the real wrapper, as the two containers of a pod would, against a real blob store.
package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
)

var (
	store    *azurite
	exporter string
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "ke1-exporter-test-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		exporter = filepath.Join(dir, "ke1-exporter")
		build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", exporter, "..")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s\n", output)
			return 1
		}
		// The pods' user must be able to get at it.
		if err := os.Chmod(dir, 0o755); err != nil {
			panic(err)
		}
		if store, err = startAzurite(filepath.Join(dir, "azurite")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer store.stop()
		return m.Run()
	}())
}

// patience with what should take a second at most: a loaded machine is no failure.
const patience = 30 * time.Second

// uid of both containers; used when the tests run as root, who may do too much.
const uid = 65532

func podUser() *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		attributes.Credential = &syscall.Credential{Uid: uid, Gid: uid, NoSetGroups: true}
	}
	return attributes
}

// pod is one attempt: a shared volume, a source tree, and what the exporter is told.
type pod struct {
	t *testing.T
	// dir is the shared volume, source the working directory of the build, log the exporter's termination message.
	dir, source string
	shell       []string
	environment []string
	// extra is for the build container.
	extra     []string
	client    *container.Client
	signature string
}

const (
	tag   = "abc1234"
	tree  = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
	other = "9bdb2af6799204a299c603994b8e400e4b1fd625"
)

func newPod(t *testing.T) *pod {
	t.Helper()
	url, signature, client := store.containerOf(t)
	return podOn(t, url, signature, client)
}

func podOn(t *testing.T, url, signature string, client *container.Client) *pod {
	t.Helper()
	// Not t.TempDir: it is closed to other users.
	base, err := os.MkdirTemp("", "ke1-pod-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(base) })
	p := &pod{
		t: t, dir: filepath.Join(base, "shared"), source: filepath.Join(base, "source"),
		shell: []string{"sh"}, client: client, signature: signature,
	}
	must(t, os.Chmod(base, 0o755))
	for _, dir := range []string{p.dir, p.source} {
		must(t, os.Mkdir(dir, 0o755))
		p.own(dir)
	}
	credential := filepath.Join(base, "sas")
	must(t, os.WriteFile(credential, []byte(signature), 0o600))
	p.own(credential)
	termination := filepath.Join(base, "termination-log")
	must(t, os.WriteFile(termination, nil, 0o600))
	p.own(termination)
	p.environment = []string{
		"KE1_DIR=" + p.dir, "KE1_BUILD_TAG=" + tag, "KE1_CONTAINER_URL=" + url, "KE1_CREDENTIAL_FILE=" + credential,
		"KE1_SOURCE_COMMIT=0123456789012345678901234567890123456789", "KE1_SOURCE_TREE=" + tree,
		`KE1_COMMAND=["make","build"]`, "KE1_IMAGE=localhost:5000/ke-1-build@sha256:" + strings.Repeat("ab", 32),
		"KE1_JOB_NAMESPACE=ke-1", "KE1_JOB_NAME=ke-1-" + tag, "KE1_POD_NAME=ke-1-" + tag + "-x",
		"KE1_POD_UID=9f0c1b4e-0000-4000-8000-" + fmt.Sprintf("%012d", time.Now().UnixNano()%1e12),
		"KE1_NODE_NAME=node", "KE1_LOG_INTERVAL=100ms", "KE1_TERMINATION_LOG=" + termination,
	}
	return p
}

// again is another pod for the same container.
func (p *pod) again() *pod {
	p.t.Helper()
	next := podOn(p.t, p.setting("KE1_CONTAINER_URL"), p.signature, p.client)
	next.shell = p.shell
	return next
}

func (p *pod) setting(name string) string {
	i := slices.IndexFunc(p.environment, func(s string) bool { return strings.HasPrefix(s, name+"=") })
	return strings.TrimPrefix(p.environment[i], name+"=")
}

// set changes what the exporter is told.
func (p *pod) set(name, value string) {
	i := slices.IndexFunc(p.environment, func(s string) bool { return strings.HasPrefix(s, name+"=") })
	p.environment[i] = name + "=" + value
}

func (p *pod) own(path string) {
	p.t.Helper()
	if os.Getuid() == 0 {
		must(p.t, os.Lchown(path, uid, uid))
	}
}

// process is a running container.
type process struct {
	t              *testing.T
	command        *exec.Cmd
	stdout, stderr *buffer
	done           chan struct{}
	peak           int64
}

// buffer may be read while it is written.
type buffer struct {
	mutex sync.Mutex
	bytes bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.bytes.Write(p)
}

func (b *buffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.bytes.String()
}

func (p *pod) start(command *exec.Cmd) *process {
	p.t.Helper()
	r := &process{t: p.t, command: command, stdout: &buffer{}, stderr: &buffer{}, done: make(chan struct{})}
	command.Stdout, command.Stderr = r.stdout, r.stderr
	command.SysProcAttr = podUser()
	// What a killed build leaves behind may hold the pipes.
	command.WaitDelay = time.Second
	must(p.t, command.Start())
	go func() {
		_ = command.Wait()
		if usage, ok := command.ProcessState.SysUsage().(*syscall.Rusage); ok {
			r.peak = usage.Maxrss << 10
		}
		close(r.done)
	}()
	p.t.Cleanup(func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
		<-r.done
		if p.t.Failed() {
			p.t.Logf("%s\nstdout: %s\nstderr: %s", command.Args[0], r.stdout, r.stderr)
		}
	})
	return r
}

// export starts the exporter's container.
func (p *pod) export() *process {
	p.t.Helper()
	command := exec.Command(exporter)
	command.Env = p.environment
	command.Dir = "/"
	return p.start(command)
}

// wrap starts the build's container with a command for a shell.
func (p *pod) wrap(script string) *process {
	p.t.Helper()
	wrapper, err := filepath.Abs("../wrapper/wrap.sh")
	must(p.t, err)
	content, err := os.ReadFile(wrapper)
	must(p.t, err)
	// A copy: the repository may be closed to the pod's user.
	mounted := filepath.Join(filepath.Dir(p.dir), "wrap")
	must(p.t, os.WriteFile(mounted, content, 0o644))
	arguments := append(slices.Clone(p.shell), mounted, "sh", "-c", script)
	command := exec.Command(arguments[0], arguments[1:]...)
	command.Dir = p.source
	command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "KE1_DIR=" + p.dir, "HOME=/"}, p.extra...)
	return p.start(command)
}

// wait returns the exit code: 128 and more for a signal, as a shell has it.
func (r *process) wait(limit time.Duration) int {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(limit):
		r.t.Fatalf("%s is still running after %s", r.command.Args[0], limit)
	}
	status := r.command.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

func (r *process) signal(s syscall.Signal) {
	r.t.Helper()
	must(r.t, r.command.Process.Signal(s))
}

// result is what the exporter said last, on both ways.
func (p *pod) result(r *process) contract.Result {
	p.t.Helper()
	var result contract.Result
	strict(p.t, []byte(r.stdout.String()), &result)
	termination, err := os.ReadFile(p.setting("KE1_TERMINATION_LOG"))
	must(p.t, err)
	equal(p.t, "the termination message", string(termination)+"\n", r.stdout.String(), "")
	return result
}

func (p *pod) manifest() contract.Manifest {
	p.t.Helper()
	var m contract.Manifest
	strict(p.t, download(p.t, p.client, tag+"/manifest.json"), &m)
	return m
}

func (p *pod) finished(attempt int) contract.Finished {
	p.t.Helper()
	var f contract.Finished
	lines := bytes.Split(download(p.t, p.client, fmt.Sprintf("%s/attempts/%d/finished.json", tag, attempt)), []byte("\n"))
	// A line each, of which the last one counts.
	strict(p.t, lines[len(lines)-2], &f)
	return f
}

func (p *pod) has(blob string) bool {
	p.t.Helper()
	return slices.Contains(list(p.t, p.client), tag+"/"+blob)
}

func strict(t *testing.T, content []byte, into any) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%v in %q", err, content)
	}
	if decoder.More() {
		t.Fatalf("more than one document: %q", content)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T, hint string) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, not %v %s", what, got, want, hint)
	}
}

func contains(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%q is not in %q", part, text)
	}
}

// eventually waits for a condition that another process brings about.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatal("this did not happen: " + what)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}
