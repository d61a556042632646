package sinks

import (
	"bytes"
	"strings"
	"time"
	"unicode/utf8"
)

// maxLine bounds a line; a longer one is told in parts. Loki takes 256 KB (max_line_size,
// https://grafana.com/docs/loki/latest/configure/#limits_config); a keyword of Elasticsearch's takes 32,766 bytes
// (https://www.elastic.co/docs/reference/elasticsearch/mapping-reference/ignore-above), and its parts have marks.
const maxLine = 32_000

// partMark ends a part of a line that goes on, and begins the next.
const partMark = "…"

// line is what a receiver gets.
type line struct {
	source *source
	// at is in nanoseconds since 1970, and larger than that of the line before.
	at int64
	// number counts the lines of a source.
	number int64
	text   string
}

// source is where lines come from: the build's output, or a file.
type source struct {
	name  string
	index int
}

// Stream takes the bytes of one source, in pieces that end anywhere, and hands on lines. A nil Stream takes all and does
// nothing. For one goroutine.
type Stream struct {
	set     *Set
	source  *source
	partial []byte
	part    bool
	at      int64
	number  int64
}

// Write hands on the lines that have ended. It does not wait for anybody.
func (s *Stream) Write(at time.Time, content []byte) {
	if s == nil {
		return
	}
	for len(content) > 0 {
		end := bytes.IndexByte(content, '\n')
		if end < 0 {
			s.partial = s.split(at, append(s.partial, content...))
			return
		}
		text := content[:end]
		if len(s.partial) > 0 {
			text = append(s.partial, text...)
		}
		s.emit(at, s.split(at, text), false)
		s.partial = s.partial[:0]
		content = content[end+1:]
	}
}

// End hands on a last line that has no end.
func (s *Stream) End(at time.Time) {
	if s != nil && (len(s.partial) > 0 || s.part) {
		s.emit(at, s.partial, false)
		s.partial = nil
	}
}

// split hands on all of a line that is longer than a part, and returns the rest.
func (s *Stream) split(at time.Time, text []byte) []byte {
	for len(text) > maxLine {
		end := maxLine
		for back := 0; back < utf8.UTFMax && !utf8.RuneStart(text[end]); back++ {
			end--
		}
		s.emit(at, text[:end], true)
		text = text[end:]
	}
	return text
}

func (s *Stream) emit(at time.Time, text []byte, goesOn bool) {
	if !goesOn {
		text = bytes.TrimSuffix(text, []byte("\r"))
	}
	said := strings.ToValidUTF8(string(text), "\uFFFD")
	if s.part {
		said = partMark + said
	}
	if s.part = goesOn; goesOn {
		said += partMark
	}
	// As fine as Loki's order: two lines of one stream never have the same time.
	s.at = max(at.UnixNano(), s.at+1)
	s.number++
	for _, sink := range s.set.sinks {
		sink.offer(line{source: s.source, at: s.at, number: s.number, text: said})
	}
}
