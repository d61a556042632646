// Package inputs brings the artifacts of earlier steps to the volume where a step's build finds them.
package inputs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sync/errgroup"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
	"github.com/kerbodyne/ke-1-build/exporter/internal/store"
)

// parallel is how many artifacts are on their way at once: each takes a copy buffer, and the exporter's memory is small.
const parallel = 8

// Store reads blobs.
type Store interface {
	// Stream gives a blob's content, to be closed by the caller.
	Stream(ctx context.Context, name string) (io.ReadCloser, error)
}

// Spoilt: what is stored is not what the step has made. No other attempt can do.
type Spoilt struct{ message string }

func (e *Spoilt) Error() string { return e.message }

// Fetcher fetches what one step has made.
type Fetcher struct {
	Store    Store
	BlobName func(artifact string) string
	// Root has a directory for each step.
	Root string
}

// Fetch puts the artifacts of a step into Root/<step>, as it left them: names, bytes, which of them may be executed, and
// links. Size and SHA-256 of each are those of the manifest, or there is an error that names the artifact.
func (f *Fetcher) Fetch(ctx context.Context, step string, manifest *contract.Manifest) error {
	volume, err := os.OpenRoot(f.Root)
	if err != nil {
		return err
	}
	defer volume.Close()
	// Of an attempt in this pod that was killed.
	if err := volume.RemoveAll(step); err != nil {
		return err
	}
	if err := volume.Mkdir(step, 0o755); err != nil {
		return err
	}
	root, err := volume.OpenRoot(step)
	if err != nil {
		return err
	}
	defer root.Close()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, artifact := range manifest.Artifacts {
		group.Go(func() error {
			if err := f.fetch(ctx, root, artifact); err != nil {
				return fmt.Errorf("input %s: %w", step, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	// Last, so that nothing is written through one.
	for _, link := range manifest.Links {
		if err := parents(root, link.Name); err != nil {
			return err
		}
		if err := root.Symlink(link.Target, link.Name); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fetcher) fetch(ctx context.Context, root *os.Root, artifact contract.Artifact) error {
	if err := parents(root, artifact.Name); err != nil {
		return err
	}
	stream, err := f.Store.Stream(ctx, f.BlobName(artifact.Name))
	if errors.Is(err, store.ErrNotFound) {
		return &Spoilt{fmt.Sprintf("%s is not stored any more", artifact.Name)}
	}
	if err != nil {
		return err
	}
	defer stream.Close()
	mode := os.FileMode(0o444)
	if artifact.Executable {
		mode = 0o555
	}
	file, err := root.OpenFile(artifact.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	hash := sha256.New()
	// One byte more than there should be: whatever is longer is noticed, and not stored.
	size, err := io.Copy(io.MultiWriter(file, hash), io.LimitReader(stream, artifact.Size+1))
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("%s: %w", artifact.Name, err)
	}
	if digest := hex.EncodeToString(hash.Sum(nil)); size != artifact.Size || digest != artifact.SHA256 {
		return &Spoilt{fmt.Sprintf("%s is not what the step has made: the manifest says sha256 %s (%d bytes), the store has %s",
			artifact.Name, artifact.SHA256, artifact.Size, digest)}
	}
	return nil
}

func parents(root *os.Root, name string) error {
	if dir := path.Dir(name); dir != "." {
		return root.MkdirAll(dir, 0o755)
	}
	return nil
}
