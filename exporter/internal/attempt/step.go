package attempt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
	"github.com/kerbodyne/ke-1-build/exporter/internal/inputs"
	"github.com/kerbodyne/ke-1-build/exporter/internal/store"
)

// input is an earlier step whose artifacts this one sees.
type input struct {
	record   contract.Input
	manifest contract.Manifest
}

// findInputs reads the manifests of the earlier steps: they say what to fetch, and their digests say what was built from.
func (a *attempt) findInputs(ctx context.Context) error {
	if a.config.Step == nil {
		return nil
	}
	for _, name := range a.config.Step.Inputs {
		layout := contract.LayoutOf(a.config.BuildTag, name)
		content, err := a.container.Get(ctx, layout.Manifest(), maxManifest)
		if errors.Is(err, store.ErrNotFound) {
			return &conflict{fmt.Sprintf("%s needs the artifacts of %s, which is not built", a.config.Name(), name)}
		}
		if err != nil {
			return err
		}
		var found contract.Manifest
		if err := json.Unmarshal(content, &found); err != nil || found.SchemaVersion != contract.SchemaVersion ||
			found.BuildTag != a.config.BuildTag || found.Step != name {
			return &conflict{fmt.Sprintf("%s has a manifest that cannot be read: use another tag, or remove %s",
				a.config.BuildTag+"/"+name, layout.Manifest())}
		}
		if found.Source.Tree != a.config.Source.Tree {
			return &conflict{fmt.Sprintf("%s/%s was built from another tree (%s) than this step (%s): use another tag",
				a.config.BuildTag, name, describeSource(found.Source), describeSource(a.config.Source))}
		}
		digest := sha256.Sum256(content)
		a.inputs = append(a.inputs, input{contract.Input{Step: name, SHA256: hex.EncodeToString(digest[:])}, found})
	}
	return nil
}

// fetchInputs puts their artifacts where the build will find them, each as its manifest says or not at all.
func (a *attempt) fetchInputs(ctx context.Context) error {
	for _, in := range a.inputs {
		layout := contract.LayoutOf(a.config.BuildTag, in.record.Step)
		fetcher := inputs.Fetcher{Store: a.container, BlobName: layout.Artifact, Root: a.config.Step.InputsDir}
		if err := fetcher.Fetch(ctx, in.record.Step, &in.manifest); err != nil {
			return err
		}
		a.progress("input %s: %d artifacts, verified", in.record.Step, len(in.manifest.Artifacts))
	}
	return nil
}

// compareStep says whether a step that is built already is the one that this is.
func (a *attempt) compareStep(found *contract.Manifest) error {
	if a.config.Step == nil {
		return nil
	}
	if found.Recipe != a.config.Step.Recipe {
		return &conflict{fmt.Sprintf("%s was built by another definition (its env, image or artifacts) than this one: "+
			"use another tag", a.config.Name())}
	}
	if !slices.Equal(found.Inputs, a.inputRecords()) {
		return &conflict{fmt.Sprintf("%s was built from other inputs than those that there are now: use another tag",
			a.config.Name())}
	}
	return nil
}

func (a *attempt) stepName() string {
	if a.config.Step == nil {
		return ""
	}
	return a.config.Step.Name
}

func (a *attempt) recipe() string {
	if a.config.Step == nil {
		return ""
	}
	return a.config.Step.Recipe
}

func (a *attempt) inputRecords() []contract.Input {
	var records []contract.Input
	for _, in := range a.inputs {
		records = append(records, in.record)
	}
	return records
}
