package config

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/kerbodyne/ke-1-build/exporter/internal/sinks"
)

// Exports are what else is carried, and to whom: nothing of it has to be set.
type Exports struct {
	Sinks sinks.Settings
	// Pushgateway is where the build's metrics are pushed to; empty for none.
	Pushgateway string
	// MetricsPort is where they are served; 0 for nowhere. ScrapeLimit is how long.
	MetricsPort int
	ScrapeLimit time.Duration
}

// https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-indices-create: lower case, and none of what has a
// meaning in an address.
var indexPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,199}$`)

// exports reads what components/exports.ts sets.
func exports(getenv func(string) string) (Exports, []string) {
	var problems []string
	address := func(name string) string {
		value := getenv(name)
		u, err := url.Parse(value)
		if value != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil ||
			u.RawQuery != "" || u.Fragment != "") {
			// Not repeated in the message: somebody may have put a password into it.
			problems = append(problems, name+" is not http(s)://<host>, without a user or a query")
			return ""
		}
		return value
	}
	e := Exports{
		Sinks: sinks.Settings{
			LokiURL: address("KE1_LOKI_URL"), LokiTenant: getenv("KE1_LOKI_TENANT"),
			ElasticsearchURL: address("KE1_ELASTICSEARCH_URL"), ElasticsearchIndex: getenv("KE1_ELASTICSEARCH_INDEX"),
			Secrets: sinks.Secrets(getenv("KE1_SINK_DIR")),
		},
		Pushgateway: address("KE1_METRICS_PUSHGATEWAY"),
	}
	if e.Sinks.ElasticsearchURL != "" && !indexPattern.MatchString(e.Sinks.ElasticsearchIndex) {
		problems = append(problems, fmt.Sprintf("KE1_ELASTICSEARCH_INDEX is not the name of an index: %q", e.Sinks.ElasticsearchIndex))
	}
	if port := getenv("KE1_METRICS_PORT"); port != "" {
		var err error
		if e.MetricsPort, err = strconv.Atoi(port); err != nil || e.MetricsPort < 1024 || e.MetricsPort > 65535 {
			problems = append(problems, fmt.Sprintf("KE1_METRICS_PORT is not a port from 1024 to 65535: %q", port))
		}
		limit := orDefault(getenv("KE1_METRICS_SCRAPE_LIMIT"), "60s")
		if e.ScrapeLimit, err = time.ParseDuration(limit); err != nil || e.ScrapeLimit < time.Second || e.ScrapeLimit > time.Hour {
			problems = append(problems, fmt.Sprintf(`KE1_METRICS_SCRAPE_LIMIT is not a duration of 1s to 1h, such as "60s": %q`, limit))
		}
	}
	if err := e.Sinks.Secrets.Check("loki", "elasticsearch", "pushgateway"); err != nil {
		problems = append(problems, "KE1_SINK_DIR: "+err.Error())
	}
	return e, problems
}
