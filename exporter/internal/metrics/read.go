// Package metrics carries the metrics that a build leaves in a file to Prometheus: pushed to a Pushgateway, or served until
// they have been scraped. What is in the file is hostile, and none of this is worth failing a build.
package metrics

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

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
	return parse(content, origin)
}

func parse(content []byte, origin Origin) (*Metrics, error) {
	// Editors and printf leave out the last line's end, which the parser asks for.
	if len(content) > 0 && content[len(content)-1] != '\n' {
		content = append(content, '\n')
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	m := &Metrics{}
	var sorted []*dto.MetricFamily
	for name, family := range families {
		if strings.HasPrefix(name, reserved) {
			return nil, fmt.Errorf("the metric %s has a name that begins with %s, which is taken", name, reserved)
		}
		if err := check(family); err != nil {
			return nil, err
		}
		m.Series += len(family.Metric)
		sorted = append(sorted, family)
	}
	if m.Series > maxSeries {
		return nil, fmt.Errorf("the file has %d series: more than %d", m.Series, maxSeries)
	}
	if m.Series == 0 {
		return nil, errors.New("the file has no metric in it")
	}
	slices.SortFunc(sorted, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	var text bytes.Buffer
	for _, family := range append(sorted, info(origin)) {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			return nil, err
		}
	}
	m.Text = text.Bytes()
	return m, nil
}

// check finds what the parser lets pass, and a Pushgateway or Prometheus would not.
func check(family *dto.MetricFamily) error {
	name := family.GetName()
	seen := map[string]bool{}
	for _, metric := range family.Metric {
		if metric.TimestampMs != nil {
			return fmt.Errorf("the metric %s has a timestamp: leave it out, they are of the time when they are read", name)
		}
		labels := map[string]bool{}
		slices.SortFunc(metric.Label, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
		var key strings.Builder
		for _, label := range metric.Label {
			switch label.GetName() {
			case "job", "namespace", "instance":
				return fmt.Errorf("the metric %s has a label %s, which is taken", name, label.GetName())
			}
			if labels[label.GetName()] {
				return fmt.Errorf("the metric %s has the label %s twice", name, label.GetName())
			}
			labels[label.GetName()] = true
			key.WriteString(label.GetName() + "=" + strconv.Quote(label.GetValue()) + ",")
		}
		if seen[key.String()] {
			return fmt.Errorf("the metric %s is there twice with the same labels", name)
		}
		seen[key.String()] = true
	}
	return nil
}

// info has the BUILD_TAG as a label: on each metric it would make new series of all of them with each commit.
func info(origin Origin) *dto.MetricFamily {
	name, help, one, kind := infoName, "The build that the metrics of this group are of.", 1.0, dto.MetricType_GAUGE
	family := &dto.MetricFamily{Name: &name, Help: &help, Type: &kind, Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: &one}}}}
	for _, label := range [][2]string{
		{"attempt", strconv.Itoa(origin.Attempt)}, {"build_job", origin.Job.Name}, {"build_tag", origin.BuildTag},
	} {
		family.Metric[0].Label = append(family.Metric[0].Label, &dto.LabelPair{Name: &label[0], Value: &label[1]})
	}
	return family
}
