package attempt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
	"github.com/kerbodyne/ke-1-build/exporter/internal/store"
)

const (
	// leasePoll is how often to look whether the build that has the lease is done.
	leasePoll = 1500 * time.Millisecond
	// maxManifest bounds what is read of somebody's manifest: 100,000 artifacts of long names fit.
	maxManifest = 64 << 20
	maxAttempts = 10_000
)

// conflict: another tree was built under this tag. Trying again does not help.
type conflict struct{ message string }

func (e *conflict) Error() string { return e.message }

// preflight returns the manifest, if the tag is built already. If not, it returns nil, and this process has the lease and
// has recorded its attempt: the build may run.
//
// Every build waits for this: the lease's blob is prepared while the manifest is looked for, and on an idle store there
// are four requests one after the other.
func (a *attempt) preflight(ctx context.Context) (*contract.Manifest, error) {
	if err := a.findInputs(ctx); err != nil {
		return nil, err
	}
	prepared := make(chan error, 1)
	go func() { prepared <- a.lease.Prepare(ctx) }()
	if built, err := a.findManifest(ctx); built != nil || err != nil {
		return built, err
	}
	if err := <-prepared; err != nil {
		return nil, err
	}
	for waiting := false; ; waiting = true {
		acquired, err := a.lease.Acquire(ctx)
		if err != nil {
			return nil, err
		}
		if acquired {
			break
		}
		if !waiting {
			a.progress("another build of %s is running: waiting for it", a.config.Name())
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(leasePoll):
		}
		if built, err := a.findManifest(ctx); built != nil || err != nil {
			return built, err
		}
	}
	a.leased = true
	// Again: the lease may have become free because the other build was done.
	if built, err := a.findManifest(ctx); built != nil || err != nil {
		return built, err
	}
	return nil, a.record(ctx)
}

// findManifest returns nil if there is none, and a conflict if it is for another tree or command.
func (a *attempt) findManifest(ctx context.Context) (*contract.Manifest, error) {
	content, err := a.container.Get(ctx, a.layout.Manifest(), maxManifest)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found contract.Manifest
	if err := json.Unmarshal(content, &found); err != nil || found.SchemaVersion != contract.SchemaVersion ||
		found.BuildTag != a.config.BuildTag || found.Step != a.stepName() || found.Source.Tree == "" {
		return nil, &conflict{fmt.Sprintf("BUILD_TAG %s has a manifest that cannot be read: use another tag, or remove %s",
			a.config.Name(), a.layout.Manifest())}
	}
	return &found, a.compare(&found)
}

func (a *attempt) compare(found *contract.Manifest) error {
	if found.Source.Tree != a.config.Source.Tree {
		return &conflict{fmt.Sprintf("BUILD_TAG %s was built from another tree (%s) than this one (%s): use another tag",
			a.config.Name(), describeSource(found.Source), describeSource(a.config.Source))}
	}
	if !slices.Equal(found.Command, a.config.Command) {
		return &conflict{fmt.Sprintf("BUILD_TAG %s was built with another command (%s) than this one (%s): use another tag",
			a.config.Name(), strings.Join(found.Command, " "), strings.Join(a.config.Command, " "))}
	}
	return a.compareStep(found)
}

func describeSource(source contract.Source) string {
	if source.Commit == "" {
		return source.Tree
	}
	return fmt.Sprintf("%s of commit %s", source.Tree, source.Commit)
}

// record takes the first free number, by an empty started.json that it alone can have made, and then says whose it is. A
// number whose exporter ended in between stays taken, and is nobody's.
func (a *attempt) record(ctx context.Context) error {
	a.startedAt = time.Now()
	a.logName = contract.LogName(a.startedAt)
	for n := 1; n <= maxAttempts; n++ {
		record := a.container.NewRecord(a.layout.Started(n))
		err := record.Claim(ctx)
		if errors.Is(err, store.ErrExists) {
			continue
		}
		if err != nil {
			return err
		}
		a.number = n
		a.finished = a.container.NewRecord(a.layout.Finished(n))
		line, err := encodeLine(contract.Started{
			SchemaVersion: contract.SchemaVersion,
			BuildTag:      a.config.BuildTag,
			Step:          a.stepName(),
			Attempt:       n,
			StartedAt:     contract.Timestamp(a.startedAt),
			Job:           a.config.Job,
			Pod:           a.config.Pod,
			Image:         a.config.Image,
			Source:        a.config.Source,
			Command:       a.config.Command,
			Log:           a.logName,
			Companions:    a.announced(),
		})
		if err != nil {
			return err
		}
		return record.Write(ctx, line)
	}
	return fmt.Errorf("BUILD_TAG %s has had %d attempts already", a.config.Name(), maxAttempts)
}

// wroteThis reports whether a blob that exists already is what this process wrote, and only the answer was lost.
func (a *attempt) wroteThis(ctx context.Context, name string, content []byte) bool {
	found, err := a.container.Get(ctx, name, int64(len(content)))
	return err == nil && string(found) == string(content)
}
