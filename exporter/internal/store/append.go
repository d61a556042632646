package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/appendblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
)

// Limits of an append blob: blocks, and bytes a block in every version of the service
// (https://learn.microsoft.com/rest/api/storageservices/append-block).
const (
	MaxAppendBlocks = 50_000
	MaxAppendBytes  = 4 << 20
)

// AppendBlob is a blob that only this process writes, and that grows. Nothing of it is ever written over, so that a store
// which lets blobs be added to, but not be changed, takes it.
type AppendBlob struct {
	container *Container
	name      string
	size      int64
	created   bool
}

// NewAppendBlob does not create it yet: Create does.
func (c *Container) NewAppendBlob(name string) *AppendBlob {
	return &AppendBlob{container: c, name: name}
}

// Create makes the empty blob: ErrExists if another process has. It may be called again after an error.
func (a *AppendBlob) Create(ctx context.Context, mediaType string) error {
	if a.created {
		return nil
	}
	err := a.container.createAppendBlob(ctx, a.name, mediaType)
	if errors.Is(err, ErrExists) {
		// The answer to an earlier try may have been lost. An empty blob does not tell whose it is; its metadata does.
		properties, lookErr := a.properties(ctx)
		switch {
		case lookErr != nil:
			return lookErr
		case metadataOf(properties.Metadata, writerKey) == a.container.writer:
			err = nil
		default:
			err = fmt.Errorf("%w: %s has another writer", ErrExists, a.name)
		}
	}
	a.created = err == nil
	return err
}

// Append adds at most MaxAppendBytes. It may be called again with the same bytes after an error: they are added once, as
// the request says at which offset they belong.
func (a *AppendBlob) Append(ctx context.Context, content []byte) error {
	err := a.appendAt(ctx, content)
	var refusal *ResponseError
	if errors.As(err, &refusal) && refusal.Code == "AppendPositionConditionNotMet" {
		properties, lookErr := a.properties(ctx)
		if lookErr != nil {
			return lookErr
		}
		switch size := *properties.ContentLength; size {
		case a.size + int64(len(content)):
			// The answer to an earlier try was lost.
			err = nil
		default:
			err = fmt.Errorf("%s has %d bytes instead of %d: it has another writer", a.name, size, a.size)
		}
	}
	if err == nil {
		a.size += int64(len(content))
	}
	return err
}

func (a *AppendBlob) appendAt(ctx context.Context, content []byte) error {
	_, err := a.container.client.NewAppendBlobClient(a.name).AppendBlock(ctx, body(content), &appendblob.AppendBlockOptions{
		AppendPositionAccessConditions: &appendblob.AppendPositionAccessConditions{AppendPosition: to.Ptr(a.size)},
	})
	return explain("append to", a.name, err)
}

func (a *AppendBlob) properties(ctx context.Context) (blob.GetPropertiesResponse, error) {
	properties, err := a.container.client.NewBlobClient(a.name).GetProperties(ctx, nil)
	return properties, explain("look at", a.name, err)
}

// Record is a small document that belongs to this process: an append blob of JSON lines, of which the last one counts.
// One that has no line yet is not there.
type Record struct {
	blob AppendBlob
}

// NewRecord does not create it yet: Claim does, or the first Write.
func (c *Container) NewRecord(name string) *Record {
	return &Record{AppendBlob{container: c, name: name}}
}

// Claim makes the empty record: ErrExists if another process has, also if that one ended before it could write.
func (r *Record) Claim(ctx context.Context) error {
	return r.blob.Create(ctx, "application/json")
}

// Write adds a line. That it is there twice, after an answer that was lost together with its request's end, does no harm.
func (r *Record) Write(ctx context.Context, line []byte) error {
	if err := r.Claim(ctx); err != nil {
		return err
	}
	for {
		err := r.blob.appendAt(ctx, line)
		var refusal *ResponseError
		if !errors.As(err, &refusal) || refusal.Code != "AppendPositionConditionNotMet" {
			if err == nil {
				r.blob.size += int64(len(line))
			}
			return err
		}
		properties, lookErr := r.blob.properties(ctx)
		if lookErr != nil {
			return lookErr
		}
		before := r.blob.size
		if r.blob.size = *properties.ContentLength; r.blob.size == before+int64(len(line)) {
			return nil
		}
		if r.blob.size <= before {
			return err
		}
	}
}

// writerKey names the metadata by which a process knows the append blobs that it made.
const writerKey = "writer"

func (c *Container) createAppendBlob(ctx context.Context, name, mediaType string) error {
	_, err := c.client.NewAppendBlobClient(name).Create(ctx, &appendblob.CreateOptions{
		HTTPHeaders:      &blob.HTTPHeaders{BlobContentType: &mediaType},
		AccessConditions: ifNew(),
		Metadata:         pointers(map[string]string{writerKey: c.writer}),
	})
	return existing(explain("create", name, err))
}

// metadataOf reads one value: the service's answer has the names as HTTP headers have them.
func metadataOf(metadata map[string]*string, key string) string {
	for name, value := range metadata {
		if strings.EqualFold(name, key) && value != nil {
			return *value
		}
	}
	return ""
}
