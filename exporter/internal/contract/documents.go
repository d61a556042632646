// Package contract has the documents and names that both sides of a build agree on. The TypeScript side is in
// contract/*.ts, the JSON Schemas in contract/schemas: a change here is a change there.
package contract

import "encoding/json"

// SchemaVersion of all documents.
const SchemaVersion = 1

// Outcome is how a build ended. The exporter only gives those that it can know of.
type Outcome string

const (
	Succeeded    Outcome = "Succeeded"
	AlreadyBuilt Outcome = "AlreadyBuilt"
	BuildFailed  Outcome = "BuildFailed"
	Cancelled    Outcome = "Cancelled"
	ExportFailed Outcome = "ExportFailed"
)

// Source says what was built.
type Source struct {
	// Commit is the full commit hash; empty for a tree that is not under git.
	Commit string `json:"commit,omitempty"`
	// Tree is the git tree id, or sha256:<hex> of the content of a tree that is not under git.
	Tree string `json:"tree"`
}

// Job names the Kubernetes Job.
type Job struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// Pod names the pod of one attempt.
type Pod struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
	Node string `json:"node"`
}

// Artifact is a regular file of the artifact directory, stored as <BUILD_TAG>/bin/<Name>.
type Artifact struct {
	Name       string `json:"name"`
	Size       int64  `json:"size"`
	SHA256     string `json:"sha256"`
	MediaType  string `json:"mediaType"`
	Executable bool   `json:"executable"`
}

// Link is a relative symbolic link that stays inside the artifact directory.
type Link struct {
	Name   string `json:"name"`
	Target string `json:"target"`
}

// Skipped is something in the artifact directory that is not stored.
type Skipped struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Input is an earlier step whose artifacts a step had: its name, and the digest of its manifest.json.
type Input struct {
	Step   string `json:"step"`
	SHA256 string `json:"sha256"`
}

// Log is the stored log: Name is its path below <BUILD_TAG>/, Size and SHA256 are of the stored bytes.
type Log struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Role is what a container is to a build.
type Role string

const (
	Init    Role = "init"
	Sidecar Role = "sidecar"
)

// Companion is an init container or a sidecar, and where its log will be.
type Companion struct {
	Name string `json:"name"`
	Role Role   `json:"role"`
	// Log is its path below <BUILD_TAG>/.
	Log string `json:"log"`
}

// CompanionEnd is how an init container or a sidecar ended.
type CompanionEnd struct {
	Name string `json:"name"`
	Role Role   `json:"role"`
	// ExitCode is absent where the container was killed, or is not known to have ended.
	ExitCode *int `json:"exitCode,omitempty"`
	// Problem is one line for a person, where it did not go as it should.
	Problem string `json:"problem,omitempty"`
	// Log is absent where nothing of it is stored.
	Log *Log `json:"log,omitempty"`
}

// LogFile is a log besides that of the build's output: Name is its path below the directory of the attempt's logs.
type LogFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	// Truncated: the file was larger than what is kept.
	Truncated bool `json:"truncated,omitempty"`
}

// Delivery is how many lines a receiver of logs took, beside the store, and how many were dropped.
type Delivery struct {
	Receiver string `json:"receiver"`
	Lines    int64  `json:"lines"`
	Dropped  int64  `json:"dropped"`
	// Problem is why the last of them were.
	Problem string `json:"problem,omitempty"`
}

// Durations are in seconds, to the millisecond.
type Durations struct {
	BuildSeconds  float64 `json:"buildSeconds"`
	ExportSeconds float64 `json:"exportSeconds"`
}

// Manifest is <BUILD_TAG>/manifest.json. Its presence means built.
type Manifest struct {
	SchemaVersion int        `json:"schemaVersion"`
	BuildTag      string     `json:"buildTag"`
	Step          string     `json:"step,omitempty"`
	Recipe        string     `json:"recipe,omitempty"`
	Inputs        []Input    `json:"inputs,omitempty"`
	Source        Source     `json:"source"`
	Command       []string   `json:"command"`
	Image         string     `json:"image"`
	Job           Job        `json:"job"`
	Attempt       int        `json:"attempt"`
	StartedAt     string     `json:"startedAt"`
	FinishedAt    string     `json:"finishedAt"`
	Durations     Durations  `json:"durations"`
	Log           Log        `json:"log"`
	LogFiles      []LogFile  `json:"logFiles,omitempty"`
	Artifacts     []Artifact `json:"artifacts"`
	Links         []Link     `json:"links,omitempty"`
	Skipped       []Skipped  `json:"skipped,omitempty"`
	// Companions are the init containers and sidecars.
	Companions []CompanionEnd `json:"companions,omitempty"`
	// Summaries are what sidecars said of the build: JSON objects, by the sidecar's name.
	Summaries map[string]json.RawMessage `json:"summaries,omitempty"`
}

// Started is <BUILD_TAG>/attempts/<n>/started.json.
type Started struct {
	SchemaVersion int      `json:"schemaVersion"`
	BuildTag      string   `json:"buildTag"`
	Step          string   `json:"step,omitempty"`
	Attempt       int      `json:"attempt"`
	StartedAt     string   `json:"startedAt"`
	Job           Job      `json:"job"`
	Pod           Pod      `json:"pod"`
	Image         string   `json:"image"`
	Source        Source   `json:"source"`
	Command       []string `json:"command"`
	Log           string   `json:"log"`
	// Companions are the init containers and sidecars.
	Companions []Companion `json:"companions,omitempty"`
}

// Finished is <BUILD_TAG>/attempts/<n>/finished.json.
type Finished struct {
	SchemaVersion int       `json:"schemaVersion"`
	BuildTag      string    `json:"buildTag"`
	Step          string    `json:"step,omitempty"`
	Attempt       int       `json:"attempt"`
	FinishedAt    string    `json:"finishedAt"`
	Outcome       Outcome   `json:"outcome"`
	ExitCode      *int      `json:"exitCode,omitempty"`
	Message       string    `json:"message,omitempty"`
	Log           *Log      `json:"log,omitempty"`
	LogFiles      []LogFile `json:"logFiles,omitempty"`
	// Deliveries are to receivers of logs beside the store.
	Deliveries []Delivery `json:"deliveries,omitempty"`
	// Metrics says in a few words what became of the build's metrics.
	Metrics   string    `json:"metrics,omitempty"`
	Artifacts int       `json:"artifacts"`
	Durations Durations `json:"durations"`
	// Companions are the init containers and sidecars.
	Companions []CompanionEnd `json:"companions,omitempty"`
	// Summaries are what sidecars said of the build: JSON objects, by the sidecar's name.
	Summaries map[string]json.RawMessage `json:"summaries,omitempty"`
}

// Result is the exporter's termination message and the only line on its standard output.
type Result struct {
	Outcome  Outcome `json:"outcome"`
	Attempt  int     `json:"attempt,omitempty"`
	ExitCode *int    `json:"exitCode,omitempty"`
	Message  string  `json:"message,omitempty"`
	Log      string  `json:"log,omitempty"`
}
