package mask

// gramSize is how many of a candidate's first bytes find it.
const gramSize = 3

// index finds candidates by their first bytes. Most positions of a log are passed over by one look at a table that fits
// into the processor's nearest memory.
type index struct {
	// table has a bit for the hash of each candidate's first bytes.
	table [1 << 10]uint64
	grams map[uint32][]candidate
	// one and two are the first bytes of candidates, for the end of a piece.
	one [256]bool
	two map[uint32]bool
	// folding are those of the candidates that go on in the next line.
	folding struct {
		one [256]bool
		two map[uint32]bool
	}
}

func (x *index) add(c candidate, folds bool) {
	if x.grams == nil {
		x.grams, x.two, x.folding.two = map[uint32][]candidate{}, map[uint32]bool{}, map[uint32]bool{}
	}
	first := c.first()
	gram := uint32(first[0]) | uint32(first[1])<<8 | uint32(first[2])<<16
	x.grams[gram] = append(x.grams[gram], c)
	h := hash(gram)
	x.table[h>>6] |= 1 << (h & 63)
	x.one[first[0]] = true
	x.two[gram&0xffff] = true
	if folds {
		x.folding.one[first[0]] = true
		x.folding.two[gram&0xffff] = true
	}
}

func hash(gram uint32) uint32 { return gram * 0x9e3779b1 >> 16 }

// next returns the first position from p on that is worth a look.
func (x *index) next(text []byte, p int, folds bool) int {
	n := len(text)
	if p+gramSize > n {
		return p
	}
	gram := uint32(text[p])<<8 | uint32(text[p+1])<<16
	for ; p+gramSize <= n; p++ {
		last := text[p+2]
		gram = gram>>8 | uint32(last)<<16
		h := hash(gram)
		if x.table[h>>6]&(1<<(h&63)) != 0 {
			return p
		}
		if folds && (isBreak(last) || isBreak(text[p+1])) {
			return p
		}
	}
	return p
}

func isBreak(b byte) bool { return b == '\n' || b == '\r' }

// breaksLine: at i, which is not the first byte, is one line break or a part of it.
func breaksLine(text []byte, i int) bool {
	return text[i] == '\n' && text[i-1] != '\n' || text[i] == '\r' && !isBreak(text[i-1])
}

// look asks all candidates that text[p:] may begin with, and takes what hides most.
func (x *index) look(text []byte, p int, before lead, final bool) (match, verdict) {
	text = text[p:]
	if len(text) < gramSize {
		if !final && (len(text) == 1 && x.one[text[0]] || len(text) == 2 && x.two[uint32(text[0])|uint32(text[1])<<8]) {
			return match{}, more
		}
	}
	var best match
	said := no
	ask := func(gram uint32) {
		for _, c := range x.grams[gram] {
			found, answer := c.look(text, before, final)
			if answer == more {
				said = more
			}
			if answer == yes && said != more && (said == no || found.end > best.end) {
				best, said = found, yes
			}
		}
	}
	if len(text) >= gramSize {
		ask(uint32(text[0]) | uint32(text[1])<<8 | uint32(text[2])<<16)
	}
	if len(x.folding.two) == 0 || isBreak(text[0]) {
		return best, said
	}
	// The same without line breaks.
	gram, n, i := uint32(0), 0, 0
	for ; i < len(text) && n < gramSize; i++ {
		if !isBreak(text[i]) {
			gram |= uint32(text[i]) << (8 * n)
			n++
		}
	}
	switch {
	case n == gramSize && i > gramSize:
		ask(gram)
	case n == gramSize || final || i > maxBreaks+n:
	case n == 1 && x.folding.one[text[0]], n == 2 && x.folding.two[gram]:
		return match{}, more
	}
	return best, said
}

// maxBreaks is how many bytes of line breaks may be inside of the first few characters of a base64 text.
const maxBreaks = 4
