package attempt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kerbodyne/ke-1-build/exporter/internal/artifacts"
	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
	"github.com/kerbodyne/ke-1-build/exporter/internal/sign"
	"github.com/kerbodyne/ke-1-build/exporter/internal/store"
)

// storeArtifacts returns the manifest without its log, which is still on its way.
func (a *attempt) storeArtifacts(ctx context.Context) (*contract.Manifest, error) {
	dirs, err := a.artifactDirectories()
	if err != nil {
		return nil, fmt.Errorf("the artifact directory cannot be read: %w", err)
	}
	if len(dirs) == 0 && a.config.ArtifactDir == "" {
		return a.manifest([]contract.Artifact{}, nil, nil), nil
	}
	for _, dir := range dirs {
		defer dir.Close()
	}
	inventory, err := artifacts.Walk(a.layout.Artifact(""), dirs...)
	if err != nil {
		return nil, err
	}
	a.progress("the build has ended: storing %d artifacts", inventory.Files())
	uploader := &artifacts.Uploader{Store: a.container, BlobName: a.layout.Artifact, Check: a.lease.Check,
		Resume: a.number > 1}
	stored, err := uploader.Upload(ctx, inventory)
	if kept := uploader.Kept(); kept > 0 {
		a.progress("%d of them were stored by an earlier attempt", kept)
	}
	if err != nil {
		return nil, err
	}
	return a.manifest(stored, inventory.Links, inventory.Skipped), nil
}

func (a *attempt) manifest(stored []contract.Artifact, links []contract.Link, skipped []contract.Skipped) *contract.Manifest {
	return &contract.Manifest{
		SchemaVersion: contract.SchemaVersion,
		BuildTag:      a.config.BuildTag,
		Step:          a.stepName(),
		Recipe:        a.recipe(),
		Inputs:        a.inputRecords(),
		Source:        a.config.Source,
		Command:       a.config.Command,
		Image:         a.config.Image,
		Job:           a.config.Job,
		Attempt:       a.number,
		StartedAt:     contract.Timestamp(a.startedAt),
		Artifacts:     stored,
		Links:         links,
		Skipped:       skipped,
	}
}

// publish writes what says that the tag is built, the manifest last.
func (a *attempt) publish(ctx context.Context, m *contract.Manifest, finished contract.Finished) (contract.Result, int) {
	now := time.Now()
	m.FinishedAt = contract.Timestamp(now)
	m.Durations = a.durations(now)
	fail := func(err error) (contract.Result, int) {
		outcome, message, code := a.blame(ctx, err)
		return a.conclude(withEnd(finished, outcome, message), code)
	}
	manifest, err := encode(m)
	if err != nil {
		return fail(err)
	}
	provenance, err := encode(provenanceOf(m, manifest, a.config.Pod))
	if err != nil {
		return fail(err)
	}
	if err := a.lease.Check(ctx); err != nil {
		return fail(err)
	}
	var group errgroup.Group
	group.Go(func() error { return a.finish(ctx, finished, now) })
	group.Go(func() error { return a.keep(ctx, a.layout.Provenance(), jsonType, provenance) })
	if a.config.SigningKey != nil {
		group.Go(func() error {
			envelope, err := a.config.SigningKey.Envelope(provenance)
			if err != nil {
				return err
			}
			return a.keep(ctx, a.layout.Envelope(), sign.MediaType, envelope)
		})
	}
	if err := group.Wait(); err != nil {
		return fail(err)
	}
	err = a.container.PutNew(ctx, a.layout.Manifest(), jsonType, manifest, nil)
	if errors.Is(err, store.ErrExists) && !a.wroteThis(ctx, a.layout.Manifest(), manifest) {
		// Possible only after the lease was lost for a moment; the manifest decides.
		other, err := a.findManifest(ctx)
		if err != nil {
			return fail(err)
		}
		if other == nil {
			return fail(errors.New("the manifest is there and is not there"))
		}
		return a.conclude(withEnd(finished, contract.AlreadyBuilt, "another build of this tag was done first"), ExitExported)
	}
	if err != nil && !errors.Is(err, store.ErrExists) {
		return fail(err)
	}
	a.progress("%s is built: %d artifacts stored", a.config.Name(), finished.Artifacts)
	return a.result(finished), ExitExported
}

// keep writes a document that is to stay, over that of an attempt which ended before its manifest was there.
func (a *attempt) keep(ctx context.Context, name, mediaType string, content []byte) error {
	err := a.container.PutNew(ctx, name, mediaType, content, nil)
	if errors.Is(err, store.ErrExists) {
		if a.wroteThis(ctx, name, content) {
			return nil
		}
		err = a.container.Put(ctx, name, mediaType, content, nil)
	}
	if errors.Is(err, store.ErrKept) {
		return &conflict{fmt.Sprintf("another attempt has left %s, and the store's immutability policy lets it not be written"+
			" over: use another BUILD_TAG", name)}
	}
	return err
}

// withEnd is another end for an attempt that was to succeed.
func withEnd(finished contract.Finished, outcome contract.Outcome, message string) contract.Finished {
	finished.Outcome, finished.Message = outcome, message
	finished.ExitCode, finished.Artifacts = nil, 0
	return finished
}

// artifactDirectories are those that have what the build handed back: its artifact directory, and KE1_ARTIFACTS if there is
// anything in it.
func (a *attempt) artifactDirectories() ([]*os.File, error) {
	var dirs []*os.File
	if a.config.ArtifactDir != "" {
		dir, err := a.volume.Artifacts()
		if err == nil {
			dirs = append(dirs, dir)
		} else if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	dir, err := a.volume.Exports()
	if errors.Is(err, os.ErrNotExist) {
		return dirs, nil
	}
	if err != nil {
		return nil, err
	}
	if _, err := dir.Readdirnames(1); err != nil {
		dir.Close()
		return dirs, nil
	}
	return append(dirs, dir), nil
}
