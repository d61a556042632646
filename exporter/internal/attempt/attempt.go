// Package attempt is the way of one attempt at a build, as the exporter goes it: preflight, the go, the log while the
// build runs, its end, the artifacts, and last of all the manifest.
package attempt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/kerbodyne/ke-1-build/exporter/internal/config"
	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
	"github.com/kerbodyne/ke-1-build/exporter/internal/logs"
	"github.com/kerbodyne/ke-1-build/exporter/internal/mask"
	"github.com/kerbodyne/ke-1-build/exporter/internal/store"
	"github.com/kerbodyne/ke-1-build/exporter/internal/volume"
)

// Exit codes of the exporter.
const (
	// ExitExported: all there was to store is stored. A build that failed has its own container's exit code.
	ExitExported = 0
	// ExitFailed: the export failed or was stopped; another attempt may do.
	ExitFailed = 1
	// ExitConfiguration: an environment variable is missing or wrong, or Azure does not let the identity in.
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
	// inputs are the earlier steps' manifests, as long as they are to be fetched.
	inputs []input
	// finished is finished.json; nil before there is an attempt.
	finished *store.Record
	// companions are the containers before and beside the build.
	companions companions

	buildStarted, buildEnded time.Time
	exports                  *exports
	// masks has what all streams are masked by, made when the first of them begins: each takes Another.
	masks func() *mask.Masker
}

// Run goes the whole way and returns the last words and the exit code. stop ends with SIGTERM: the build is not waited for
// any more, but what there is gets stored.
func Run(stop context.Context, c config.Config, stderr io.Writer) (contract.Result, int) {
	masks := sync.OnceValue(func() *mask.Masker { return mask.New(c.Secrets) })
	a := &attempt{config: c, layout: c.Layout(), stderr: stderr, masks: masks}
	for _, notice := range c.Notices {
		a.progress("%s", notice)
	}
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
		a.progress("%s is built already: nothing to run", c.Name())
		a.dismissSidecars()
		if err := a.volume.Skip(); err != nil {
			return a.fail(err)
		}
		return contract.Result{Outcome: contract.AlreadyBuilt, Log: built.Log.Name}, ExitExported
	}
	result, code := a.build(stop)
	if a.exports != nil {
		// Others may have the tag now.
		a.release()
		a.exports.linger(stop)
	}
	return result, code
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
	if err = errors.Join(a.volume.Prepare(), a.volume.MakeDirectories()); err != nil {
		return err
	}
	if a.container, err = store.Open(a.config.ContainerURL, a.config.Credential, a.progress); err != nil {
		return err
	}
	if a.lease, err = a.container.NewLease(a.layout.Lease()); err != nil {
		return err
	}
	return a.openCompanions()
}

// build is the way from the go to the end.
func (a *attempt) build(stop context.Context) (contract.Result, int) {
	background, cancel := context.WithCancelCause(context.WithoutCancel(stop))
	defer cancel(nil)
	go a.lease.Keep(background)
	if failed, err := a.takeInits(background); failed != nil || err != nil {
		return a.endBeforeBuild(failed, err)
	}
	if err := a.fetchInputs(stop); err != nil {
		a.refuse(err)
		if stop.Err() != nil {
			return a.conclude(contract.Finished{Outcome: contract.Cancelled, Message: "stopped before the build could start"}, ExitFailed)
		}
		return a.fail(err)
	}
	if err := a.goSidecars(background); err != nil {
		return a.fail(err)
	}
	if a.config.Quiet {
		// Before the go: the wrapper looks once.
		if err := a.volume.Quiet(); err != nil {
			return a.fail(err)
		}
	}
	alive, err := a.volume.Go()
	if err != nil {
		return a.fail(err)
	}
	defer alive.Close()
	a.progress("attempt %d of %s: go", a.number, a.config.Name())

	ended := make(chan struct{})
	masker := a.masks().Another()
	a.exports = a.startExports(background, ended)
	exporter := &logs.Exporter{
		Open:     a.volume.Log,
		Blob:     a.container.NewAppendBlob(a.layout.Log(a.logName)),
		Interval: a.config.LogInterval,
		Mask:     masker,
		Progress: a.progress,
		Passed:   a.exports.output.Write,
		Done:     a.exports.outputDone,
	}
	type logResult struct {
		record contract.Log
		err    error
	}
	logged := make(chan logResult, 1)
	go func() {
		record, err := exporter.Run(background, ended)
		record.Name = a.logName
		if count := masker.Count(); count > 0 {
			a.progress("masked in the log: %d", count)
		}
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
	a.exports.buildEnded(background)
	sidecarsEnded := a.awaitSidecars(stop, finished)
	code := ExitExported
	var manifest *contract.Manifest
	if finished.Outcome == contract.Succeeded {
		manifest, err = a.storeArtifacts(background)
	} else if finished.Outcome == contract.Cancelled {
		code = ExitFailed
	}
	log := <-logged
	finished.Log = &log.record
	if err := a.exports.finish(&finished); err != nil && log.err == nil {
		log.err = err
	}
	<-sidecarsEnded
	finished.Summaries, finished.Companions = a.summaries(), a.companions.ends
	if finished.Outcome == contract.Succeeded {
		if err == nil && log.err == nil {
			if missed := a.missed(); missed != "" {
				finished.Outcome, finished.Message, finished.ExitCode = contract.BuildFailed, missed, nil
				// Another attempt would go the same way.
				return a.conclude(finished, ExitHopeless)
			}
			manifest.Log = log.record
			manifest.Companions, manifest.Summaries = finished.Companions, finished.Summaries
			manifest.LogFiles = finished.LogFiles
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

// release is best effort: without it the next build of this tag waits for the lease to expire.
func (a *attempt) release() {
	if !a.leased {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	a.leased = false
	if err := a.lease.Release(ctx); err != nil {
		a.progress("%v", err)
	}
}

func (a *attempt) refuse(reason error) {
	a.dismissSidecars()
	if err := a.volume.Refuse(reason.Error()); err != nil && !errors.Is(err, os.ErrExist) {
		a.progress("the build container could not be told: %v", err)
	}
}

func (a *attempt) progress(format string, args ...any) {
	fmt.Fprintf(a.stderr, "%s %s\n", contract.Timestamp(time.Now()), store.Redact(fmt.Sprintf(format, args...)))
}
