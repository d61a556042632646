// Package metrics carries the metrics that a build leaves in a file to Prometheus: pushed to a Pushgateway, or served until
// they have been scraped. What is in the file is hostile, and none of this is worth failing a build.
package metrics

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
)

const (
	maxSize   = 1 << 20
	maxSeries = 10_000
	// infoName is the metric that says which build the others are of.
	infoName = "ke1_build_metrics_info"
	// reserved begins the names of this program's own metrics.
	reserved = "ke1_build_"
)

// Origin is the build whose metrics they are.
type Origin struct {
	BuildTag string
	Job      contract.Job
	Attempt  int
}

// Metrics are what was in the file, checked, in Prometheus' text format, with one more that says whose they are.
type Metrics struct {
	Text   []byte
	Series int
}

// Read takes all of a file or, where anything in it is wrong, nothing: os.ErrNotExist where there is none.
func Read(open func() (*os.File, error), origin Origin) (*Metrics, error) {
	file, err := open()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxSize {
		return nil, fmt.Errorf("the file of metrics is larger than %d bytes", maxSize)
	}
	return parse(string(content), origin)
}

func parse(content string, origin Origin) (*Metrics, error) {
	found, err := parseText(content)
	if err != nil {
		return nil, err
	}
	if found.series == 0 {
		return nil, errors.New("the file has no metric in it")
	}
	slices.SortFunc(found.families, func(a, b *family) int { return cmp.Compare(a.name, b.name) })
	var text strings.Builder
	for _, f := range append(found.families, info(origin)) {
		f.write(&text)
	}
	return &Metrics{Text: []byte(text.String()), Series: found.series}, nil
}

// info has the BUILD_TAG as a label: on each metric it would make new series of all of them with each commit.
func info(origin Origin) *family {
	return &family{
		name: infoName, help: "The build that the metrics of this group are of.", hasHelp: true, kind: "gauge",
		samples: []sample{{name: infoName, value: "1", labels: []label{
			{"attempt", strconv.Itoa(origin.Attempt)}, {"build_job", origin.Job.Name}, {"build_tag", origin.BuildTag},
		}}},
	}
}
