package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
)

var recipe = "sha256:" + strings.Repeat("1", 64)

// asStep makes a pod that of a step: inputs is a JSON array, artifacts its artifact directory.
func (p *pod) asStep(name, inputs, artifacts string) (inputsDir string) {
	p.t.Helper()
	inputsDir = filepath.Join(filepath.Dir(p.dir), "inputs")
	must(p.t, os.Mkdir(inputsDir, 0o755))
	p.own(inputsDir)
	p.environment = append(p.environment, "KE1_STEP="+name, "KE1_STEP_RECIPE="+recipe, "KE1_STEP_INPUTS="+inputs,
		"KE1_INPUTS_DIR="+inputsDir, "KE1_ARTIFACT_DIR="+artifacts)
	p.extra = append(p.extra, "KE1_ARTIFACT_DIR="+artifacts)
	return inputsDir
}

// step is a pod of another step of the same pipeline.
func (p *pod) step(name, inputs, artifacts string) (*pod, string) {
	p.t.Helper()
	next := p.again()
	return next, next.asStep(name, inputs, artifacts)
}

func (p *pod) stepManifest(step string) contract.Manifest {
	p.t.Helper()
	var m contract.Manifest
	strict(p.t, download(p.t, p.client, tag+"/steps/"+step+"/manifest.json"), &m)
	return m
}

// tool makes the step `tool`, which has a program, a file in a directory, and a link.
func tool(t *testing.T, p *pod) {
	t.Helper()
	p.asStep("tool", "[]", "out")
	exporter := p.export()
	build := p.wrap(`mkdir -p out/lib; printf '#!/bin/sh\necho ran\n' >out/run; chmod +x out/run; printf data >out/lib/data; ln -s lib/data out/link`)
	equal(t, "the tool's exit code", build.wait(patience), 0, "")
	equal(t, "its exporter's exit code", exporter.wait(patience), 0, "")
}

func TestStep(t *testing.T) {
	shells(t, func(t *testing.T, p *pod) {
		tool(t, p)
		p.shell = append([]string{}, p.shell...)
		consumer, inputs := p.step("consumer", `["tool"]`, "")
		exporter := consumer.export()
		build := consumer.wrap("in=" + inputs + `/tool; $in/run; cat $in/link; test ! -x $in/lib/data; test ! -w $in/run || test "$(id -u)" = 0`)
		equal(t, "the consumer's exit code", build.wait(patience), 0, "")
		equal(t, "its exporter's exit code", exporter.wait(patience), 0, "")
		equal(t, "its output", build.stdout.String(), "ran\ndata", "")

		made := p.stepManifest("tool")
		equal(t, "the tool's step", made.Step, "tool", "")
		equal(t, "its recipe", made.Recipe, recipe, "")
		equal(t, "its artifacts", len(made.Artifacts), 2, "")
		used := p.stepManifest("consumer")
		equal(t, "the tag", used.BuildTag, tag, "")
		equal(t, "artifacts of a step without any", len(used.Artifacts), 0, "")
		equal(t, "the number of inputs", len(used.Inputs), 1, "")
		equal(t, "the input", used.Inputs[0], contract.Input{
			Step: "tool", SHA256: digestOf(download(t, p.client, tag+"/steps/tool/manifest.json")),
		}, "")
		provenance := string(download(t, p.client, tag+"/steps/consumer/provenance.json"))
		contains(t, provenance, `"steps/tool/manifest.json"`)
		contains(t, provenance, used.Inputs[0].SHA256)
		equal(t, "whether the tag itself is built", p.has("manifest.json"), false, "")

		again, _ := p.step("consumer", `["tool"]`, "")
		exporter = again.export()
		build = again.wrap("echo must not run")
		equal(t, "the exit code of what is built already", build.wait(patience), 0, "")
		exporter.wait(patience)
		equal(t, "its outcome", again.result(exporter).Outcome, contract.AlreadyBuilt, "")
		equal(t, "its output", build.stdout.String(), "", "")
	})
}

// Whatever is wrong with the inputs, the build does not run, and no other attempt is made.
func TestStepInputs(t *testing.T) {
	blob := func(p *pod, name, content string) {
		_, err := p.client.NewBlockBlobClient(tag+"/steps/tool/"+name).UploadBuffer(t.Context(), []byte(content), nil)
		must(p.t, err)
	}
	for name, test := range map[string]struct {
		spoil   func(p *pod)
		message string
	}{
		"changed":     {func(p *pod) { blob(p, "bin/lib/data", "DATA") }, "lib/data is not what the step has made"},
		"longer":      {func(p *pod) { blob(p, "bin/lib/data", "data and more") }, "lib/data is not what the step has made"},
		"shorter":     {func(p *pod) { blob(p, "bin/lib/data", "da") }, "lib/data is not what the step has made"},
		"no manifest": {func(p *pod) { blob(p, "manifest.json", "{}") }, "has a manifest that cannot be read"},
		"missing": {func(p *pod) {
			_, err := p.client.NewBlobClient(tag+"/steps/tool/bin/run").Delete(t.Context(), nil)
			must(p.t, err)
		}, "run is not stored any more"},
		"not built": {func(p *pod) {
			_, err := p.client.NewBlobClient(tag+"/steps/tool/manifest.json").Delete(t.Context(), nil)
			must(p.t, err)
		}, "consumer needs the artifacts of tool, which is not built"},
		"of another tree": {func(p *pod) {
			manifest := string(download(p.t, p.client, tag+"/steps/tool/manifest.json"))
			blob(p, "manifest.json", strings.ReplaceAll(manifest, tree, other))
		}, "was built from another tree"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPod(t)
			tool(t, p)
			test.spoil(p)
			consumer, _ := p.step("consumer", `["tool"]`, "")
			exporter := consumer.export()
			build := consumer.wrap("echo must not run")
			equal(t, "the build's exit code", build.wait(patience), 75, "")
			equal(t, "the exporter's exit code", exporter.wait(patience), 3, "")
			result := consumer.result(exporter)
			equal(t, "the outcome", result.Outcome, contract.ExportFailed, "")
			contains(t, result.Message, test.message)
			equal(t, "the build's output", build.stdout.String(), "", "")
			equal(t, "whether it counts as built", p.has("steps/consumer/manifest.json"), false, "")
		})
	}
}

func TestStepIsAnother(t *testing.T) {
	for name, test := range map[string]struct{ variable, value, message string }{
		"recipe":  {"KE1_STEP_RECIPE", "sha256:" + strings.Repeat("2", 64), "was built by another definition"},
		"command": {"KE1_COMMAND", `["make","other"]`, "was built with another command"},
		"inputs":  {"KE1_STEP_INPUTS", `["tool","more"]`, "was built from other inputs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPod(t)
			tool(t, p)
			for _, made := range []struct{ step, inputs, artifacts string }{{"more", "[]", "out"}, {"consumer", `["tool"]`, ""}} {
				next, _ := p.step(made.step, made.inputs, made.artifacts)
				exporter := next.export()
				equal(t, made.step, next.wrap("mkdir out; echo x >out/x").wait(patience), 0, "")
				equal(t, "its exporter", exporter.wait(patience), 0, "")
			}
			again, _ := p.step("consumer", `["tool"]`, "")
			again.set(test.variable, test.value)
			exporter := again.export()
			equal(t, "the build's exit code", again.wrap("echo must not run").wait(patience), 75, "")
			equal(t, "the exporter's exit code", exporter.wait(patience), 3, "")
			contains(t, again.result(exporter).Message, test.message)
		})
	}
}

func TestStepConfiguration(t *testing.T) {
	for name, test := range map[string]struct{ variable, value, message string }{
		"name":   {"KE1_STEP", "../up", "KE1_STEP is not the name of a step"},
		"recipe": {"KE1_STEP_RECIPE", "x", "KE1_STEP_RECIPE is not sha256"},
		"inputs": {"KE1_STEP_INPUTS", `["a/b"]`, "KE1_STEP_INPUTS has what is not the name"},
		"volume": {"KE1_INPUTS_DIR", "/nowhere", "KE1_INPUTS_DIR is not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPod(t)
			p.asStep("consumer", `["tool"]`, "")
			p.set(test.variable, test.value)
			exporter := p.export()
			equal(t, "the exporter's exit code", exporter.wait(patience), 2, "")
			contains(t, exporter.stderr.String(), test.message)
		})
	}
}
