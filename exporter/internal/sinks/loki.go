package sinks

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// loki speaks https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs: JSON, which it takes from everybody.
// A stream is one log of one attempt; its labels are few, as Loki asks for.
type loki struct{ origin Origin }

func (p *loki) encode(lines []line, into *bytes.Buffer) string {
	type stream struct {
		source *source
		lines  []line
	}
	var streams []*stream
	known := map[*source]*stream{}
	for _, l := range lines {
		s := known[l.source]
		if s == nil {
			s = &stream{source: l.source}
			known[l.source] = s
			streams = append(streams, s)
		}
		s.lines = append(s.lines, l)
	}
	into.WriteString(`{"streams":[`)
	for i, s := range streams {
		if i > 0 {
			into.WriteByte(',')
		}
		into.WriteString(`{"stream":`)
		writeJSON(into, map[string]string{
			"build_tag": p.origin.BuildTag,
			"namespace": p.origin.Job.Namespace,
			"job":       p.origin.Job.Name,
			"attempt":   strconv.Itoa(p.origin.Attempt),
			"source":    s.source.name,
		})
		into.WriteString(`,"values":[`)
		for j, l := range s.lines {
			if j > 0 {
				into.WriteByte(',')
			}
			into.WriteString(`["`)
			into.WriteString(strconv.FormatInt(l.at, 10))
			into.WriteString(`",`)
			writeJSON(into, l.text)
			into.WriteByte(']')
		}
		into.WriteString(`]}`)
	}
	into.WriteString(`]}`)
	return "application/json"
}

// judge: an answer that is no error says that all were taken. One with 400 may have been to a part of them only; the lines
// that Loki then names as too old, or out of order, it would not take later either.
func (*loki) judge([]line, int, []byte) (again []line, refused int, problem string) {
	return nil, 0, ""
}

func writeJSON(into *bytes.Buffer, value any) {
	encoder := json.NewEncoder(into)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // strings and maps of them
	// The encoder ends each value with a line break, which would end a line of NDJSON.
	into.Truncate(into.Len() - 1)
}
