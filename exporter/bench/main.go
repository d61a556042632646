// Command bench uploads a directory as anybody would with the plain SDK: the baseline of bench/export.ts. It hashes nothing,
// checks nothing, and stores no manifest.
//
//	bench -url <container URL> -sas-file <file> -dir <directory> -prefix <blob prefix> -block <MiB> -parallel <n> [-md5]
package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"golang.org/x/sync/errgroup"
)

func main() {
	url := flag.String("url", "", "the container")
	sasFile := flag.String("sas-file", "", "a file with a shared access signature for it")
	dir := flag.String("dir", "", "what to upload")
	prefix := flag.String("prefix", "", "of the blobs' names")
	block := flag.Int64("block", 8, "MiB of a block; 0: each file in one request")
	parallel := flag.Int("parallel", 4, "blocks of a file, and files, at once")
	md5 := flag.Bool("md5", false, "send each block's MD5: a service that gets none may compute something else, and take longer")
	flag.Parse()
	if err := upload(*url, *sasFile, *dir, &uploader{block: *block << 20, parallel: *parallel, md5: *md5}, *prefix); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

type uploader struct {
	client   *container.Client
	block    int64
	parallel int
	md5      bool
}

func upload(url, sasFile, dir string, u *uploader, prefix string) error {
	sas, err := os.ReadFile(sasFile)
	if err != nil {
		return err
	}
	u.client, err = container.NewClientWithNoCredential(url+"?"+strings.TrimSpace(string(sas)), nil)
	if err != nil {
		return err
	}
	files := make(chan string)
	failed := make(chan error, u.parallel)
	var workers sync.WaitGroup
	for range u.parallel {
		workers.Go(func() {
			for path := range files {
				if err := u.file(path, prefix+strings.TrimPrefix(path, dir+"/")); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	walked := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		select {
		case files <- path:
			return nil
		case err := <-failed:
			return err
		}
	})
	close(files)
	workers.Wait()
	if walked != nil {
		return walked
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

func (u *uploader) file(path, name string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	stat, err := file.Stat()
	if err != nil {
		return err
	}
	client := u.client.NewBlockBlobClient(name)
	switch {
	case u.block == 0:
		_, err = client.Upload(context.Background(), file, nil)
	case u.md5 && stat.Size() > u.block:
		err = u.blocks(client, file, stat.Size())
	default:
		_, err = client.UploadFile(context.Background(), file,
			&blockblob.UploadFileOptions{BlockSize: u.block, Concurrency: uint16(u.parallel)})
	}
	return err
}

// blocks is UploadFile by hand, as it computes no MD5.
func (u *uploader) blocks(client *blockblob.Client, file io.ReaderAt, size int64) error {
	ids := make([]string, (size+u.block-1)/u.block)
	group, ctx := errgroup.WithContext(context.Background())
	group.SetLimit(u.parallel)
	for i := range ids {
		ids[i] = base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, uint32(i)))
		group.Go(func() error {
			offset := int64(i) * u.block
			content := make([]byte, min(u.block, size-offset))
			if _, err := file.ReadAt(content, offset); err != nil {
				return err
			}
			sum := md5.Sum(content)
			_, err := client.StageBlock(ctx, ids[i], streaming.NopCloser(bytes.NewReader(content)),
				&blockblob.StageBlockOptions{TransactionalValidation: blob.TransferValidationTypeMD5(sum[:])})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	_, err := client.CommitBlockList(context.Background(), ids, nil)
	return err
}
