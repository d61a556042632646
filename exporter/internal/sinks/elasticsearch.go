package sinks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// bulkPath asks for no more of the answer than is looked at.
const bulkPath = "/_bulk?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason"

// elasticsearch speaks https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk, as OpenSearch does. The
// operation is `create`, which an index and a data stream both take, and each line has an id of its own: a line that is
// told again after an answer was lost is refused as a conflict, and not there twice.
type elasticsearch struct{ origin Origin }

type document struct {
	Timestamp string `json:"@timestamp"`
	Message   string `json:"message"`
	BuildTag  string `json:"build_tag"`
	Namespace string `json:"namespace"`
	Job       string `json:"job"`
	Attempt   int    `json:"attempt"`
	Source    string `json:"source"`
	// Line is its number: dates have milliseconds, and several lines may have one.
	Line int64 `json:"line"`
}

func (p *elasticsearch) encode(lines []line, into *bytes.Buffer) string {
	for _, l := range lines {
		fmt.Fprintf(into, "{\"create\":{\"_id\":\"%s-%d-%d\"}}\n", p.origin.PodUID, l.source.index, l.number)
		writeJSON(into, document{
			Timestamp: time.Unix(0, l.at).UTC().Format("2006-01-02T15:04:05.000000000Z"),
			Message:   l.text,
			BuildTag:  p.origin.BuildTag,
			Namespace: p.origin.Job.Namespace,
			Job:       p.origin.Job.Name,
			Attempt:   p.origin.Attempt,
			Source:    l.source.name,
			Line:      l.number,
		})
		into.WriteByte('\n')
	}
	return "application/x-ndjson"
}

// judge looks at each line: only those are told again that failed in a way that may pass.
func (*elasticsearch) judge(lines []line, _ int, answer []byte) (again []line, refused int, problem string) {
	var said struct {
		Errors bool
		Items  []map[string]struct {
			Status int
			Error  *struct{ Type, Reason string }
		}
	}
	if err := json.Unmarshal(answer, &said); err != nil || said.Errors && len(said.Items) != len(lines) {
		return lines, 0, "its answer is not that of a bulk request"
	}
	if !said.Errors {
		return nil, 0, ""
	}
	for i, item := range said.Items {
		for _, result := range item {
			switch {
			case result.Status < 300 || result.Status == http.StatusConflict:
				continue
			case result.Status == http.StatusTooManyRequests || result.Status >= 500:
				again = append(again, lines[i])
			default:
				refused++
			}
			problem = fmt.Sprintf("it answered %d", result.Status)
			if result.Error != nil {
				problem = OneLine(fmt.Sprintf("%s: %s %s", problem, result.Error.Type, result.Error.Reason))
			}
		}
	}
	return again, refused, problem
}
