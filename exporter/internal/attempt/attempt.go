// Package attempt is the way of one attempt at a build, as the exporter goes it: preflight, the go, the log while the
// build runs, its end, the artifacts, and last of all the manifest.
package attempt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/kerbodyne/ke-1-build/exporter/internal/artifacts"
	"github.com/kerbodyne/ke-1-build/exporter/internal/config"
	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
	"github.com/kerbodyne/ke-1-build/exporter/internal/logs"
	"github.com/kerbodyne/ke-1-build/exporter/internal/store"
	"github.com/kerbodyne/ke-1-build/exporter/internal/volume"
)

// Exit codes of the exporter.
const (
	// ExitExported: all there was to store is stored. A build that failed has its own container's exit code.
	ExitExported = 0
	// ExitFailed: the export failed or was stopped; another attempt may do.
	ExitFailed = 1
	// ExitConfiguration: an environment variable is missing or wrong.
	ExitConfiguration = 2
	// ExitHopeless: no other attempt can do: another tree was built under this tag, or artifacts that no store can take.
	ExitHopeless = 3
)

const (
	jsonType = "application/json"
	// Kubernetes gives a pod 30 s from SIGTERM to SIGKILL. The build has the first of them to end and say why, an export
	// that has begun goes on for most of them, and the last ones are for finished.json.
	buildGrace  = 5 * time.Second
	exportGrace = 15 * time.Second
	lastGrace   = 5 * time.Second
	// silence is how long the build may not come before somebody who looks at the exporter's log is told.
	silence = 10 * time.Second
)

var errStopped = errors.New("stopped by SIGTERM")

type attempt struct {
	config    config.Config
	container *store.Container
	volume    *volume.Volume
	lease     *store.Lease
	layout    contract.Layout
	stderr    io.Writer

	leased    bool
	number    int
	startedAt time.Time
	logName   string

	buildStarted, buildEnded time.Time
}

// Run goes the whole way and returns the last words and the exit code. stop ends with SIGTERM: the build is not waited for
// any more, but what there is gets stored.
func Run(stop context.Context, c config.Config, stderr io.Writer) (contract.Result, int) {
	a := &attempt{config: c, layout: contract.Layout(c.BuildTag), stderr: stderr}
	if err := a.open(); err != nil {
		return a.fail(err)
	}
	preflight, cancel := context.WithCancelCause(context.WithoutCancel(stop))
	defer context.AfterFunc(stop, func() { cancel(errStopped) })()
	built, err := a.preflight(preflight)
	defer a.release()
	if err != nil {
		a.refuse(err)
		if stop.Err() != nil {
			return a.conclude(contract.Finished{Outcome: contract.Cancelled, Message: "stopped before the build could start"}, ExitFailed)
		}
		return a.fail(err)
	}
	if built != nil {
		a.progress("%s is built already: nothing to run", c.BuildTag)
		if err := a.volume.Skip(); err != nil {
			return a.fail(err)
		}
		return contract.Result{Outcome: contract.AlreadyBuilt, Log: built.Log.Name}, ExitExported
	}
	return a.build(stop)
}

// Refuse lets a build container go that waits for an exporter which cannot even start. Best effort.
func Refuse(dir, reason string) {
	if v, err := volume.Open(dir); err == nil && v.Prepare() == nil {
		_ = v.Refuse(reason)
	}
}

func (a *attempt) open() (err error) {
	if a.volume, err = volume.Open(a.config.Dir); err != nil {
		return err
	}
	if err = a.volume.Prepare(); err != nil {
		return err
	}
	if a.container, err = store.Open(a.config.ContainerURL, a.config.CredentialFile, a.progress); err != nil {
		return err
	}
	a.lease, err = a.container.NewLease(a.layout.Lease())
	return err
}

// build is the way from the go to the end.
func (a *attempt) build(stop context.Context) (contract.Result, int) {
	alive, err := a.volume.Go()
	if err != nil {
		return a.fail(err)
	}
	defer alive.Close()
	a.progress("attempt %d of %s: go", a.number, a.config.BuildTag)
	background, cancel := context.WithCancelCause(context.WithoutCancel(stop))
	defer cancel(nil)
	go a.lease.Keep(background)

	ended := make(chan struct{})
	exporter := &logs.Exporter{
		Open:     a.volume.Log,
		Blob:     a.container.NewAppendBlob(a.layout.Log(a.logName)),
		Interval: a.config.LogInterval,
		Mask:     logs.Verbatim{},
		Progress: a.progress,
	}
	type logResult struct {
		record contract.Log
		err    error
	}
	logged := make(chan logResult, 1)
	go func() {
		record, err := exporter.Run(background, ended)
		record.Name = a.logName
		logged <- logResult{record, err}
	}()

	err = a.await(stop, alive)
	a.buildEnded = time.Now()
	close(ended)
	if a.buildStarted.IsZero() {
		a.buildStarted = a.buildEnded
	}
	// From here on there is an end to patience, if somebody asked to stop.
	defer context.AfterFunc(stop, func() {
		time.AfterFunc(exportGrace, func() { cancel(errStopped) })
	})()

	finished := contract.Finished{Outcome: contract.Cancelled, Message: "stopped while the build was running"}
	if err == nil {
		finished = a.verdict()
	}
	code := ExitExported
	var manifest *contract.Manifest
	if finished.Outcome == contract.Succeeded {
		manifest, err = a.storeArtifacts(background)
	} else if finished.Outcome == contract.Cancelled {
		code = ExitFailed
	}
	log := <-logged
	finished.Log = &log.record
	if finished.Outcome == contract.Succeeded {
		if err == nil && log.err == nil {
			manifest.Log = log.record
			finished.Artifacts = len(manifest.Artifacts)
			return a.publish(background, manifest, finished)
		}
		if err == nil {
			err = fmt.Errorf("the log could not be stored: %w", log.err)
		}
		finished.Outcome, finished.Message, code = a.blame(background, err)
		finished.ExitCode = nil
	} else if log.err != nil {
		a.progress("the log could not be stored: %v", log.err)
		finished.Message += fmt.Sprintf(" (and its log is not complete: %v)", log.err)
		code = ExitFailed
	}
	return a.conclude(finished, code)
}

// await returns nil when the wrapper is gone, and an error when it is not waited for any more.
func (a *attempt) await(stop context.Context, alive *volume.Alive) error {
	patience, cancel := context.WithCancel(context.WithoutCancel(stop))
	defer cancel()
	reminder := time.AfterFunc(silence, func() { a.progress("waiting for the build to start") })
	defer reminder.Stop()
	started := make(chan struct{})
	defer context.AfterFunc(stop, func() {
		a.progress("asked to stop")
		select {
		case <-started:
			time.AfterFunc(buildGrace, cancel)
		default:
			cancel()
		}
	})()
	err := alive.Wait(patience, func() {
		reminder.Stop()
		a.buildStarted = time.Now()
		close(started)
		a.progress("the build has started")
	})
	if err == nil && stop.Err() != nil {
		// It ended because it was asked to, as this process was.
		return errStopped
	}
	return err
}

// verdict is how the build itself ended, by its marker.
func (a *attempt) verdict() contract.Finished {
	marker, err := a.volume.Marker()
	switch {
	case errors.Is(err, volume.ErrNoMarker):
		return contract.Finished{
			Outcome: contract.BuildFailed, Message: "the build was killed before it could end (out of memory?)",
		}
	case err != nil:
		return contract.Finished{Outcome: contract.BuildFailed, Message: err.Error()}
	case marker.ExitCode == 0:
		return contract.Finished{Outcome: contract.Succeeded, ExitCode: &marker.ExitCode}
	}
	message := fmt.Sprintf("the build ended with exit code %d", marker.ExitCode)
	switch marker.Problem {
	case volume.NoArtifacts:
		message = fmt.Sprintf("the build left nothing in %s/", a.config.ArtifactDir)
	case volume.ArtifactsOutside:
		message = fmt.Sprintf("the artifact directory %s is not inside the build's directory", a.config.ArtifactDir)
	case volume.NotPrepared:
		message = "the build's directory could not be copied to where it can write: see the log"
	case volume.CopyFailed:
		message = fmt.Sprintf("what the build left in %s/ could not be copied: see the log", a.config.ArtifactDir)
	}
	return contract.Finished{Outcome: contract.BuildFailed, ExitCode: &marker.ExitCode, Message: message}
}

// storeArtifacts returns the manifest without its log, which is still on its way.
func (a *attempt) storeArtifacts(ctx context.Context) (*contract.Manifest, error) {
	dir, err := a.volume.Artifacts()
	if err != nil {
		return nil, fmt.Errorf("the artifact directory cannot be read: %w", err)
	}
	defer dir.Close()
	inventory, err := artifacts.Walk(dir, a.layout.Artifact(""))
	if err != nil {
		return nil, err
	}
	a.progress("the build has ended: storing %d artifacts", inventory.Files())
	uploader := &artifacts.Uploader{Dir: dir, Store: a.container, BlobName: a.layout.Artifact, Check: a.lease.Check}
	stored, err := uploader.Upload(ctx, inventory)
	if err != nil {
		return nil, err
	}
	return &contract.Manifest{
		SchemaVersion: contract.SchemaVersion,
		BuildTag:      a.config.BuildTag,
		Source:        a.config.Source,
		Command:       a.config.Command,
		Image:         a.config.Image,
		Job:           a.config.Job,
		Attempt:       a.number,
		StartedAt:     contract.Timestamp(a.startedAt),
		Artifacts:     stored,
		Links:         inventory.Links,
		Skipped:       inventory.Skipped,
	}, nil
}

// publish writes what says that the tag is built, the manifest last.
func (a *attempt) publish(ctx context.Context, m *contract.Manifest, finished contract.Finished) (contract.Result, int) {
	now := time.Now()
	m.FinishedAt = contract.Timestamp(now)
	m.Durations = a.durations(now)
	fail := func(err error) (contract.Result, int) {
		outcome, message, code := a.blame(ctx, err)
		return a.conclude(contract.Finished{Outcome: outcome, Message: message, Log: finished.Log}, code)
	}
	manifest, err := encode(m)
	if err != nil {
		return fail(err)
	}
	provenance, err := encode(provenanceOf(m, a.config.Pod))
	if err != nil {
		return fail(err)
	}
	if err := a.lease.Check(ctx); err != nil {
		return fail(err)
	}
	finishing := make(chan error, 1)
	go func() { finishing <- a.finish(ctx, finished, now) }()
	err = a.container.Put(ctx, a.layout.Provenance(), jsonType, provenance, nil)
	if err = errors.Join(err, <-finishing); err != nil {
		return fail(err)
	}
	err = a.container.PutNew(ctx, a.layout.Manifest(), jsonType, manifest)
	if errors.Is(err, store.ErrExists) && !a.wroteThis(ctx, a.layout.Manifest(), manifest) {
		// Possible only after the lease was lost for a moment; the manifest decides.
		other, err := a.findManifest(ctx)
		if err != nil {
			return fail(err)
		}
		if other == nil {
			return fail(errors.New("the manifest is there and is not there"))
		}
		return a.conclude(contract.Finished{
			Outcome: contract.AlreadyBuilt, Message: "another build of this tag was done first", Log: finished.Log,
		}, ExitExported)
	}
	if err != nil && !errors.Is(err, store.ErrExists) {
		return fail(err)
	}
	a.progress("%s is built: %d artifacts stored", a.config.BuildTag, finished.Artifacts)
	return a.result(finished), ExitExported
}

// blame turns an error of the export into an outcome, a message and an exit code.
func (a *attempt) blame(ctx context.Context, err error) (contract.Outcome, string, int) {
	var other *conflict
	var unfit *artifacts.Unfit
	switch {
	case errors.As(err, &other) || errors.As(err, &unfit):
		return contract.ExportFailed, err.Error(), ExitHopeless
	case errors.Is(context.Cause(ctx), errStopped):
		return contract.Cancelled, "stopped while the artifacts were being stored", ExitFailed
	}
	return contract.ExportFailed, err.Error(), ExitFailed
}

func (a *attempt) fail(err error) (contract.Result, int) {
	outcome, message, code := a.blame(context.Background(), err)
	return a.conclude(contract.Finished{Outcome: outcome, Message: message}, code)
}

// conclude writes finished.json, if there is an attempt to finish, and gives the last words.
func (a *attempt) conclude(finished contract.Finished, code int) (contract.Result, int) {
	if finished.Message != "" {
		a.progress("%s: %s", finished.Outcome, finished.Message)
	}
	if a.number > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), lastGrace)
		defer cancel()
		if err := a.finish(ctx, finished, time.Now()); err != nil {
			a.progress("%v", err)
			code = max(code, ExitFailed)
		}
	}
	return a.result(finished), code
}

func (a *attempt) finish(ctx context.Context, finished contract.Finished, now time.Time) error {
	finished.SchemaVersion = contract.SchemaVersion
	finished.BuildTag = a.config.BuildTag
	finished.Attempt = a.number
	finished.FinishedAt = contract.Timestamp(now)
	finished.Durations = a.durations(now)
	content, err := encode(finished)
	if err != nil {
		return err
	}
	return a.container.Put(ctx, a.layout.Finished(a.number), jsonType, content, nil)
}

func (a *attempt) durations(now time.Time) contract.Durations {
	if a.buildEnded.IsZero() {
		return contract.Durations{}
	}
	return contract.Durations{
		BuildSeconds:  contract.Seconds(a.buildEnded.Sub(a.buildStarted)),
		ExportSeconds: contract.Seconds(now.Sub(a.buildEnded)),
	}
}

func (a *attempt) result(finished contract.Finished) contract.Result {
	result := contract.Result{
		Outcome: finished.Outcome, Attempt: a.number, ExitCode: finished.ExitCode, Message: finished.Message,
	}
	if a.number > 0 {
		result.Log = a.logName
	}
	return result
}

// release is best effort: without it the next build of this tag waits for the lease to expire.
func (a *attempt) release() {
	if !a.leased {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := a.lease.Release(ctx); err != nil {
		a.progress("%v", err)
	}
}

func (a *attempt) refuse(reason error) {
	if err := a.volume.Refuse(reason.Error()); err != nil && !errors.Is(err, os.ErrExist) {
		a.progress("the build container could not be told: %v", err)
	}
}

func (a *attempt) progress(format string, args ...any) {
	fmt.Fprintf(a.stderr, "%s %s\n", contract.Timestamp(time.Now()), store.Redact(fmt.Sprintf(format, args...)))
}

// encode writes JSON for people too: indented, and without escapes for HTML.
func encode(document any) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(document); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}
