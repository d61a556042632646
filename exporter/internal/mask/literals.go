package mask

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
)

const (
	// minLength of a value, and of a line of it: shorter ones would hide half of the log.
	minLength = 6
	// pieceLength: a longer value is hidden in pieces, so that what is held back stays small.
	pieceLength = 512
)

// literal is one form of a value.
type literal struct {
	text []byte
	// folds: it may be broken into lines. leads: the character before may have a part of it, and tail: the one after it, and
	// then padding.
	folds, leads, tail bool
}

func (l *literal) first() []byte { return l.text }

func (l *literal) look(text []byte, _ lead, final bool) (match, verdict) {
	i := 0
	for j := 0; j < len(l.text); i++ {
		if i == len(text) {
			if final {
				return match{}, no
			}
			return match{}, more
		}
		if l.folds && j > 0 && breaksLine(text, i) {
			continue
		}
		if text[i] != l.text[j] {
			return match{}, no
		}
		j++
	}
	found := match{end: i}
	if l.leads {
		found.start = -1
	}
	if !l.tail {
		return found, yes
	}
	// The character that has the last bits, perhaps in the next line, and then padding.
	for i < len(text) && breaksLine(text, i) {
		i++
	}
	if i < len(text) && isBase64[text[i]] {
		i++
	}
	for i < len(text) && text[i] == '=' {
		i++
	}
	if i == len(text) && !final {
		return match{}, more
	}
	found.end = i
	return found, yes
}

// literalsOf gives all forms of a value: as it is, in JSON, in a URL, and in base64 at each of the three places that it can
// have in a group of bytes; of a value of several lines also each line.
func literalsOf(value string) []*literal {
	values := []string{value}
	if trimmed := strings.TrimSpace(value); len(trimmed) >= minLength {
		values = append(values, trimmed)
	}
	if strings.ContainsAny(value, "\r\n") {
		values = append(values, strings.ReplaceAll(strings.ReplaceAll(value, "\r\n", "\n"), "\n", "\r\n"))
		for line := range strings.SplitSeq(value, "\n") {
			if line = strings.TrimSpace(line); len(line) >= minLength {
				values = append(values, line)
			}
		}
	}
	seen := map[literalKey]bool{}
	var literals []*literal
	add := func(l literal) {
		key := literalKey{string(l.text), l.folds, l.leads, l.tail}
		if len(l.text) >= gramSize && !seen[key] {
			seen[key] = true
			literals = append(literals, &l)
		}
	}
	for _, value := range values {
		for _, piece := range piecesOf(value) {
			for _, form := range plainForms(piece) {
				add(literal{text: []byte(form)})
			}
			for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				for shift := range 3 {
					add(base64Form(piece, shift, encoding))
				}
			}
		}
	}
	return literals
}

type literalKey struct {
	text               string
	folds, leads, tail bool
}

// piecesOf cuts a long value; no piece is short.
func piecesOf(value string) []string {
	var pieces []string
	for len(value) >= 2*pieceLength {
		pieces = append(pieces, value[:pieceLength])
		value = value[pieceLength:]
	}
	return append(pieces, value)
}

// plainForms are the value itself, and what escapes make of it: JSON's, and those of the parts of a URL, which differ in
// what they leave (https://url.spec.whatwg.org/#percent-encoded-bytes), with hexadecimal digits of either case.
func plainForms(value string) []string {
	forms := []string{value}
	for _, forHTML := range []bool{false, true} {
		var quoted strings.Builder
		encoder := json.NewEncoder(&quoted)
		encoder.SetEscapeHTML(forHTML)
		if encoder.Encode(value) == nil {
			forms = append(forms, strings.TrimSuffix(strings.TrimPrefix(quoted.String(), `"`), "\"\n"))
		}
	}
	for _, kept := range []string{
		// RFC 3986's unreserved; what encodeURIComponent leaves; what encodeURI leaves; a path's segment; and nothing.
		"-_.~", "-_.~!*'()", "-_.~!*'();/?:@&=+$,#", "-_.~$&+=:@", "-_.*",
	} {
		upper := percentEncoded(value, kept, true)
		forms = append(forms, upper, lowerHex(upper))
	}
	query := url.QueryEscape(value)
	all := percentEncoded(value, "", false)
	return append(forms, query, lowerHex(query), all, lowerHex(all))
}

func percentEncoded(value, kept string, alphanumerics bool) string {
	const digits = "0123456789ABCDEF"
	var encoded strings.Builder
	for i := range len(value) {
		b := value[i]
		if alphanumerics && (isAlphanumeric[b] || strings.IndexByte(kept, b) >= 0) {
			encoded.WriteByte(b)
		} else {
			encoded.Write([]byte{'%', digits[b>>4], digits[b&15]})
		}
	}
	return encoded.String()
}

func lowerHex(encoded string) string {
	lower := []byte(encoded)
	for i := 0; i+2 < len(lower); i++ {
		if lower[i] == '%' {
			copy(lower[i+1:], strings.ToLower(encoded[i+1:i+3]))
		}
	}
	return string(lower)
}

// leads has, for each place in a group of three bytes, how many characters have something of the bytes before.
var leads = [3]int{0, 2, 3}

// base64Form is what base64 makes of a value that comes after shift bytes of a group: those characters that hold nothing
// else. Of the characters at both ends, which do, the mask takes care.
func base64Form(value string, shift int, encoding *base64.Encoding) literal {
	encoded := encoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + value))
	bits := 8 * (shift + len(value))
	if bits/6 <= leads[shift] {
		return literal{}
	}
	return literal{text: []byte(encoded[leads[shift] : bits/6]), folds: true, leads: shift > 0, tail: bits%6 != 0}
}
