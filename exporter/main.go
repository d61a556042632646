// Command ke1-exporter runs beside a build, in the same pod, and carries its log and its artifacts to a blob store. It
// alone has the credential; the build never sees it.
//
// It is told what to do by its environment: see docs/exporter.md. Progress goes to standard error; the last words, an
// ExporterResult as JSON, are the only line on standard output and the container's termination message. Exit codes:
//
//	0  all there was to store is stored (also of a build that failed: its own container says so)
//	1  the export failed, or was stopped: another attempt may do
//	2  an environment variable is missing or wrong, or Azure does not let the identity in
//	3  no other attempt can do: the tag belongs to another tree, or an artifact can never be stored
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/kerbodyne/ke-1-build/exporter/internal/attempt"
	"github.com/kerbodyne/ke-1-build/exporter/internal/config"
	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
	"github.com/kerbodyne/ke-1-build/exporter/internal/store"
)

const (
	// memoryLimit is for Go's collector: the buffers need some 70 MiB at most, and the container's limit is 150 MiB.
	memoryLimit = 110 << 20
	// maxMessage keeps the last words below the 4096 bytes that Kubernetes takes.
	maxMessage = 1024
)

func main() {
	os.Exit(run())
}

func run() int {
	debug.SetMemoryLimit(memoryLimit)
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	c, err := config.FromEnvironment(os.Getenv)
	if err != nil {
		fmt.Fprintln(os.Stderr, store.Redact(err.Error()))
		if dir := os.Getenv("KE1_DIR"); dir != "" {
			attempt.Refuse(dir, "the exporter's configuration is wrong: see its log")
		}
		lastWords(os.Getenv("KE1_TERMINATION_LOG"), contract.Result{
			Outcome: contract.ExportFailed, Message: store.Redact(err.Error()),
		})
		return attempt.ExitConfiguration
	}
	result, code := attempt.Run(stop, c, os.Stderr)
	lastWords(c.TerminationLog, result)
	return code
}

func lastWords(path string, result contract.Result) {
	if runes := []rune(result.Message); len(runes) > maxMessage {
		result.Message = string(runes[:maxMessage]) + "..."
	}
	line, err := json.Marshal(result)
	if err != nil {
		panic(err) // a struct of strings and numbers
	}
	// Kubernetes has made the file; where it has not, nobody looks for one.
	if file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0); err == nil {
		_, _ = file.Write(line)
		_ = file.Close()
	}
	fmt.Printf("%s\n", line)
}
