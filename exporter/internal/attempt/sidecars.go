package attempt

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
	"github.com/kerbodyne/ke-1-build/exporter/internal/volume"
)

const (
	// stopGrace is what a sidecar has from SIGTERM to SIGKILL, killGrace its wrapper from then to its own end.
	stopGrace = 5 * time.Second
	killGrace = 3 * time.Second
	// hurry takes the place of the limit when the pod is to end: all its graces together are less than Kubernetes' 30 s.
	hurry = 2 * time.Second
	// terminated is the exit code of a command that SIGTERM ended.
	terminated = 143
)

// goSidecars lets the sidecars begin and carries their logs.
func (a *attempt) goSidecars(ctx context.Context) error {
	for _, each := range a.companions.sidecars {
		alive, err := each.volume.Go()
		if err != nil {
			return err
		}
		each.started, each.gone, each.over = make(chan struct{}), make(chan struct{}), make(chan struct{})
		each.logged = make(chan error, 1)
		go func() {
			if alive.Wait(ctx, func() { close(each.started) }) == nil {
				close(each.gone)
			}
		}()
		go func() {
			record, err := a.logExporter(each.volume, each.Name).Run(ctx, each.over)
			record.Name = contract.ContainerLogName(a.logName, each.Name)
			each.log = record
			each.logged <- err
		}()
	}
	return nil
}

// endSidecars tells the sidecars that the build has ended, and returns when all of them have, or are not waited for any
// more. patience ends when the pod is to end.
func (a *attempt) endSidecars(patience context.Context, how string) {
	var group sync.WaitGroup
	ends := make([]contract.CompanionEnd, len(a.companions.sidecars))
	for i, each := range a.companions.sidecars {
		group.Go(func() {
			problem := a.endSidecar(patience, each, how)
			close(each.over)
			ends[i] = a.sidecarEnd(each, problem)
		})
	}
	group.Wait()
	a.companions.ends = append(a.companions.ends, ends...)
}

// awaitSidecars is endSidecars beside what else there is to do: closed when they have ended.
func (a *attempt) awaitSidecars(stop context.Context, build contract.Finished) <-chan struct{} {
	how := "killed"
	if build.ExitCode != nil {
		how = strconv.Itoa(*build.ExitCode)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		patience, cancel := context.WithCancel(context.WithoutCancel(stop))
		defer cancel()
		defer context.AfterFunc(stop, func() { time.AfterFunc(hurry, cancel) })()
		a.endSidecars(patience, how)
	}()
	return done
}

func (a *attempt) endSidecar(patience context.Context, s *sidecar, how string) (problem string) {
	if isClosed(s.gone) {
		return ""
	}
	if err := s.volume.TellEnd(how); err != nil {
		a.progress("the sidecar %s could not be told of the build's end: %v", s.Name, err)
	}
	if s.Terminate {
		_ = s.volume.Stop()
	}
	limit := time.NewTimer(a.config.Companions.Limit)
	defer limit.Stop()
	select {
	case <-s.gone:
		return ""
	case <-patience.Done():
		problem = "stopped, as the pod was to end"
	case <-limit.C:
		problem = fmt.Sprintf("stopped: it still ran %s after the build's end", a.config.Companions.Limit)
	}
	if !isClosed(s.started) {
		return "it never began"
	}
	_ = s.volume.Stop()
	if !within(s.gone, stopGrace) {
		_ = s.volume.Kill()
		if !within(s.gone, killGrace) {
			problem += ", and did not end"
		}
	}
	return problem
}

func (a *attempt) sidecarEnd(s *sidecar, problem string) contract.CompanionEnd {
	end := contract.CompanionEnd{Name: s.Name, Role: contract.Sidecar, Problem: problem}
	if err := <-s.logged; err != nil {
		a.progress("the log of the sidecar %s could not be stored: %v", s.Name, err)
		end.Problem = orElse(end.Problem, "its log is not complete")
	}
	if s.log.Size > 0 || end.Problem == "" {
		end.Log = &s.log
	}
	marker, err := s.volume.Marker()
	switch {
	case err == nil:
		end.ExitCode = &marker.ExitCode
	case errors.Is(err, volume.ErrNoMarker) && isClosed(s.gone):
		end.Problem = orElse(end.Problem, "killed before it could end (out of memory?)")
	case !errors.Is(err, volume.ErrNoMarker):
		end.Problem = orElse(end.Problem, err.Error())
	}
	if end.Problem != "" {
		a.progress("the sidecar %s: %s", s.Name, end.Problem)
	} else if marker.ExitCode != 0 {
		a.progress("the sidecar %s ended with exit code %d", s.Name, marker.ExitCode)
	}
	return end
}

// missed is why the build fails with a sidecar that is required, or empty.
func (a *attempt) missed() string {
	for _, each := range a.companions.sidecars {
		for _, end := range a.companions.ends {
			if !each.Required || end.Role != contract.Sidecar || end.Name != each.Name {
				continue
			}
			if end.Problem != "" {
				return fmt.Sprintf("the sidecar `%s`, which is required: %s", each.Name, end.Problem)
			}
			if code := *end.ExitCode; code != 0 && !(each.Terminate && code == terminated) {
				return fmt.Sprintf("the sidecar `%s`, which is required, ended with exit code %d", each.Name, code)
			}
		}
	}
	return ""
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func within(c <-chan struct{}, d time.Duration) bool {
	select {
	case <-c:
		return true
	case <-time.After(d):
		return false
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
