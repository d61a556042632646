package mask

import (
	"bytes"
	"regexp"
	"strings"
)

// privateKey is a private key in PEM (https://www.rfc-editor.org/rfc/rfc7468), also one whose line breaks or blanks are
// escaped, as in JSON or a URL, and one without its end.
type privateKey struct{}

const (
	blank  = `(?: |\+|%20)`
	pemKey = `(?:[A-Z0-9]+` + blank + `){0,3}PRIVATE` + blank + `KEY(?:` + blank + `BLOCK)?-----`
)

var (
	pemBegin = regexp.MustCompile(`^-----BEGIN` + blank + pemKey)
	pemEnd   = regexp.MustCompile(`-----END` + blank + pemKey)
	// pemLine is a line of a key, or of the headers that an encrypted one has; quotes and bars are of what it is printed by.
	pemLine  = regexp.MustCompile(`^[ \t"'|>]*(?:[A-Za-z0-9+/=%\\]*[ \t"',;]*|(?:Proc-Type|DEK-Info|Comment|Version|Hash): .*)\r?$`)
	pemStart = regexp.MustCompile(`^[ \t"'|>]*[A-Za-z0-9+/=%\\]*`)
	pemFull  = regexp.MustCompile(`[A-Za-z0-9+/]{40}`)
	pemHead  = classOf(" +%-")
	pemClass = classOf("+/=%\\\r\n \t")
)

// maxPEMHead is longer than any line that a key begins with.
const maxPEMHead = 80

func (privateKey) first() []byte { return []byte("-----BEGIN ")[:gramSize] }

func (privateKey) look(text []byte, _ lead, final bool) (match, verdict) {
	if said := begins(text, "-----BEGIN", final); said != yes {
		return match{}, said
	}
	head := pemBegin.FindIndex(text[:min(len(text), maxPEMHead)])
	if head == nil {
		for _, b := range text[:min(len(text), maxPEMHead)] {
			if !pemHead[b] {
				return match{}, no
			}
		}
		if final || len(text) >= maxPEMHead {
			return match{}, no
		}
		return match{}, more
	}
	body := text[head[1]:min(len(text), maxHold)]
	if end := pemEnd.FindIndex(body); end != nil {
		return match{end: head[1] + end[1]}, yes
	}
	// Without its end: as many lines as look like it, as long as they do.
	hidden, at, full, ended := 0, 0, false, false
	for at < len(body) && !ended {
		line := body[at:]
		length := bytes.IndexByte(line, '\n')
		if length >= 0 {
			line = line[:length]
		}
		if length < 0 {
			// The end may be on its way.
			if dash := bytes.IndexByte(line, '-'); dash >= 0 && strings.HasPrefix("-----END", string(line[dash:min(len(line), dash+8)])) {
				line = line[:dash]
			}
		}
		if !pemLine.Match(line) {
			if full {
				// The key may have been cut in the middle of this line.
				hidden = at + len(pemStart.Find(line))
			}
			ended = true
			break
		}
		isFull := pemFull.Match(line)
		next := at + length + 1
		if length < 0 {
			// The last of what there is.
			next = at + len(line)
		}
		// The last line of a key may be short.
		if isFull || full {
			hidden = next
		}
		if full = isFull; length < 0 {
			break
		}
		at = next
	}
	switch {
	case !ended && !final && len(text) < maxHold:
		return match{}, more
	case hidden == 0:
		return match{}, no
	case !ended && len(text) >= maxHold:
		return match{end: head[1] + hidden, rest: pemClass}, yes
	}
	// Not the line's end, nor what encloses the key: what follows stays as it is.
	hidden = len(bytes.TrimRight(body[:hidden], "\r\n\t \"',;"))
	return match{end: head[1] + hidden}, yes
}
