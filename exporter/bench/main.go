// Command bench uploads a directory as anybody would with the plain SDK: the baseline of bench/export.ts. It hashes nothing,
// checks nothing, and stores no manifest.
//
//	bench -url <container URL> -sas-file <file> -dir <directory> -prefix <blob prefix> -block <MiB> -parallel <n>
package main

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

func main() {
	url := flag.String("url", "", "the container")
	sasFile := flag.String("sas-file", "", "a file with a shared access signature for it")
	dir := flag.String("dir", "", "what to upload")
	prefix := flag.String("prefix", "", "of the blobs' names")
	block := flag.Int64("block", 8, "MiB of a block")
	parallel := flag.Int("parallel", 4, "blocks of a file, and files, at once")
	flag.Parse()
	if err := upload(*url, *sasFile, *dir, *prefix, *block<<20, *parallel); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func upload(url, sasFile, dir, prefix string, block int64, parallel int) error {
	sas, err := os.ReadFile(sasFile)
	if err != nil {
		return err
	}
	client, err := container.NewClientWithNoCredential(url+"?"+strings.TrimSpace(string(sas)), nil)
	if err != nil {
		return err
	}
	files := make(chan string)
	failed := make(chan error, parallel)
	var workers sync.WaitGroup
	for range parallel {
		workers.Go(func() {
			for path := range files {
				if err := uploadFile(client, path, prefix+strings.TrimPrefix(path, dir+"/"), block, parallel); err != nil {
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

func uploadFile(client *container.Client, path, name string, block int64, parallel int) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = client.NewBlockBlobClient(name).UploadFile(context.Background(), file,
		&blockblob.UploadFileOptions{BlockSize: block, Concurrency: uint16(parallel)})
	return err
}
