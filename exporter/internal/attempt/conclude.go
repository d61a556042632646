package attempt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kerbodyne/ke-1-build/exporter/internal/artifacts"
	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
	"github.com/kerbodyne/ke-1-build/exporter/internal/inputs"
	"github.com/kerbodyne/ke-1-build/exporter/internal/store"
	"github.com/kerbodyne/ke-1-build/exporter/internal/volume"
)

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

// blame turns an error of the export into an outcome, a message and an exit code.
func (a *attempt) blame(ctx context.Context, err error) (contract.Outcome, string, int) {
	var other *conflict
	var unfit *artifacts.Unfit
	var spoilt *inputs.Spoilt
	var refused *store.Refused
	switch {
	case errors.As(err, &other) || errors.As(err, &unfit) || errors.As(err, &spoilt):
		return contract.ExportFailed, err.Error(), ExitHopeless
	case errors.Is(context.Cause(ctx), errStopped):
		return contract.Cancelled, "stopped while the artifacts were being stored", ExitFailed
	case errors.As(err, &refused) && a.number == 0:
		// Before anything was built, and after much patience: the next pod would be refused as long.
		return contract.ExportFailed, err.Error(), ExitConfiguration
	}
	return contract.ExportFailed, err.Error(), ExitFailed
}

func (a *attempt) fail(err error) (contract.Result, int) {
	outcome, message, code := a.blame(context.Background(), err)
	return a.conclude(contract.Finished{Outcome: outcome, Message: message}, code)
}

// conclude adds to finished.json, if there is an attempt to finish, and gives the last words.
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
	finished.Step = a.stepName()
	finished.Attempt = a.number
	finished.FinishedAt = contract.Timestamp(now)
	finished.Durations = a.durations(now)
	line, err := encodeLine(finished)
	if err != nil {
		return err
	}
	return a.finished.Write(ctx, line)
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

// encodeLine writes JSON as one line: see store.Record.
func encodeLine(document any) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(document)
	return buffer.Bytes(), err
}
