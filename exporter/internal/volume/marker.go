package volume

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Marker is what the wrapper leaves when the build has ended.
type Marker struct {
	// ExitCode is the build command's, or the wrapper's own where Problem says why.
	ExitCode int `json:"exitCode"`
	// StartedAt and EndedAt are Unix seconds. The exporter measures for itself: they are for a person who looks.
	StartedAt int64 `json:"startedAt"`
	EndedAt   int64 `json:"endedAt"`
	// Problem is empty when the exit code is the build command's.
	Problem Problem `json:"problem,omitempty"`
}

// Problem is why the wrapper failed a build whose command did not fail.
type Problem string

const (
	NoArtifacts      Problem = "no-artifacts"
	ArtifactsOutside Problem = "artifacts-outside"
	CopyFailed       Problem = "copy-failed"
	NotPrepared      Problem = "not-prepared"
)

var (
	// ErrNoMarker: the wrapper was killed.
	ErrNoMarker = errors.New("no marker")
	// ErrBadMarker: what is there was not written by the wrapper.
	ErrBadMarker = errors.New("the marker of the build's end is not valid")
)

const maxMarkerSize = 4096

// Marker reads and checks the marker.
func (v *Volume) Marker() (Marker, error) {
	file, err := OpenRegular(v.fd, markerName)
	if errors.Is(err, os.ErrNotExist) {
		return Marker{}, ErrNoMarker
	}
	if err != nil {
		return Marker{}, fmt.Errorf("%w: %w", ErrBadMarker, err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxMarkerSize+1))
	if err != nil || len(content) > maxMarkerSize {
		return Marker{}, fmt.Errorf("%w: larger than %d bytes, or not readable", ErrBadMarker, maxMarkerSize)
	}
	return parseMarker(content)
}

func parseMarker(content []byte) (Marker, error) {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	// A pointer: a marker without an exit code must not read as success.
	var marker struct {
		ExitCode  *int    `json:"exitCode"`
		StartedAt int64   `json:"startedAt"`
		EndedAt   int64   `json:"endedAt"`
		Problem   Problem `json:"problem"`
	}
	if err := decoder.Decode(&marker); err != nil {
		return Marker{}, fmt.Errorf("%w: not the JSON that the wrapper writes", ErrBadMarker)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return Marker{}, fmt.Errorf("%w: more than one document", ErrBadMarker)
	}
	switch marker.Problem {
	case "", NoArtifacts, ArtifactsOutside, CopyFailed, NotPrepared:
	default:
		return Marker{}, fmt.Errorf("%w: unknown problem", ErrBadMarker)
	}
	if marker.ExitCode == nil || *marker.ExitCode < 0 || *marker.ExitCode > 255 {
		return Marker{}, fmt.Errorf("%w: no exit code from 0 to 255", ErrBadMarker)
	}
	if marker.Problem != "" && *marker.ExitCode == 0 {
		return Marker{}, fmt.Errorf("%w: a problem, but exit code 0", ErrBadMarker)
	}
	return Marker{*marker.ExitCode, marker.StartedAt, marker.EndedAt, marker.Problem}, nil
}
