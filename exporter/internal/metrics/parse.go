package metrics

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The text format of https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format, strictly: what is not
// taken here, a Pushgateway or Prometheus would not take either. Prometheus' own parser is not used because what comes with
// it makes this program larger by half.

// family is the lines of one metric.
type family struct {
	name, help, kind string
	samples          []sample
	seen             map[string]bool
	hasHelp          bool
}

type sample struct {
	name   string
	labels []label
	value  string
}

type label struct{ name, value string }

var (
	metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*`)
	labelName  = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*`)
	helpText   = regexp.MustCompile(`^([^\\]|\\[\\n])*$`)
	number     = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|^(NaN|[+-]?Inf)$`)
	kinds      = []string{"counter", "gauge", "histogram", "summary", "untyped"}
)

type reader struct {
	families []*family
	byName   map[string]*family
	series   int
}

func parseText(content string) (*reader, error) {
	r := &reader{byName: map[string]*family{}}
	if !utf8.ValidString(content) {
		return nil, errors.New("the file is not valid UTF-8")
	}
	n := 0
	for line := range strings.SplitSeq(content, "\n") {
		n++
		if err := r.line(strings.Trim(line, " \t\r")); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return r, nil
}

func (r *reader) line(line string) error {
	if line == "" {
		return nil
	}
	if line[0] != '#' {
		return r.sample(line)
	}
	words := strings.Fields(line[1:])
	if len(words) == 0 || words[0] != "HELP" && words[0] != "TYPE" {
		return nil
	}
	if len(words) < 2 || metricName.FindString(words[1]) != words[1] {
		return fmt.Errorf("%s is not followed by the name of a metric", words[0])
	}
	f, err := r.family(words[1])
	if err != nil {
		return err
	}
	if words[0] == "HELP" {
		if f.hasHelp {
			return fmt.Errorf("%s has HELP twice", f.name)
		}
		_, after, _ := strings.Cut(line, "HELP")
		_, text, _ := strings.Cut(strings.TrimLeft(after, " \t"), f.name)
		f.help, f.hasHelp = strings.TrimLeft(text, " \t"), true
		if !helpText.MatchString(f.help) {
			return fmt.Errorf(`HELP of %s has a \ that is followed by neither \ nor n`, f.name)
		}
		return nil
	}
	switch {
	case f.kind != "":
		return fmt.Errorf("%s has TYPE twice", f.name)
	case len(f.samples) > 0:
		return fmt.Errorf("TYPE of %s comes after its first line", f.name)
	case len(words) != 3 || !slices.Contains(kinds, words[2]):
		return fmt.Errorf("TYPE of %s is none of %s", f.name, strings.Join(kinds, ", "))
	}
	f.kind = words[2]
	return nil
}

// family returns the one that is being read, or begins it: all lines of a metric are to be together.
func (r *reader) family(name string) (*family, error) {
	if f := r.byName[name]; f != nil {
		if f != r.families[len(r.families)-1] {
			return nil, fmt.Errorf("the lines of %s are not together", name)
		}
		return f, nil
	}
	if strings.HasPrefix(name, reserved) {
		return nil, fmt.Errorf("the name %s begins with %s, which is taken", name, reserved)
	}
	f := &family{name: name, seen: map[string]bool{}}
	r.byName[name] = f
	r.families = append(r.families, f)
	return f, nil
}

func (r *reader) sample(line string) error {
	s := sample{name: metricName.FindString(line)}
	if s.name == "" {
		return errors.New("it does not begin with the name of a metric")
	}
	rest := strings.TrimLeft(line[len(s.name):], " \t")
	if strings.HasPrefix(rest, "{") {
		var err error
		if s.labels, rest, err = readLabels(rest[1:]); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	} else if rest == line[len(s.name):] {
		return fmt.Errorf("%s is followed by neither labels nor a number", s.name)
	}
	words := strings.Fields(rest)
	switch {
	case len(words) == 0 || !number.MatchString(words[0]):
		return fmt.Errorf("%s has no number", s.name)
	case len(words) > 1:
		return fmt.Errorf("%s has a timestamp: leave it out, its time is when it is read", s.name)
	}
	s.value = words[0]
	f, err := r.family(r.familyOf(s.name))
	if err != nil {
		return err
	}
	slices.SortFunc(s.labels, func(a, b label) int { return strings.Compare(a.name, b.name) })
	if err := f.check(s); err != nil {
		return err
	}
	if r.series++; r.series > maxSeries {
		return fmt.Errorf("there are more than %d series", maxSeries)
	}
	f.samples = append(f.samples, s)
	return nil
}

// familyOf is the name of the histogram or summary that a line belongs to, or its own.
func (r *reader) familyOf(name string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		base, found := strings.CutSuffix(name, suffix)
		if f := r.byName[base]; found && f != nil && (f.kind == "histogram" || f.kind == "summary" && suffix != "_bucket") {
			return base
		}
	}
	return name
}

func (f *family) check(s sample) error {
	key := s.name
	for i, l := range s.labels {
		switch {
		case slices.Contains([]string{"job", "namespace", "instance"}, l.name) || strings.HasPrefix(l.name, "__"):
			return fmt.Errorf("%s has a label %s, which is taken", s.name, l.name)
		case i > 0 && s.labels[i-1].name == l.name:
			return fmt.Errorf("%s has the label %s twice", s.name, l.name)
		}
		key += "," + l.name + "=" + strconv.Quote(l.value)
	}
	if f.seen[key] {
		return fmt.Errorf("%s is there twice with the same labels", s.name)
	}
	f.seen[key] = true
	switch needed := map[string]string{"histogram_bucket": "le", "summary": "quantile"}[f.kind+strings.TrimPrefix(s.name, f.name)]; {
	case needed != "":
		i := slices.IndexFunc(s.labels, func(l label) bool { return l.name == needed })
		if i < 0 || !number.MatchString(s.labels[i].value) {
			return fmt.Errorf("%s has no label %s with a number", s.name, needed)
		}
	case f.kind == "histogram" && s.name == f.name:
		return fmt.Errorf("%s is a histogram: it has _bucket, _sum and _count", s.name)
	}
	return nil
}

// readLabels reads what comes after an opening brace.
func readLabels(text string) (labels []label, rest string, err error) {
	for {
		text = strings.TrimLeft(text, " \t")
		if rest, found := strings.CutPrefix(text, "}"); found {
			return labels, rest, nil
		}
		name := labelName.FindString(text)
		if name == "" {
			return nil, "", errors.New("a label has no name")
		}
		text = strings.TrimLeft(text[len(name):], " \t")
		var found, quoted bool
		text, found = strings.CutPrefix(text, "=")
		text, quoted = strings.CutPrefix(strings.TrimLeft(text, " \t"), `"`)
		if !found || !quoted {
			return nil, "", fmt.Errorf("the label %s is not followed by a value in quotes", name)
		}
		var value strings.Builder
		for {
			i := strings.IndexAny(text, `"\`)
			if i < 0 || text[i] == '\\' && i+1 == len(text) {
				return nil, "", fmt.Errorf("the value of the label %s has no end", name)
			}
			value.WriteString(text[:i])
			c := text[i]
			text = text[i+1:]
			if c == '"' {
				break
			}
			switch text[0] {
			case 'n':
				value.WriteByte('\n')
			case '\\', '"':
				value.WriteByte(text[0])
			default:
				return nil, "", fmt.Errorf(`the value of the label %s has a \ that is followed by none of \, " and n`, name)
			}
			text = text[1:]
		}
		labels = append(labels, label{name, value.String()})
		text = strings.TrimLeft(text, " \t")
		if more, found := strings.CutPrefix(text, ","); found {
			text = more
		} else if !strings.HasPrefix(text, "}") {
			return nil, "", fmt.Errorf("the label %s is followed by neither a comma nor a brace", name)
		}
	}
}

var escapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

func (f *family) write(b *strings.Builder) {
	if len(f.samples) == 0 {
		return
	}
	if f.hasHelp {
		// As it was: its escapes are those of the format.
		fmt.Fprintf(b, "# HELP %s %s\n", f.name, f.help)
	}
	kind := f.kind
	if kind == "" {
		kind = "untyped"
	}
	fmt.Fprintf(b, "# TYPE %s %s\n", f.name, kind)
	for _, s := range f.samples {
		b.WriteString(s.name)
		for i, l := range s.labels {
			b.WriteByte("{,"[min(i, 1)])
			fmt.Fprintf(b, `%s="%s"`, l.name, escapes.Replace(l.value))
		}
		if len(s.labels) > 0 {
			b.WriteByte('}')
		}
		fmt.Fprintf(b, " %s\n", s.value)
	}
}
