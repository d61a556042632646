// Command junit-summary is a sidecar: it waits for a build's end and says what the JUnit reports in $KE1_REPORTS come to. What
// it writes to $KE1_SUMMARY goes into the build's manifest. docs/environments.md says what a sidecar is told, and how.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	// pollInterval is how often to look whether the build has ended.
	pollInterval = 100 * time.Millisecond
)

func main() {
	if err := run(os.Getenv("KE1_BUILD_EXIT"), os.Getenv("KE1_REPORTS"), os.Getenv("KE1_SUMMARY")); err != nil {
		fmt.Fprintf(os.Stderr, "junit-summary: %v\n", err)
		os.Exit(1)
	}
}

func run(buildExit, reports, summaryFile string) error {
	if buildExit == "" || reports == "" || summaryFile == "" {
		return fmt.Errorf("KE1_BUILD_EXIT, KE1_REPORTS and KE1_SUMMARY must be set, as they are for a sidecar")
	}
	how := await(buildExit)
	fmt.Printf("the build ended with %s\n", how)
	summary, err := summarize(reports)
	if err != nil {
		return err
	}
	if summary.Reports == 0 {
		// Says nothing: no tests is not zero tests.
		fmt.Println("it left no JUnit report")
		return nil
	}
	fmt.Printf("%d tests in %d reports: %d failures, %d errors, %d skipped\n",
		summary.Tests, summary.Reports, summary.Failures, summary.Errors, summary.Skipped)
	for _, problem := range summary.Unreadable {
		fmt.Printf("not read: %s\n", problem)
	}
	content, err := json.Marshal(summary)
	if err != nil {
		return err
	}
	// Written whole, then renamed: half a summary is none.
	if err := os.WriteFile(summaryFile+".new", content, 0o644); err != nil {
		return err
	}
	return os.Rename(summaryFile+".new", summaryFile)
}

func await(buildExit string) string {
	for {
		if content, err := os.ReadFile(buildExit); err == nil {
			return strings.TrimSpace(string(content))
		}
		time.Sleep(pollInterval)
	}
}
