package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	// maxTag: a failure's message is an attribute, and may have a whole stack in it.
	maxTag = 1 << 20
	// maxReport bounds what is read of one report, in bytes.
	maxReport = 1 << 30
)

// tagReader passes on a document's tags alone. What tests print is in the text between them, of any size, and is not needed:
// so a report of a gigabyte takes no more memory than one of a kilobyte. A DOCTYPE, by which a small document can be a large
// one, is refused: no report has one.
type tagReader struct {
	in      *bufio.Reader
	pending []byte
	tag     []byte
}

func newTagReader(in io.Reader) *tagReader {
	return &tagReader{in: bufio.NewReaderSize(&bounded{in, maxReport}, 64<<10)}
}

func (r *tagReader) Read(p []byte) (int, error) {
	for len(r.pending) == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.pending)
	r.pending = r.pending[n:]
	return n, nil
}

// next finds the next tag.
func (r *tagReader) next() error {
	if err := r.skipTo("<"); err != nil {
		return err
	}
	begin, err := r.in.Peek(8)
	switch {
	case len(begin) == 0:
		return unexpected(err)
	case begin[0] == '?':
		return unexpected(r.skipTo("?>"))
	case bytes.HasPrefix(begin, []byte("!--")):
		_, _ = r.in.Discard(3)
		return unexpected(r.skipTo("-->"))
	case bytes.HasPrefix(begin, []byte("![CDATA[")):
		_, _ = r.in.Discard(8)
		return unexpected(r.skipTo("]]>"))
	case begin[0] == '!':
		return errors.New("it has a DOCTYPE, which no report needs")
	}
	return r.readTag()
}

func (r *tagReader) readTag() error {
	r.tag = append(r.tag[:0], '<')
	var quote byte
	for {
		c, err := r.in.ReadByte()
		if err != nil {
			return unexpected(err)
		}
		if len(r.tag) >= maxTag {
			return fmt.Errorf("it has a tag of more than %d bytes", maxTag)
		}
		r.tag = append(r.tag, c)
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			// Reports are written with what tests print, in whatever encoding that was.
			r.pending = bytes.ToValidUTF8(r.tag, []byte("?"))
			return nil
		}
	}
}

// skipTo reads up to and with an end, and holds none of it.
func (r *tagReader) skipTo(end string) error {
	last := end[len(end)-1]
	var tail []byte
	for {
		part, err := r.in.ReadSlice(last)
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
		tail = append(tail, part[max(0, len(part)-len(end)):]...)
		tail = tail[max(0, len(tail)-len(end)):]
		if err == nil && string(tail) == end {
			return nil
		}
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// bounded is a reader that fails, instead of ending, where there is more than may be.
type bounded struct {
	in   io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("it is larger than %d bytes", maxReport)
	}
	n, err := b.in.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
