package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"time"
)

// Companions are the containers before and beside the build (docs/environments.md).
type Companions struct {
	// Init containers, in the order in which they ran. Dir has a directory of each.
	Init    []string
	InitDir string
	// Sidecars, and the directory with a volume of each.
	Sidecars   []Sidecar
	SidecarDir string
	// Limit is how long sidecars are waited for once the build has ended.
	Limit time.Duration
}

// Sidecar is a container beside the build.
type Sidecar struct {
	Name string `json:"name"`
	// Required: the build fails with it.
	Required bool `json:"required"`
	// Terminate: it is told of the build's end by SIGTERM, not by a file alone.
	Terminate bool `json:"terminate"`
}

// A DNS label: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names
var containerName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// companions reads KE1_COMPANIONS, and what is wrong with it.
func companions(getenv func(string) string) (Companions, []string) {
	text := getenv("KE1_COMPANIONS")
	if text == "" {
		return Companions{}, nil
	}
	var read struct {
		Init         []string  `json:"init"`
		InitDir      string    `json:"initDir"`
		Sidecars     []Sidecar `json:"sidecars"`
		SidecarDir   string    `json:"sidecarDir"`
		LimitSeconds int       `json:"limitSeconds"`
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&read); err != nil || read.LimitSeconds < 0 {
		return Companions{}, []string{fmt.Sprintf("KE1_COMPANIONS is not what it should be: %q", text)}
	}
	names := read.Init
	for _, sidecar := range read.Sidecars {
		names = append(names[:len(names):len(names)], sidecar.Name)
	}
	var problems []string
	seen := map[string]bool{}
	for _, name := range names {
		if !containerName.MatchString(name) || seen[name] {
			problems = append(problems, fmt.Sprintf("KE1_COMPANIONS has a name that cannot be, or is there twice: %q", name))
		}
		seen[name] = true
	}
	limit := time.Duration(read.LimitSeconds) * time.Second
	return Companions{read.Init, read.InitDir, read.Sidecars, read.SidecarDir, limit}, problems
}
