// Package config reads the exporter's settings from its environment.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
	"github.com/kerbodyne/ke-1-build/exporter/internal/mask"
	"github.com/kerbodyne/ke-1-build/exporter/internal/sign"
	"github.com/kerbodyne/ke-1-build/exporter/internal/store"
)

// Config is all that the exporter is told. Every field but Source.Commit, Secrets, SigningKey and Companions is needed.
type Config struct {
	// Dir is the volume that is shared with the build container.
	Dir          string
	BuildTag     string
	ContainerURL string
	Credential   store.Credential
	Source       contract.Source
	Command      []string
	// Image by digest, <repository>@sha256:<hex>.
	Image string
	Job   contract.Job
	Pod   contract.Pod
	// ArtifactDir is only named in messages: the wrapper has moved what was in it to the shared volume. Empty for a step
	// that has no artifacts.
	ArtifactDir string
	// Step is the part of a pipeline that this build is; nil for a build that is none.
	Step *Step
	// LogInterval is the least time between two appends to the log.
	LogInterval time.Duration
	// Quiet: secrets are given, so that the build's output must not be seen in the pod's own log.
	Quiet bool
	// Secrets are the values that the log must not show.
	Secrets mask.Secrets
	// Notices are lines for a person on what was found wrong, but not so that nothing could be done.
	Notices []string
	// SigningKey signs the provenance; nil for none.
	SigningKey *sign.Key
	// Companions are the init containers and sidecars; none where they are not configured.
	Companions Companions
	// Exports are what else is carried, and to whom.
	Exports Exports
	// TerminationLog is where Kubernetes looks for a container's last words.
	TerminationLog string
}

var (
	imagePattern  = regexp.MustCompile(`^[^\s@]+@sha256:[0-9a-f]{64}$`)
	treePattern   = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64}|sha256:[0-9a-f]{64})$`)
	commitPattern = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
)

// FromEnvironment reads the KE1_* variables, and what Azure's workload identity webhook injects. The error is one line that names all that is wrong.
func FromEnvironment(getenv func(string) string) (Config, error) {
	var problems []string
	required := func(name string) string {
		value := getenv(name)
		if value == "" {
			problems = append(problems, name+" is not set")
		}
		return value
	}
	matching := func(name string, pattern *regexp.Regexp, what string) string {
		value := required(name)
		if value != "" && !pattern.MatchString(value) {
			problems = append(problems, fmt.Sprintf("%s is not %s: %q", name, what, value))
		}
		return value
	}
	c := Config{
		Dir:          required("KE1_DIR"),
		BuildTag:     matching("KE1_BUILD_TAG", contract.BuildTag, "a build tag"),
		ContainerURL: required("KE1_CONTAINER_URL"),
		Source: contract.Source{
			Commit: getenv("KE1_SOURCE_COMMIT"),
			Tree:   matching("KE1_SOURCE_TREE", treePattern, "a git tree id or sha256:<hex>"),
		},
		Image: matching("KE1_IMAGE", imagePattern, "an image by digest (<repository>@sha256:<hex>)"),
		Job:   contract.Job{Namespace: required("KE1_JOB_NAMESPACE"), Name: required("KE1_JOB_NAME")},
		Pod: contract.Pod{
			Name: required("KE1_POD_NAME"),
			UID:  required("KE1_POD_UID"),
			Node: required("KE1_NODE_NAME"),
		},
		ArtifactDir:    orDefault(getenv("KE1_ARTIFACT_DIR"), "bin"),
		TerminationLog: orDefault(getenv("KE1_TERMINATION_LOG"), "/dev/termination-log"),
	}
	if c.Source.Commit != "" && !commitPattern.MatchString(c.Source.Commit) {
		problems = append(problems, fmt.Sprintf("KE1_SOURCE_COMMIT is not a full commit hash: %q", c.Source.Commit))
	}
	if command := required("KE1_COMMAND"); command != "" {
		if err := json.Unmarshal([]byte(command), &c.Command); err != nil || len(c.Command) == 0 {
			problems = append(problems, fmt.Sprintf("KE1_COMMAND is not a JSON array of words: %q", command))
		}
	}
	interval, err := time.ParseDuration(orDefault(getenv("KE1_LOG_INTERVAL"), "500ms"))
	if err != nil || interval < 10*time.Millisecond || interval > time.Minute {
		problems = append(problems, `KE1_LOG_INTERVAL is not a duration of 10ms to 1m, such as "500ms"`)
	}
	c.LogInterval = interval
	if c.Dir != "" {
		if info, err := os.Stat(c.Dir); err != nil || !info.IsDir() {
			problems = append(problems, fmt.Sprintf("KE1_DIR is not a directory: %q", c.Dir))
		}
	}
	if c.ContainerURL != "" {
		if _, err := store.ParseContainerURL(c.ContainerURL); err != nil {
			problems = append(problems, "KE1_CONTAINER_URL "+err.Error())
		}
	}
	if dir := getenv("KE1_MASK_DIR"); dir != "" {
		c.Quiet = true
		c.Secrets, err = mask.ReadSecrets(dir, func(format string, args ...any) {
			c.Notices = append(c.Notices, fmt.Sprintf(format, args...))
		})
		if err != nil {
			problems = append(problems, "KE1_MASK_DIR: "+err.Error())
		}
	}
	step, unfit := stepOf(getenv)
	c.Step = step
	problems = append(problems, unfit...)
	if (step != nil || getenv("KE1_NO_ARTIFACTS") != "") && getenv("KE1_ARTIFACT_DIR") == "" {
		c.ArtifactDir = ""
	}
	if path := getenv("KE1_SIGNING_KEY_FILE"); path != "" {
		if c.SigningKey, err = sign.ReadKey(path); err != nil {
			problems = append(problems, fmt.Sprintf("KE1_SIGNING_KEY_FILE: %s %v", path, err))
		}
	}
	beside, unfit := companions(getenv)
	c.Companions = beside
	problems = append(problems, unfit...)
	found, wrong := credential(getenv, c.ContainerURL)
	c.Credential = found
	problems = append(problems, wrong...)
	c.Exports, wrong = exports(getenv)
	problems = append(problems, wrong...)
	if len(problems) > 0 {
		return Config{}, errors.New(strings.Join(problems, "; "))
	}
	return c, nil
}

func orDefault(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
