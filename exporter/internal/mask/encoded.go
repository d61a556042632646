package mask

import (
	"encoding/base64"
	"strings"
)

// encoded is a token in base64: found by what base64 makes of its beginning, and then decoded to be sure.
type encoded struct {
	shape candidate
	text  []byte
	shift int
	// initial is the token's first byte, of which the character before has a part.
	initial byte
}

// encodedForms are those of the three places in a group of bytes that give enough characters to be found by.
func encodedForms(shape candidate, prefix string) []candidate {
	var forms []candidate
	for shift := range 3 {
		form := base64Form(prefix, shift, base64.RawStdEncoding)
		if len(form.text) >= gramSize {
			forms = append(forms, &encoded{shape, form.text, shift, prefix[0]})
		}
	}
	return forms
}

func (e *encoded) first() []byte { return e.text }

func (e *encoded) look(text []byte, before lead, final bool) (match, verdict) {
	if said := begins(text, string(e.text), final); said != yes {
		return match{}, said
	}
	// A short look first: most of what begins so is something else, and most looks end here.
	_, _, said := e.decode(text, before, firstLook, final)
	if said == no {
		return match{}, no
	}
	found, ends, said := e.decode(text, before, maxHold, final)
	if said != yes {
		return match{}, said
	}
	// The characters that have any of its bits.
	last := min((8*(e.shift+found.end)+5)/6, len(ends))
	end := ends[last-1]
	for end < len(text) && text[end] == '=' {
		end++
	}
	result := match{end: end}
	if e.shift > 0 {
		result.start = -1
	}
	if end >= maxHold {
		result.rest = &isBase64
	}
	return result, yes
}

// firstLook is enough to tell a token from something else that begins like it, in most cases.
const firstLook = 64

// decode asks the shape about what the text stands for, up to so many bytes of the text. ends has where each character is.
func (e *encoded) decode(text []byte, before lead, limit int, final bool) (found match, ends []int, said verdict) {
	characters := []byte(strings.Repeat("A", leads[e.shift]))
	ends = make([]int, len(characters), 128)
	at := 0
	for ; at < min(len(text), limit); at++ {
		if at > 0 && breaksLine(text, at) {
			continue
		}
		if !isBase64[text[at]] {
			break
		}
		character := text[at]
		switch character {
		case '-':
			character = '+'
		case '_':
			character = '/'
		}
		characters = append(characters, character)
		ends = append(ends, at+1)
	}
	goesOn := at == len(text) && !final && at < maxHold || at == limit && limit < maxHold
	if len(characters)%4 == 1 {
		characters = characters[:len(characters)-1]
	}
	decoded := make([]byte, base64.RawStdEncoding.DecodedLen(len(characters)))
	n, err := base64.RawStdEncoding.Decode(decoded, characters)
	if err != nil || n <= e.shift {
		return match{}, nil, no
	}
	decoded[e.shift] = e.initial
	found, said = e.shape.look(decoded[e.shift:n], e.precedes(before), !goesOn)
	return found, ends, said
}

// precedes decodes the byte before, of which the two characters before have all bits.
func (e *encoded) precedes(before lead) lead {
	first, second := sextets[before[0]], sextets[before[1]]
	if first < 0 || second < 0 {
		return lead{}
	}
	return lead{0, byte((int(first)<<6 | int(second)) >> [3]int{0, 4, 2}[e.shift])}
}

// sextets are what the characters of base64, of either alphabet, stand for; less than 0 for others.
var sextets = func() (values [256]int8) {
	for i := range values {
		values[i] = -1
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		values[c] = int8(i)
	}
	values['-'], values['_'] = 62, 63
	return values
}()
