package attempt

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
)

// The types of an in-toto Statement v1 (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md) with SLSA
// v1 provenance (https://slsa.dev/spec/v1.0/provenance).
type (
	statement struct {
		Type          string     `json:"_type"`
		Subject       []resource `json:"subject"`
		PredicateType string     `json:"predicateType"`
		Predicate     provenance `json:"predicate"`
	}
	resource struct {
		Name   string            `json:"name,omitempty"`
		URI    string            `json:"uri,omitempty"`
		Digest map[string]string `json:"digest,omitempty"`
	}
	provenance struct {
		BuildDefinition buildDefinition `json:"buildDefinition"`
		RunDetails      runDetails      `json:"runDetails"`
	}
	buildDefinition struct {
		BuildType            string         `json:"buildType"`
		ExternalParameters   map[string]any `json:"externalParameters"`
		InternalParameters   map[string]any `json:"internalParameters"`
		ResolvedDependencies []resource     `json:"resolvedDependencies"`
	}
	runDetails struct {
		Builder    map[string]string `json:"builder"`
		Metadata   map[string]string `json:"metadata"`
		Byproducts []resource        `json:"byproducts"`
	}
)

const (
	buildType = "https://github.com/kerbodyne/ke-1-build/build-types/job/v1"
	builderID = "https://github.com/kerbodyne/ke-1-build/exporter"
)

// provenanceOf says the same as the manifest, with the same digests, in the words of the supply chain's tools; encoded is the
// manifest as it will be stored, so that a signature on the provenance holds for all that it says.
func provenanceOf(m *contract.Manifest, encoded []byte, pod contract.Pod) statement {
	subject := make([]resource, len(m.Artifacts))
	for i, artifact := range m.Artifacts {
		subject[i] = resource{Name: "bin/" + artifact.Name, Digest: map[string]string{"sha256": artifact.SHA256}}
	}
	manifest := sha256.Sum256(encoded)
	repository, digest, _ := strings.Cut(m.Image, "@sha256:")
	return statement{
		Type:          "https://in-toto.io/Statement/v1",
		Subject:       subject,
		PredicateType: "https://slsa.dev/provenance/v1",
		Predicate: provenance{
			BuildDefinition: buildDefinition{
				BuildType:          buildType,
				ExternalParameters: parametersOf(m),
				InternalParameters: map[string]any{"job": m.Job, "pod": pod, "attempt": m.Attempt},
				ResolvedDependencies: append([]resource{
					{Name: "source", Digest: sourceDigest(m.Source)},
					{Name: "image", URI: "docker://" + repository, Digest: map[string]string{"sha256": digest}},
				}, inputsOf(m)...),
			},
			RunDetails: runDetails{
				Builder: map[string]string{"id": builderID},
				Metadata: map[string]string{
					"invocationId": strings.Join([]string{m.Job.Namespace, m.Job.Name, pod.UID}, "/"),
					"startedOn":    m.StartedAt,
					"finishedOn":   m.FinishedAt,
				},
				Byproducts: []resource{
					{Name: m.Log.Name, Digest: map[string]string{"sha256": m.Log.SHA256}},
					{Name: "manifest.json", Digest: map[string]string{"sha256": hex.EncodeToString(manifest[:])}},
				},
			},
		},
	}
}

func parametersOf(m *contract.Manifest) map[string]any {
	parameters := map[string]any{
		"buildTag": m.BuildTag, "source": m.Source, "command": m.Command, "image": m.Image,
	}
	if m.Step != "" {
		parameters["step"], parameters["recipe"] = m.Step, m.Recipe
	}
	if len(m.Inputs) > 0 {
		parameters["inputs"] = m.Inputs
	}
	return parameters
}

// inputsOf names the earlier steps by their manifests, which name their artifacts.
func inputsOf(m *contract.Manifest) []resource {
	resources := make([]resource, len(m.Inputs))
	for i, input := range m.Inputs {
		resources[i] = resource{
			Name: "steps/" + input.Step + "/manifest.json", Digest: map[string]string{"sha256": input.SHA256},
		}
	}
	return resources
}

// sourceDigest uses the names of in-toto's digest sets.
func sourceDigest(source contract.Source) map[string]string {
	if content, ok := strings.CutPrefix(source.Tree, "sha256:"); ok {
		return map[string]string{"sha256": content}
	}
	digest := map[string]string{"gitTree": source.Tree}
	if source.Commit != "" {
		digest["gitCommit"] = source.Commit
	}
	return digest
}
