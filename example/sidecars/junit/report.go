package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"
)

const (
	// maxDepth: suites may be in suites, but not without end.
	maxDepth = 200
	// maxNamed is how many failed tests are named, maxName how long a name may be.
	maxNamed = 50
	maxName  = 200
	// maxCount keeps what a report claims of itself within reason.
	maxCount = 1_000_000_000
)

// Summary is what goes into the manifest.
type Summary struct {
	Reports         int     `json:"reports"`
	Tests           int     `json:"tests"`
	Failures        int     `json:"failures"`
	Errors          int     `json:"errors"`
	Skipped         int     `json:"skipped"`
	DurationSeconds float64 `json:"durationSeconds"`
	// Failed names the first tests that failed or broke.
	Failed []string `json:"failed,omitempty"`
	// Unreadable says which reports count for nothing, and why.
	Unreadable []string `json:"unreadable,omitempty"`
}

// element is one that is open.
type element struct {
	name string
	// Of a suite: what it says of itself counts where there is nothing in it.
	hasContent bool
	attributes map[string]string
	// Of a test: what came of it.
	failed, broken, skipped bool
}

// read adds a report. There is no schema that all tools keep to: what is counted is tests, wherever they are, and what suites
// say of themselves only where they have none.
func (s *Summary) read(in io.Reader) error {
	decoder := xml.NewDecoder(newTagReader(in))
	var open []*element
	roots := 0
	for {
		token, err := decoder.RawToken()
		if err == io.EOF {
			break
		}
		if err != nil {
			return plain(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			begun := &element{name: token.Name.Local, attributes: attributesOf(token)}
			if len(open) == 0 {
				if roots++; roots > 1 || (begun.name != "testsuites" && begun.name != "testsuite") {
					return errors.New("it is no JUnit report")
				}
			} else {
				open[len(open)-1].note(begun)
			}
			if open = append(open, begun); len(open) > maxDepth {
				return fmt.Errorf("it is nested more than %d deep", maxDepth)
			}
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1].name != token.Name.Local {
				return fmt.Errorf("</%s> ends what was not begun", name(token.Name.Local))
			}
			s.count(open[len(open)-1])
			open = open[:len(open)-1]
		}
	}
	if roots == 0 || len(open) > 0 {
		return errors.New("it is not complete")
	}
	return nil
}

// note marks an element by one that is in it.
func (e *element) note(inner *element) {
	switch inner.name {
	case "testsuite", "testcase":
		e.hasContent = true
	case "failure":
		e.failed = true
	case "error":
		e.broken = true
	case "skipped":
		e.skipped = true
	}
}

func (s *Summary) count(e *element) {
	switch e.name {
	case "testcase":
		s.Tests++
		s.addTime(e.attributes["time"])
		status := strings.ToLower(e.attributes["status"] + " " + e.attributes["result"])
		switch {
		case e.broken:
			s.Errors++
			s.nameFailed(e)
		case e.failed:
			s.Failures++
			s.nameFailed(e)
		case e.skipped || strings.Contains(status, "notrun") || strings.Contains(status, "skipped"):
			s.Skipped++
		}
	case "testsuite":
		if e.hasContent {
			return
		}
		s.Tests += number(e.attributes["tests"])
		s.Failures += number(e.attributes["failures"])
		s.Errors += number(e.attributes["errors"])
		s.Skipped += number(e.attributes["skipped"]) + number(e.attributes["disabled"])
		s.addTime(e.attributes["time"])
	}
}

func (s *Summary) nameFailed(e *element) {
	if len(s.Failed) >= maxNamed {
		return
	}
	full := e.attributes["name"]
	if class := e.attributes["classname"]; class != "" {
		full = class + "." + full
	}
	s.Failed = append(s.Failed, name(full))
}

func (s *Summary) addTime(text string) {
	// Some tools write 1,234.5.
	seconds, err := strconv.ParseFloat(strings.ReplaceAll(text, ",", ""), 64)
	if err == nil && seconds > 0 && seconds < maxCount {
		s.DurationSeconds = math.Round((s.DurationSeconds+seconds)*1000) / 1000
	}
}

func attributesOf(token xml.StartElement) map[string]string {
	wanted := map[string]string{}
	for _, attribute := range token.Attr {
		switch key := attribute.Name.Local; key {
		case "name", "classname", "time", "status", "result", "tests", "failures", "errors", "skipped", "disabled":
			wanted[key] = attribute.Value
		}
	}
	return wanted
}

func number(text string) int {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 0 || n > maxCount {
		return 0
	}
	return n
}

// name makes a text fit into a line.
func name(text string) string {
	line := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	if runes := []rune(line); len(runes) > maxName {
		return string(runes[:maxName]) + "…"
	}
	return line
}

func plain(err error) error {
	var syntax *xml.SyntaxError
	if errors.As(err, &syntax) {
		// Its line is one of the tags alone.
		return errors.New(name(syntax.Msg))
	}
	return err
}
