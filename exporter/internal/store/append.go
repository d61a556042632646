package store

import (
	"context"
	"errors"
	"fmt"

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

// AppendBlob is a blob that only this process writes, and that grows.
type AppendBlob struct {
	container *Container
	name      string
	size      int64
	created   bool
}

// NewAppendBlob does not create it yet: Create or the first Append does.
func (c *Container) NewAppendBlob(name string) *AppendBlob {
	return &AppendBlob{container: c, name: name}
}

// Create makes the empty blob. It may be called again after an error.
func (a *AppendBlob) Create(ctx context.Context, mediaType string) error {
	if a.created {
		return nil
	}
	_, err := a.container.client.NewAppendBlobClient(a.name).Create(ctx, &appendblob.CreateOptions{
		HTTPHeaders:      &blob.HTTPHeaders{BlobContentType: &mediaType},
		AccessConditions: ifNew(),
	})
	if err = explain("create", a.name, err); errors.Is(err, ErrExists) {
		// The answer to an earlier try was lost: what is there must be what that try made.
		var size int64
		if size, err = a.remoteSize(ctx); err == nil && size != 0 {
			err = fmt.Errorf("%s has another writer", a.name)
		}
	}
	a.created = err == nil
	return err
}

// Append adds at most MaxAppendBytes. It may be called again with the same bytes after an error: they are added once, as
// the request says at which offset they belong.
func (a *AppendBlob) Append(ctx context.Context, content []byte) error {
	_, err := a.container.client.NewAppendBlobClient(a.name).AppendBlock(ctx, body(content), &appendblob.AppendBlockOptions{
		AppendPositionAccessConditions: &appendblob.AppendPositionAccessConditions{AppendPosition: to.Ptr(a.size)},
	})
	err = explain("append to", a.name, err)
	var refusal *ResponseError
	if errors.As(err, &refusal) && refusal.Code == "AppendPositionConditionNotMet" {
		size, sizeErr := a.remoteSize(ctx)
		switch {
		case sizeErr != nil:
			return sizeErr
		case size == a.size+int64(len(content)):
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

func (a *AppendBlob) remoteSize(ctx context.Context) (int64, error) {
	properties, err := a.container.client.NewBlobClient(a.name).GetProperties(ctx, nil)
	if err != nil {
		return 0, explain("look at", a.name, err)
	}
	return *properties.ContentLength, nil
}
