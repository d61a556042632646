package e2e

import (
	"crypto/sha256"
	"encoding/hex"
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

// shells are those that build images have; a machine without one of them tests the others.
func shells(t *testing.T, test func(t *testing.T, p *pod)) {
	for _, shell := range [][]string{{"dash"}, {"bash", "--posix"}, {"bash"}, {"busybox", "sh"}} {
		t.Run(strings.Join(shell, "_"), func(t *testing.T) {
			if _, err := exec.LookPath(shell[0]); err != nil {
				t.Skip("no " + shell[0])
			}
			t.Parallel()
			p := newPod(t)
			p.shell = shell
			test(t, p)
		})
	}
}

func TestSuccess(t *testing.T) {
	shells(t, func(t *testing.T, p *pod) {
		exporter := p.export()
		build := p.wrap(`echo out; echo err >&2; mkdir -p bin/lib; printf content >bin/lib/b.txt; cp /bin/true bin/a; ln -s lib/b.txt bin/link`)
		equal(t, "the build's exit code", build.wait(patience), 0, "")
		equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")

		result := p.result(exporter)
		equal(t, "the outcome", result.Outcome, contract.Succeeded, "")
		equal(t, "the exit code", *result.ExitCode, 0, "")
		m := p.manifest()
		equal(t, "the attempt", m.Attempt, 1, "")
		equal(t, "the source", m.Source.Tree, tree, "")
		equal(t, "the number of artifacts", len(m.Artifacts), 2, "")
		equal(t, "the first artifact", m.Artifacts[0].Name, "a", "")
		equal(t, "whether it is executable", m.Artifacts[0].Executable, true, "")
		equal(t, "its media type", m.Artifacts[0].MediaType, "application/x-pie-executable", "")
		sum := sha256.Sum256([]byte("content"))
		equal(t, "the second artifact", m.Artifacts[1], contract.Artifact{
			Name: "lib/b.txt", Size: 7, SHA256: hex.EncodeToString(sum[:]), MediaType: "text/plain; charset=utf-8",
		}, "")
		equal(t, "the link", m.Links[0], contract.Link{Name: "link", Target: "lib/b.txt"}, "")
		equal(t, "the blob", string(download(t, p.client, tag+"/bin/lib/b.txt")), "content", "")
		properties, err := p.client.NewBlobClient(tag+"/bin/lib/b.txt").GetProperties(t.Context(), nil)
		must(t, err)
		equal(t, "the blob's type", *properties.ContentType, "text/plain; charset=utf-8", "")
		for key, value := range properties.Metadata {
			equal(t, "the metadata "+key, *value, hex.EncodeToString(sum[:]), "")
		}

		log := download(t, p.client, tag+"/"+m.Log.Name)
		equal(t, "the log", string(log), "out\nerr\n", "")
		equal(t, "the pod's log", build.stdout.String(), string(log), "")
		equal(t, "the wrapper's own words", build.stderr.String(), "", "")
		logSum := sha256.Sum256(log)
		equal(t, "the log's digest", m.Log.SHA256, hex.EncodeToString(logSum[:]), "")
		equal(t, "the log's size", m.Log.Size, int64(len(log)), "")

		finished := p.finished(1)
		equal(t, "finished.json's outcome", finished.Outcome, contract.Succeeded, "")
		equal(t, "finished.json's artifacts", finished.Artifacts, 2, "")
		var started contract.Started
		strict(t, download(t, p.client, tag+"/attempts/1/started.json"), &started)
		equal(t, "started.json's log", started.Log, m.Log.Name, "")
		var statement struct {
			Subject []struct {
				Name   string
				Digest map[string]string
			}
		}
		must(t, json.Unmarshal(download(t, p.client, tag+"/provenance.json"), &statement))
		equal(t, "the provenance's subject", statement.Subject[1].Name, "bin/lib/b.txt", "")
		equal(t, "its digest", statement.Subject[1].Digest["sha256"], hex.EncodeToString(sum[:]), "")
		equal(t, "the blobs", strings.Join(list(t, p.client), " "), strings.Join([]string{
			tag + "/attempts/1/finished.json", tag + "/attempts/1/started.json", tag + "/attempts/lease",
			tag + "/bin/a", tag + "/bin/lib/b.txt", tag + "/" + m.Log.Name, tag + "/manifest.json", tag + "/provenance.json",
		}, " "), "")
	})
}

func TestBuildFailure(t *testing.T) {
	shells(t, func(t *testing.T, p *pod) {
		exporter := p.export()
		build := p.wrap(`mkdir bin; echo half >bin/half; echo broken; exit 7`)
		equal(t, "the build's exit code", build.wait(patience), 7, "")
		equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
		result := p.result(exporter)
		equal(t, "the outcome", result.Outcome, contract.BuildFailed, "")
		equal(t, "the exit code", *result.ExitCode, 7, "")
		finished := p.finished(1)
		equal(t, "finished.json's exit code", *finished.ExitCode, 7, "")
		equal(t, "the log", string(download(t, p.client, tag+"/"+result.Log)), "broken\n", "")
		equal(t, "whether there is a manifest", p.has("manifest.json"), false, "")
		equal(t, "whether there is an artifact", p.has("bin/half"), false, "")
	})
}

func TestSecondAttemptAfterFailure(t *testing.T) {
	p := newPod(t)
	exporter := p.export()
	p.wrap(`exit 1`)
	exporter.wait(patience)
	p = p.again()
	exporter = p.export()
	p.wrap(`mkdir bin; echo whole >bin/file`)
	equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
	equal(t, "the attempt", p.manifest().Attempt, 2, "")
	equal(t, "the first attempt's outcome", p.finished(1).Outcome, contract.BuildFailed, "")
}

func TestNoArtifacts(t *testing.T) {
	for script, words := range map[string]string{
		"true":                           "left no directory bin/",
		"mkdir bin":                      "left nothing in bin/",
		"ln -s /etc bin":                 "is not inside",
		"mkdir bin; cd bin; ln -s x y":   "",
		"mkdir -p bin/empty/directories": "",
	} {
		t.Run(script, func(t *testing.T) {
			p := newPod(t)
			exporter, build := p.export(), p.wrap(script)
			code := build.wait(patience)
			exported := exporter.wait(patience)
			result := p.result(exporter)
			if words == "" {
				// Something is there, but no file: only the exporter can tell.
				equal(t, "the exporter's exit code", exported, 3, "")
				contains(t, result.Message, "no regular file")
				return
			}
			equal(t, "the build's exit code", code, 1, "")
			equal(t, "the outcome", result.Outcome, contract.BuildFailed, "")
			contains(t, build.stdout.String(), words)
			contains(t, string(download(t, p.client, tag+"/"+result.Log)), words)
		})
	}
}

func TestKilledWrapper(t *testing.T) {
	shells(t, func(t *testing.T, p *pod) {
		exporter := p.export()
		// The build outlives the wrapper for a while: it must not look alive for that.
		build := p.wrap(`echo begun; sleep 30`)
		eventually(t, "the build begins", func() bool { return strings.Contains(build.stdout.String(), "begun") })
		build.signal(syscall.SIGKILL)
		equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
		result := p.result(exporter)
		equal(t, "the outcome", result.Outcome, contract.BuildFailed, "")
		contains(t, result.Message, "was killed")
		if result.ExitCode != nil {
			t.Error("an exit code that nobody can know")
		}
		equal(t, "the log", string(download(t, p.client, tag+"/"+result.Log)), "begun\n", "")
	})
}

func TestChildLeftBehind(t *testing.T) {
	shells(t, func(t *testing.T, p *pod) {
		exporter := p.export()
		build := p.wrap(`mkdir bin; echo x >bin/x; (trap '' TERM; sleep 60) & echo done`)
		equal(t, "the build's exit code", build.wait(patience), 0, "")
		equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
		equal(t, "the outcome", p.result(exporter).Outcome, contract.Succeeded, "")
		log := string(download(t, p.client, tag+"/"+p.manifest().Log.Name))
		contains(t, log, "done\n")
		contains(t, log, "left behind")
	})
}

func TestSignalReachesBuild(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			shells(t, func(t *testing.T, p *pod) {
				exporter := p.export()
				build := p.wrap(`trap 'echo cleaning up; exit 9' TERM; echo begun; while :; do sleep 0.05; done`)
				eventually(t, "the build begins", func() bool { return strings.Contains(build.stdout.String(), "begun") })
				build.signal(signal)
				equal(t, "the wrapper's exit code, which tells the Job not to blame the build", build.wait(patience), 75, "")
				equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
				result := p.result(exporter)
				equal(t, "the exit code", *result.ExitCode, 9, "")
				contains(t, string(download(t, p.client, tag+"/"+result.Log)), "cleaning up\n")
			})
		})
	}
}

func TestBuildMayUseInterrupts(t *testing.T) {
	p := newPod(t)
	exporter := p.export()
	p.wrap(`mkdir bin; (sleep 10 & wait) & sh -c 'trap "echo caught >bin/x" INT; kill -INT $$'; kill $!`)
	exporter.wait(patience)
	equal(t, "the artifact", string(download(t, p.client, tag+"/bin/x")), "caught\n", "")
}

func TestDeletedPod(t *testing.T) {
	p := newPod(t)
	exporter := p.export()
	build := p.wrap(`trap 'echo last words; exit 1' TERM; mkdir bin; echo x >bin/x; echo begun; while :; do sleep 0.05; done`)
	eventually(t, "the build begins", func() bool { return strings.Contains(build.stdout.String(), "begun") })
	exporter.signal(syscall.SIGTERM)
	build.signal(syscall.SIGTERM)
	equal(t, "the exporter's exit code", exporter.wait(patience), 1, "")
	equal(t, "the outcome", p.result(exporter).Outcome, contract.Cancelled, "")
	finished := p.finished(1)
	equal(t, "finished.json's outcome", finished.Outcome, contract.Cancelled, "")
	contains(t, string(download(t, p.client, tag+"/"+finished.Log.Name)), "begun\nlast words\n")
	equal(t, "whether there is a manifest", p.has("manifest.json"), false, "")
}

func TestStoppedBeforeBuildCame(t *testing.T) {
	p := newPod(t)
	exporter := p.export()
	eventually(t, "the go", func() bool { return strings.Contains(exporter.stderr.String(), ": go") })
	before := time.Now()
	exporter.signal(syscall.SIGTERM)
	equal(t, "the exporter's exit code", exporter.wait(patience), 1, "")
	if waited := time.Since(before); waited > 3*time.Second {
		t.Errorf("it took %s to stop", waited)
	}
	equal(t, "the outcome", p.result(exporter).Outcome, contract.Cancelled, "")
}

func TestLogWhileRunning(t *testing.T) {
	p := newPod(t)
	p.export()
	build := p.wrap(`printf 'no newline yet'; sleep 60`)
	var name string
	eventually(t, "the log is there while the build runs", func() bool {
		for _, blob := range list(t, p.client) {
			if strings.HasPrefix(blob, tag+"/logs/") {
				name = blob
				return string(download(t, p.client, blob)) == "no newline yet"
			}
		}
		return false
	})
	if name == "" || build.command.ProcessState != nil {
		t.Error("the build has ended too soon")
	}
}

func TestLogByteForByte(t *testing.T) {
	p := newPod(t)
	exporter := p.export()
	// More than one block, every byte value, no line.
	p.wrap(`mkdir bin; head -c 9000000 /dev/urandom >bin/noise; cat bin/noise`)
	equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
	m := p.manifest()
	equal(t, "the log's digest", m.Log.SHA256, m.Artifacts[0].SHA256, "")
	sum := sha256.Sum256(download(t, p.client, tag+"/"+m.Log.Name))
	equal(t, "the stored log's digest", hex.EncodeToString(sum[:]), m.Log.SHA256, "")
}

func TestAlreadyBuilt(t *testing.T) {
	shells(t, func(t *testing.T, p *pod) {
		exporter := p.export()
		p.wrap(`mkdir bin; echo x >bin/x`)
		equal(t, "the first exit code", exporter.wait(patience), 0, "")
		before := list(t, p.client)
		for _, order := range []string{"exporter first", "wrapper first", "wrapper after"} {
			t.Run(order, func(t *testing.T) {
				p := p.again()
				p.t = t
				var exporter, build *process
				switch order {
				case "exporter first":
					exporter = p.export()
					build = p.wrap(`echo must not run; exit 3`)
				case "wrapper first":
					build = p.wrap(`echo must not run; exit 3`)
					eventually(t, "the FIFO is there", func() bool { return exists(filepath.Join(p.dir, "alive")) })
					exporter = p.export()
				case "wrapper after":
					exporter = p.export()
					equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
					build = p.wrap(`echo must not run; exit 3`)
				}
				equal(t, "the build's exit code", build.wait(patience), 0, "")
				equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
				equal(t, "the outcome", p.result(exporter).Outcome, contract.AlreadyBuilt, "")
				equal(t, "what the build printed", build.stdout.String(), "", "")
				equal(t, "the blobs", fmt.Sprint(list(t, p.client)), fmt.Sprint(before), "")
			})
		}
	})
}

func TestAnotherTree(t *testing.T) {
	p := newPod(t)
	exporter := p.export()
	p.wrap(`mkdir bin; echo x >bin/x`)
	equal(t, "the first exit code", exporter.wait(patience), 0, "")
	for name, value := range map[string]string{"KE1_SOURCE_TREE": other, "KE1_COMMAND": `["make","other"]`} {
		t.Run(name, func(t *testing.T) {
			p := p.again()
			p.t = t
			p.set(name, value)
			exporter := p.export()
			build := p.wrap(`echo must not run`)
			equal(t, "the build's exit code", build.wait(patience), 75, "")
			equal(t, "the exporter's exit code", exporter.wait(patience), 3, "")
			result := p.result(exporter)
			equal(t, "the outcome", result.Outcome, contract.ExportFailed, "")
			contains(t, result.Message, "BUILD_TAG abc1234 was built ")
			contains(t, build.stderr.String(), result.Message)
			equal(t, "what the build printed", build.stdout.String(), "", "")
		})
	}
}

func TestTwoAtOnce(t *testing.T) {
	first := newPod(t)
	second := first.again()
	pods := []*pod{first, second}
	var exporters, builds []*process
	for _, p := range pods {
		exporters = append(exporters, p.export())
		builds = append(builds, p.wrap(`echo running; sleep 1; mkdir bin; echo $$ >bin/x`))
	}
	var outcomes []string
	ran := 0
	for i, p := range pods {
		equal(t, "the build's exit code", builds[i].wait(patience), 0, "")
		equal(t, "the exporter's exit code", exporters[i].wait(patience), 0, "")
		outcomes = append(outcomes, string(p.result(exporters[i]).Outcome))
		ran += strings.Count(builds[i].stdout.String(), "running")
	}
	slices.Sort(outcomes)
	equal(t, "the outcomes", strings.Join(outcomes, " "), "AlreadyBuilt Succeeded", "")
	equal(t, "the number of builds that ran", ran, 1, "")
	equal(t, "the attempt", first.manifest().Attempt, 1, "")
	equal(t, "whether there is a second attempt", first.has("attempts/2/started.json"), false, "")
}

func TestLeaseIsReleased(t *testing.T) {
	p := newPod(t)
	exporter := p.export()
	p.wrap(`exit 1`)
	exporter.wait(patience)
	p = p.again()
	before := time.Now()
	exporter = p.export()
	p.wrap(`mkdir bin; echo x >bin/x`)
	equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
	if waited := time.Since(before); waited > 10*time.Second {
		t.Errorf("the second build waited %s", waited)
	}
}

func TestUnwritableSource(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make a tree of another owner")
	}
	shells(t, func(t *testing.T, p *pod) {
		must(t, os.WriteFile(filepath.Join(p.source, "a file"), []byte("content"), 0o644))
		must(t, os.Mkdir(filepath.Join(p.source, ".hidden"), 0o755))
		must(t, os.Chown(p.source, 0, 0))
		if p.shell[0] == "busybox" {
			// Its own cp, as in an image that has nothing else.
			tools := filepath.Join(filepath.Dir(p.dir), "tools")
			must(t, os.Mkdir(tools, 0o755))
			must(t, exec.Command("busybox", "--install", "-s", tools).Run())
			p.extra = []string{"PATH=" + tools}
		}
		exporter := p.export()
		build := p.wrap(`mkdir bin && cp "a file" bin/ && [ -d .hidden ] && echo "$HOME" >"$HOME/x" && pwd`)
		equal(t, "the build's exit code", build.wait(patience), 0, "")
		equal(t, "the exporter's exit code", exporter.wait(patience), 0, "")
		equal(t, "the artifact", string(download(t, p.client, tag+"/bin/a file")), "content", "")
		lines := strings.Split(strings.TrimSpace(build.stdout.String()), "\n")
		equal(t, "the number of lines", len(lines), 2, build.stdout.String())
		contains(t, lines[0], "is not writable")
		equal(t, "the working directory", lines[1], p.dir+"/work", "")
	})
}

func TestGitInTreeOfAnotherOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make a tree of another owner")
	}
	p := newPod(t)
	git := exec.Command("git", "init", "--quiet", filepath.Join(p.source, "repository"))
	must(t, git.Run())
	exporter := p.export()
	build := p.wrap(`mkdir bin; git -C repository status >bin/status`)
	equal(t, "the build's exit code", build.wait(patience), 0, "")
	exporter.wait(patience)
}

func TestBadConfiguration(t *testing.T) {
	for name, value := range map[string]string{
		"KE1_BUILD_TAG": "../x", "KE1_CONTAINER_URL": "file:///x", "KE1_SOURCE_TREE": "x", "KE1_COMMAND": "make build",
		"KE1_IMAGE": "image:latest", "KE1_CREDENTIAL_FILE": "/nonexistent", "KE1_LOG_INTERVAL": "0", "KE1_POD_UID": "",
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			p.set(name, value)
			exporter, build := p.export(), p.wrap(`echo must not run`)
			equal(t, "the exporter's exit code", exporter.wait(patience), 2, "")
			contains(t, exporter.stderr.String(), name)
			equal(t, "the number of lines", strings.Count(exporter.stderr.String(), "\n"), 1, "")
			equal(t, "the build's exit code", build.wait(patience), 75, "")
		})
	}
}
