package attempt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kerbodyne/ke-1-build/exporter/internal/config"
	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
	"github.com/kerbodyne/ke-1-build/exporter/internal/logs"
	"github.com/kerbodyne/ke-1-build/exporter/internal/volume"
)

// companions are the containers before and beside the build. Each has a volume that it shares with the exporter alone: the
// build cannot speak for them, nor they for the build.
type companions struct {
	inits    []initContainer
	sidecars []*sidecar
	ends     []contract.CompanionEnd
}

type initContainer struct {
	name   string
	volume *volume.Volume
}

type sidecar struct {
	config.Sidecar
	volume  *volume.Volume
	started chan struct{}
	// gone is closed when its wrapper has let go of the volume, over when its log may end.
	gone, over chan struct{}
	logged     chan error
	log        contract.Log
}

func (a *attempt) openCompanions() error {
	c := a.config.Companions
	if len(c.Init) > 0 {
		dir, err := volume.Open(c.InitDir)
		if err != nil {
			return err
		}
		for _, name := range c.Init {
			own, err := dir.OpenDir(name)
			if err != nil {
				return err
			}
			a.companions.inits = append(a.companions.inits, initContainer{name, own})
		}
	}
	for _, each := range c.Sidecars {
		own, err := volume.Open(filepath.Join(c.SidecarDir, each.Name))
		if err == nil {
			err = own.PrepareForOthers()
		}
		if err != nil {
			return err
		}
		a.companions.sidecars = append(a.companions.sidecars, &sidecar{Sidecar: each, volume: own})
	}
	return nil
}

// announced is what started.json says of them.
func (a *attempt) announced() (all []contract.Companion) {
	for _, each := range a.companions.inits {
		all = append(all, contract.Companion{
			Name: each.name, Role: contract.Init, Log: contract.ContainerLogName(a.logName, each.name)})
	}
	for _, each := range a.companions.sidecars {
		all = append(all, contract.Companion{
			Name: each.Name, Role: contract.Sidecar, Log: contract.ContainerLogName(a.logName, each.Name)})
	}
	return all
}

// dismissSidecars lets those go that wait for a build which does not come.
func (a *attempt) dismissSidecars() {
	for _, each := range a.companions.sidecars {
		if err := each.volume.Skip(); err != nil && !errors.Is(err, os.ErrExist) {
			a.progress("the sidecar %s could not be told: %v", each.Name, err)
		}
	}
}

func (a *attempt) logExporter(v *volume.Volume, container string) *logs.Exporter {
	return &logs.Exporter{
		Open:     v.Log,
		Blob:     a.container.NewAppendBlob(a.layout.Log(contract.ContainerLogName(a.logName, container))),
		Interval: a.config.LogInterval,
		Mask:     a.masks().Another(),
		Progress: a.progress,
	}
}

// takeInits stores the logs of the init containers, which have all ended. It returns how the attempt ends, if one of them
// failed.
func (a *attempt) takeInits(ctx context.Context) (*contract.Finished, error) {
	over := make(chan struct{})
	close(over)
	for _, each := range a.companions.inits {
		end := contract.CompanionEnd{Name: each.name, Role: contract.Init}
		record, err := a.logExporter(each.volume, each.name).Run(ctx, over)
		if err != nil {
			return nil, fmt.Errorf("the log of the init container %s could not be stored: %w", each.name, err)
		}
		record.Name = contract.ContainerLogName(a.logName, each.name)
		end.Log = &record
		marker, err := each.volume.Marker()
		var message string
		switch {
		case err != nil:
			end.Problem = err.Error()
			message = fmt.Sprintf("the init container `%s` did not end as it should: %v", each.name, err)
		case marker.ExitCode != 0:
			end.ExitCode = &marker.ExitCode
			message = fmt.Sprintf("the init container `%s` ended with exit code %d", each.name, marker.ExitCode)
		default:
			end.ExitCode = &marker.ExitCode
		}
		a.companions.ends = append(a.companions.ends, end)
		if message != "" {
			// Those after it were not run.
			return &contract.Finished{Outcome: contract.BuildFailed, ExitCode: end.ExitCode, Message: message,
				Log: &record, Companions: a.companions.ends}, nil
		}
	}
	return nil, nil
}

// endBeforeBuild ends an attempt whose init containers have not done what they were to do.
func (a *attempt) endBeforeBuild(failed *contract.Finished, err error) (contract.Result, int) {
	if err != nil {
		a.refuse(err)
		return a.fail(err)
	}
	a.refuse(errors.New(failed.Message))
	// Another attempt would go the same way.
	return a.conclude(*failed, ExitHopeless)
}
