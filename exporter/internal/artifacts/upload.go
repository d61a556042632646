package artifacts

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
	"github.com/kerbodyne/ke-1-build/exporter/internal/store"
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
	PutNew(ctx context.Context, name, mediaType string, content []byte, metadata map[string]string) error
	StageBlock(ctx context.Context, name, id string, content []byte) error
	Commit(ctx context.Context, name, mediaType string, ids []string, metadata map[string]string) error
	CommitNew(ctx context.Context, name, mediaType string, ids []string, metadata map[string]string) error
	Look(ctx context.Context, name string) (store.Stored, error)
	Blocks(ctx context.Context, name string) (committed []string, sizes map[string]int64, err error)
}

// Uploader stores the files of an inventory.
type Uploader struct {
	Store Store
	// BlobName of an artifact.
	BlobName func(artifact string) string
	// Check is asked before a blob is written; an error ends the upload.
	Check func(ctx context.Context) error
	// Resume says that an earlier attempt may have stored some of it. What is there already is not sent again.
	Resume bool

	// kept is how many files were there.
	kept atomic.Int64
}

// Kept is how many files were not sent because they were stored already.
func (u *Uploader) Kept() int { return int(u.kept.Load()) }

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
	name := u.BlobName(f.name)
	return artifact, u.once(ctx, f, artifact,
		func(stored store.Stored) (bool, error) {
			digest := md5.Sum(content)
			return bytes.Equal(stored.MD5, digest[:]), nil
		},
		func() error { return u.Store.PutNew(ctx, name, artifact.MediaType, content, metadataOf(artifact)) },
		func() error { return u.Store.Put(ctx, name, artifact.MediaType, content, metadataOf(artifact)) },
	)
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
	name := u.BlobName(f.name)
	// What an earlier attempt has sent; an id says which bytes its block has.
	var there map[string]int64
	if u.Resume {
		if _, there, err = u.Store.Blocks(ctx, name); err != nil && !errors.Is(err, store.ErrNotFound) {
			return contract.Artifact{}, err
		}
	}
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
		ids[i] = blockID(i, sum)
		group.Go(func() error {
			defer func() { blocks <- buffer }()
			if size, ok := there[ids[i]]; ok && size == int64(len(block)) {
				return nil
			}
			return u.Store.StageBlock(groupCtx, name, ids[i], block)
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
	return artifact, u.once(ctx, f, artifact,
		func(store.Stored) (bool, error) {
			committed, _, err := u.Store.Blocks(ctx, name)
			return slices.Equal(committed, ids), err
		},
		func() error { return u.Store.CommitNew(ctx, name, artifact.MediaType, ids, metadataOf(artifact)) },
		func() error { return u.Store.Commit(ctx, name, artifact.MediaType, ids, metadataOf(artifact)) },
	)
}

// once writes an artifact's blob, unless it is there as it should be: by its size, by the digest that an exporter of this tag
// noted with it, and by what the service itself knows of its content, which verify asks. What another attempt left and is
// not the same is written over; a store that does not let it be is an Unfit: no retry can do better.
func (u *Uploader) once(
	ctx context.Context, f file, artifact contract.Artifact, verify func(store.Stored) (bool, error), create, replace func() error,
) error {
	same := func() (bool, error) {
		stored, err := u.Store.Look(ctx, u.BlobName(f.name))
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		}
		if err != nil || stored.Size != artifact.Size || stored.SHA256 != artifact.SHA256 {
			return false, err
		}
		return verify(stored)
	}
	if u.Resume {
		found, err := same()
		if found {
			u.kept.Add(1)
		}
		if found || err != nil {
			return err
		}
	}
	err := create()
	if !errors.Is(err, store.ErrExists) {
		return err
	}
	// It may be this very request that was carried out, and only the answer was lost.
	if found, err := same(); found || err != nil {
		return err
	}
	if err = replace(); errors.Is(err, store.ErrKept) {
		return unfit("another attempt has left another artifact %s, and the store's immutability policy lets it not be"+
			" written over: use another BUILD_TAG", printable(f.name))
	}
	return err
}

// blockID says which bytes the block has, by the digest of the file up to its end: blocks staged for one blob by two attempts
// cannot be taken for one another. That digest is a step on the way to the file's own, so that no byte is hashed twice for it.
func blockID(index int, upToEnd hash.Hash) string {
	sum := upToEnd.Sum(nil)
	return base64.StdEncoding.EncodeToString(append(binary.BigEndian.AppendUint32(nil, uint32(index)), sum[:20]...))
}

func (u *Uploader) open(f file) (*os.File, error) {
	handle, err := volume.OpenRegular(int(f.dir.Fd()), f.name)
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
