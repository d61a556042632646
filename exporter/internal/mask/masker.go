// Package mask hides secrets in a stream before it leaves the pod: given values, and what has the shape of a token.
package mask

import "bytes"

// replacement stands for what was hidden. Neighbours become one.
const replacement = "***"

// maxHold bounds what a shape may hold back, and so the memory; a longer token is hidden without being kept.
const maxHold = 16 << 10

// verdict is what a candidate says of a text that begins with it, perhaps.
type verdict int

const (
	no verdict = iota
	// more: the text ends before that can be said.
	more
	yes
)

// match is what is to be hidden: text[start:end]. If it goes on beyond what may be held back, rest says which bytes are it.
type match struct {
	start, end int
	rest       *class
}

// lead are the two bytes before a text; 0 at the beginning of the stream.
type lead [2]byte

// candidate is looked at where the text has its first bytes.
type candidate interface {
	// first is at least gramSize bytes long.
	first() []byte
	// look may be given a text that goes on later, unless final.
	look(text []byte, before lead, final bool) (match, verdict)
}

// Masker hides secrets in one stream. Its memory is bounded, and it holds back no more than what may be the beginning of a
// secret.
type Masker struct {
	index *index
	// folds: a base64 text may be broken into lines anywhere.
	folds bool

	held []byte
	// position is where in held to go on, verbatim from where it has not been passed on, hidden up to where it must not be.
	position, verbatim int
	before             lead
	// joins: the last thing that was passed on is a replacement, and nothing came in between.
	joins bool
	rest  *class
	out   []byte
	count int64
}

// New makes a mask for the given values, in several forms, and for tokens.
func New(secrets Secrets) *Masker {
	m := &Masker{index: &index{}, folds: len(secrets.values) > 0}
	for _, c := range shapes() {
		m.index.add(c, false)
	}
	for _, value := range secrets.values {
		for _, literal := range literalsOf(value) {
			m.index.add(literal, literal.folds)
		}
	}
	return m
}

// Another is a mask for another stream. It shares all that takes room.
func (m *Masker) Another() *Masker { return &Masker{index: m.index, folds: m.folds} }

// Count is how often something was hidden.
func (m *Masker) Count() int64 { return m.count }

// Next takes the next piece and returns what may leave. The result is valid until the next call.
func (m *Masker) Next(piece []byte) []byte {
	m.out = m.out[:0]
	if len(m.held) == 0 {
		m.scan(piece, false)
	} else {
		m.held = append(m.held, piece...)
		m.scan(m.held, false)
	}
	return m.out
}

// End returns what was held back.
func (m *Masker) End() []byte {
	m.out = m.out[:0]
	m.scan(m.held, true)
	return m.out
}

// Ease returns the last few characters, fewer than would find a secret, and a line break after them, that were only held back
// because one might begin there. To be called when nothing has come for a while: what a build prints last, perhaps without
// a line's end, is to be seen. Should it be the beginning of a secret after all, the rest of it is hidden.
func (m *Masker) Ease() []byte {
	m.out = m.out[:0]
	if m.position < m.verbatim || len(bytes.TrimRight(m.held[min(m.position, len(m.held)):], "\r\n")) >= gramSize {
		return nil
	}
	m.pass(m.held, len(m.held))
	return m.out
}

// scan passes on what it can of text, and keeps the rest.
func (m *Masker) scan(text []byte, final bool) {
	p := m.position
	for {
		m.swallow(text)
		if p = m.index.next(text, p, m.folds); p >= len(text) {
			break
		}
		found, said := m.index.look(text, p, m.beforeOf(text, p), final)
		if said == more {
			break
		}
		if said == yes {
			m.hide(text, p, found)
		}
		p++
	}
	keep := p
	if m.folds && !final && keep == len(text) && keep > 0 && isBase64[text[keep-1]] {
		// A base64 text of a secret may begin within this character.
		keep, p = keep-1, p-1
	} else if keep > m.verbatim && keep < len(text) {
		// And the one before what may be such a text.
		keep--
	}
	m.pass(text, keep)
	m.before = m.beforeOf(text, keep)
	// text may be held itself.
	m.held = append(m.held[:0], text[keep:]...)
	m.position = p - keep
	m.verbatim = max(m.verbatim-keep, 0)
}

// pass hands on text[verbatim:end].
func (m *Masker) pass(text []byte, end int) {
	if end > m.verbatim {
		m.out = append(m.out, text[m.verbatim:end]...)
		m.verbatim = end
		m.joins = false
	}
}

func (m *Masker) hide(text []byte, p int, found match) {
	start := p + found.start
	if found.start < 0 {
		// The character before holds a part of it, if it is one of base64.
		start = p
		last := p - 1
		for last > m.verbatim && isBreak(text[last]) {
			last--
		}
		if last >= m.verbatim && isBase64[text[last]] {
			start = last
		}
	}
	m.pass(text, start)
	if !m.joins {
		m.out = append(m.out, replacement...)
		m.joins = true
		m.count++
	}
	m.verbatim = max(m.verbatim, p+found.end)
	if found.rest != nil && p+found.end == len(text) {
		m.rest = found.rest
	}
}

// swallow passes over what goes on of a token that was too long to be held back.
func (m *Masker) swallow(text []byte) {
	if m.rest == nil {
		return
	}
	end := m.verbatim
	for end < len(text) && m.rest[text[end]] {
		end++
	}
	m.verbatim = end
	if end < len(text) {
		m.rest = nil
	}
}

func (m *Masker) beforeOf(text []byte, p int) lead {
	switch p {
	case 0:
		return m.before
	case 1:
		return lead{m.before[1], text[0]}
	}
	return lead{text[p-2], text[p-1]}
}
