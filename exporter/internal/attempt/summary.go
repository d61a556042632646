package attempt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"unicode/utf8"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
	"github.com/kerbodyne/ke-1-build/exporter/internal/volume"
)

// maxDepth of a summary: what is indented must not swell.
const maxDepth = 16

// keyPattern keeps a summary's keys from being anything but names to whoever reads them: some programs mark their own
// values by keys such as `__proto__` or a digest.
var keyPattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,63}$`)

// summaries reads what the sidecars have to say of the build, and notes with its end where one's cannot be taken.
func (a *attempt) summaries() map[string]json.RawMessage {
	all := map[string]json.RawMessage{}
	left := volume.MaxSummary
	for _, each := range a.companions.sidecars {
		content, err := each.volume.Summary()
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		var summary json.RawMessage
		if err == nil {
			masker := a.masks().Another()
			masked := append(bytes.Clone(masker.Next(content)), masker.End()...)
			summary, err = parseSummary(masked)
		}
		if err == nil && len(summary) > left {
			err = fmt.Errorf("all summaries together are larger than %d bytes", volume.MaxSummary)
		}
		if err != nil {
			a.progress("the summary of the sidecar %s is not taken: %v", each.Name, err)
			a.noteProblem(each.Name, fmt.Sprintf("its summary is not taken: %v", err))
			continue
		}
		left -= len(summary)
		all[each.Name] = summary
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

func (a *attempt) noteProblem(sidecar, problem string) {
	for i := range a.companions.ends {
		end := &a.companions.ends[i]
		if end.Name == sidecar && end.Role == contract.Sidecar {
			end.Problem = orElse(end.Problem, problem)
		}
	}
}

// parseSummary returns a JSON object without blanks, if it is one that anybody can read.
func parseSummary(content []byte) (json.RawMessage, error) {
	if !utf8.Valid(content) {
		return nil, errors.New("it is not UTF-8")
	}
	// Before anything is decoded, which goes by recursion.
	if depth := depthOf(content); depth > maxDepth {
		return nil, fmt.Errorf("it is nested more than %d deep", maxDepth)
	}
	var object map[string]any
	if err := json.Unmarshal(content, &object); err != nil || object == nil {
		return nil, errors.New("it is not a JSON object")
	}
	if key, ok := badKey(object); ok {
		return nil, fmt.Errorf("the key %q is not a name (a letter, then letters, digits, _ . -, at most 64)", key)
	}
	// Written anew: a key that is there twice, of which each reader takes another, is there once.
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(object)
	return bytes.TrimSpace(out.Bytes()), err
}

// depthOf is an upper bound.
func depthOf(content []byte) (deepest int) {
	depth, quoted, escaped := 0, false, false
	for _, c := range content {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

func badKey(value any) (string, bool) {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			if !keyPattern.MatchString(key) {
				return key[:min(len(key), 100)], true
			}
			if bad, ok := badKey(inner); ok {
				return bad, true
			}
		}
	case []any:
		for _, inner := range value {
			if bad, ok := badKey(inner); ok {
				return bad, true
			}
		}
	}
	return "", false
}
