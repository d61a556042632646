package artifacts

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
	"github.com/kerbodyne/ke-1-build/exporter/internal/volume"
)

const (
	// smallLimit: up to here a file is one request, beyond it is sent in blocks.
	smallLimit   = 1 << 20
	smallWorkers = 12
	largeWorkers = 3
	blockSize    = 8 << 20
	// blockBuffers is shared by all large files: with smallWorkers it bounds the memory.
	blockBuffers = 6
	// maxBlocks of a blob (https://learn.microsoft.com/rest/api/storageservices/put-block-list).
	maxBlocks = 50_000
)

// Store is where artifacts go to; its methods retry by themselves.
type Store interface {
	Put(ctx context.Context, name, mediaType string, content []byte, metadata map[string]string) error
	StageBlock(ctx context.Context, name, id string, content []byte) error
	Commit(ctx context.Context, name, mediaType string, ids []string, metadata map[string]string) error
}

// Uploader stores the files of an inventory.
type Uploader struct {
	Dir   *os.File
	Store Store
	// BlobName of an artifact.
	BlobName func(artifact string) string
	// Check is asked before a blob is written; an error ends the upload.
	Check func(ctx context.Context) error
}

// Upload stores all files, several at once, each read once: what is hashed is what is sent. The result is sorted as the
// inventory is. A file that changes meanwhile is an error. The memory needed does not depend on the files' sizes.
func (u *Uploader) Upload(ctx context.Context, inventory *Inventory) ([]contract.Artifact, error) {
	artifacts := make([]contract.Artifact, len(inventory.files))
	group, ctx := errgroup.WithContext(ctx)
	smalls, larges := make(chan int), make(chan int)
	blocks := make(chan []byte, blockBuffers)
	for range blockBuffers {
		blocks <- nil // allocated on first use
	}
	distribute := func(to chan<- int, wanted func(file) bool) func() error {
		return func() error {
			defer close(to)
			for i, f := range inventory.files {
				if !wanted(f) {
					continue
				}
				select {
				case to <- i:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			return nil
		}
	}
	worker := func(from <-chan int, store func(ctx context.Context, f file) (contract.Artifact, error)) func() error {
		return func() error {
			for i := range from {
				artifact, err := store(ctx, inventory.files[i])
				if err != nil {
					return err
				}
				artifacts[i] = artifact
			}
			return nil
		}
	}
	group.Go(distribute(smalls, func(f file) bool { return f.size <= smallLimit }))
	group.Go(distribute(larges, func(f file) bool { return f.size > smallLimit }))
	for range smallWorkers {
		var buffer []byte
		group.Go(worker(smalls, func(ctx context.Context, f file) (contract.Artifact, error) {
			if int64(cap(buffer)) < f.size {
				buffer = make([]byte, f.size)
			}
			return u.small(ctx, f, buffer[:f.size])
		}))
	}
	for range largeWorkers {
		group.Go(worker(larges, func(ctx context.Context, f file) (contract.Artifact, error) {
			return u.large(ctx, f, blocks)
		}))
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return artifacts, nil
}

func (u *Uploader) small(ctx context.Context, f file, content []byte) (contract.Artifact, error) {
	handle, err := u.open(f)
	if err != nil {
		return contract.Artifact{}, err
	}
	defer handle.Close()
	if _, err := io.ReadFull(handle, content); err != nil {
		return contract.Artifact{}, changed(f)
	}
	if err := unchanged(handle, f); err != nil {
		return contract.Artifact{}, err
	}
	if err := u.Check(ctx); err != nil {
		return contract.Artifact{}, err
	}
	sum := sha256.Sum256(content)
	artifact := describe(f, content, sum[:])
	return artifact, u.Store.Put(ctx, u.BlobName(f.name), artifact.MediaType, content, metadataOf(artifact))
}

func (u *Uploader) large(ctx context.Context, f file, blocks chan []byte) (contract.Artifact, error) {
	if f.size > maxBlocks*blockSize {
		return contract.Artifact{}, unfit("the artifact %s is larger than %d GiB", printable(f.name), maxBlocks*blockSize>>30)
	}
	handle, err := u.open(f)
	if err != nil {
		return contract.Artifact{}, err
	}
	defer handle.Close()
	ids := make([]string, (f.size+blockSize-1)/blockSize)
	var head []byte
	sum := sha256.New()
	group, groupCtx := errgroup.WithContext(ctx)
	for i := range ids {
		var buffer []byte
		select {
		case buffer = <-blocks:
		case <-groupCtx.Done():
		}
		if groupCtx.Err() != nil {
			break
		}
		if buffer == nil {
			buffer = make([]byte, blockSize)
		}
		block := buffer[:min(blockSize, f.size-int64(i)*blockSize)]
		if _, err := io.ReadFull(handle, block); err != nil {
			blocks <- buffer
			// The blocks under way have buffers that others wait for.
			_ = group.Wait()
			return contract.Artifact{}, changed(f)
		}
		if i == 0 {
			head = append(head, block[:min(len(block), sniffLength)]...)
		}
		// Before the block leaves: its buffer may belong to another file as soon as it is sent.
		sum.Write(block)
		group.Go(func() error {
			defer func() { blocks <- buffer }()
			ids[i] = blockID(i, block)
			return u.Store.StageBlock(groupCtx, u.BlobName(f.name), ids[i], block)
		})
	}
	if err := group.Wait(); err != nil {
		return contract.Artifact{}, err
	}
	if err := unchanged(handle, f); err != nil {
		return contract.Artifact{}, err
	}
	if err := u.Check(ctx); err != nil {
		return contract.Artifact{}, err
	}
	artifact := describe(f, head, sum.Sum(nil))
	return artifact, u.Store.Commit(ctx, u.BlobName(f.name), artifact.MediaType, ids, metadataOf(artifact))
}

// blockID says which bytes the block has: blocks staged for one blob by two attempts cannot be taken for one another.
func blockID(index int, content []byte) string {
	sum := sha256.Sum256(content)
	return base64.StdEncoding.EncodeToString(append(binary.BigEndian.AppendUint32(nil, uint32(index)), sum[:20]...))
}

func (u *Uploader) open(f file) (*os.File, error) {
	handle, err := volume.OpenRegular(int(u.Dir.Fd()), f.name)
	if os.IsPermission(err) {
		return nil, unfit("the artifact %s cannot be read: permission denied", printable(f.name))
	}
	if err != nil {
		return nil, changed(f)
	}
	if err := unchanged(handle, f); err != nil {
		handle.Close()
		return nil, err
	}
	return handle, nil
}

func unchanged(handle *os.File, f file) error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(handle.Fd()), &stat); err != nil || identityOf(&stat) != f.id {
		return changed(f)
	}
	return nil
}

func changed(f file) error {
	return fmt.Errorf("the artifact %s changed while it was exported: a process of the build is still writing it",
		printable(f.name))
}

func describe(f file, head, sum []byte) contract.Artifact {
	return contract.Artifact{
		Name:       f.name,
		Size:       f.size,
		SHA256:     hex.EncodeToString(sum),
		MediaType:  mediaType(f.name, head[:min(len(head), sniffLength)], f.executable),
		Executable: f.executable,
	}
}

func metadataOf(artifact contract.Artifact) map[string]string {
	return map[string]string{"sha256": artifact.SHA256}
}
