package logs

// Mask changes the log before anything of it leaves the pod. It sees one stream in pieces that end anywhere, and may hold
// back the end of what it has seen until it knows what that is.
type Mask interface {
	// Next takes the next piece and returns what may leave now. The result is valid until the next call.
	Next(piece []byte) []byte
	// End returns what was held back.
	End() []byte
}

// Verbatim is the mask that changes nothing.
type Verbatim struct{}

func (Verbatim) Next(piece []byte) []byte { return piece }
func (Verbatim) End() []byte              { return nil }
