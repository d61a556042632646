package store

import (
	"context"
	"crypto/md5"
	"errors"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
)

// spoiltTries is how often a block is sent that the service did not get as it was.
const spoiltTries = 3

// StageBlock sends a part of a blob; Commit makes a blob of them. All ids of a blob must have one length.
//
// The service verifies the block's MD5 before it takes it. One that has none makes it compute a CRC64 instead
// (https://learn.microsoft.com/rest/api/storageservices/put-block), which takes Azurite ten times as long.
func (c *Container) StageBlock(ctx context.Context, name, id string, content []byte) error {
	sum := md5.Sum(content)
	client := c.client.NewBlockBlobClient(name)
	for try := 1; ; try++ {
		_, err := client.StageBlock(ctx, id, body(content), &blockblob.StageBlockOptions{
			TransactionalValidation: blob.TransferValidationTypeMD5(sum[:]),
		})
		err = explain("write", name, err)
		var refusal *ResponseError
		if try < spoiltTries && errors.As(err, &refusal) && refusal.Code == "Md5Mismatch" {
			continue
		}
		return err
	}
}

// Commit makes a blob of the parts that were staged, over one that may be there: ErrKept if the store lets nothing be
// written over.
func (c *Container) Commit(ctx context.Context, name, mediaType string, ids []string, metadata map[string]string) error {
	return c.commit(ctx, name, mediaType, ids, metadata, nil)
}

// CommitNew makes a blob that must not be there yet: ErrExists if it is. See PutNew.
func (c *Container) CommitNew(ctx context.Context, name, mediaType string, ids []string, metadata map[string]string) error {
	return existing(c.commit(ctx, name, mediaType, ids, metadata, ifNew()))
}

func (c *Container) commit(
	ctx context.Context, name, mediaType string, ids []string, metadata map[string]string, when *blob.AccessConditions,
) error {
	_, err := c.client.NewBlockBlobClient(name).CommitBlockList(ctx, ids, &blockblob.CommitBlockListOptions{
		HTTPHeaders:      &blob.HTTPHeaders{BlobContentType: &mediaType},
		Metadata:         pointers(metadata),
		AccessConditions: when,
	})
	return explain("write", name, err)
}

// Stored is what the store says of a block blob.
type Stored struct {
	Size int64
	// SHA256 is what its writer said that it is, in the metadata.
	SHA256 string
	// MD5 is what the service found it to be; empty for a blob of blocks.
	MD5 []byte
}

// Look returns ErrNotFound if there is no such blob.
func (c *Container) Look(ctx context.Context, name string) (Stored, error) {
	properties, err := c.client.NewBlobClient(name).GetProperties(ctx, nil)
	if err != nil {
		return Stored{}, explain("look at", name, err)
	}
	return Stored{
		Size: *properties.ContentLength, SHA256: metadataOf(properties.Metadata, "sha256"), MD5: properties.ContentMD5,
	}, nil
}

// Blocks are the parts of a blob by their ids: those that it is made of, in their order, and the sizes of all that the
// service has, also of those that were staged and never committed. It returns ErrNotFound if there are none.
func (c *Container) Blocks(ctx context.Context, name string) (committed []string, sizes map[string]int64, err error) {
	lists, err := c.client.NewBlockBlobClient(name).GetBlockList(ctx, blockblob.BlockListTypeAll, nil)
	if err != nil {
		return nil, nil, explain("look at", name, err)
	}
	sizes = make(map[string]int64, len(lists.CommittedBlocks)+len(lists.UncommittedBlocks))
	for _, block := range lists.CommittedBlocks {
		committed = append(committed, *block.Name)
		sizes[*block.Name] = *block.Size
	}
	for _, block := range lists.UncommittedBlocks {
		sizes[*block.Name] = *block.Size
	}
	return committed, sizes, nil
}
