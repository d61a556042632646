package logs

// Mask changes the log before anything of it leaves the pod. It sees one stream in pieces that end anywhere, and may hold
// back the end of what it has seen until it knows what that is.
type Mask interface {
	// Next takes the next piece and returns what may leave now. The result is valid until the next call.
	Next(piece []byte) []byte
	// Ease returns what of that may leave when nothing has come for a while.
	Ease() []byte
	// End returns what was held back.
	End() []byte
}

// Verbatim is the mask that changes nothing.
type Verbatim struct{}

func (Verbatim) Next(piece []byte) []byte { return piece }
func (Verbatim) Ease() []byte             { return nil }
func (Verbatim) End() []byte              { return nil }
