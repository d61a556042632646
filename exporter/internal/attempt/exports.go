package attempt

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
	"github.com/kerbodyne/ke-1-build/exporter/internal/logs"
	"github.com/kerbodyne/ke-1-build/exporter/internal/metrics"
	"github.com/kerbodyne/ke-1-build/exporter/internal/sinks"
)

// logFileInterval is the least time between two appends to one of the log files, of which there can be many.
const logFileInterval = time.Second

// outputName is the source of the build's own log, for receivers of logs.
const outputName = "output"

// exports is what an attempt carries besides the build's log and its artifact directory: other logs, lines for receivers of
// logs, and metrics.
type exports struct {
	a      *attempt
	set    *sinks.Set
	output *sinks.Stream

	// logged is closed when the build's log has been carried.
	logged  chan struct{}
	rest    chan rest
	metrics chan string
	server  *metrics.Server
}

// rest is what became of all but the metrics.
type rest struct {
	files      []contract.LogFile
	err        error
	deliveries []contract.Delivery
}

// startExports begins, right before the go.
func (a *attempt) startExports(ctx context.Context, ended <-chan struct{}) *exports {
	e := &exports{a: a, logged: make(chan struct{}), rest: make(chan rest, 1), metrics: make(chan string, 1)}
	e.set = sinks.Start(ctx, a.config.Exports.Sinks, sinks.Origin{
		BuildTag: a.config.BuildTag, Job: a.config.Job, PodUID: a.config.Pod.UID, Attempt: a.number,
	}, a.progress)
	e.output = e.set.Stream(outputName)
	directory := &logs.Directory{
		Open: a.volume.LogDirectory, Handed: a.volume.HandedLogs, Follow: e.follow, Progress: a.progress,
	}
	go func() {
		files, err := directory.Run(ctx, ended)
		<-e.logged
		// Receivers have a limited time from the build's end, but a moment for the last lines in any case.
		deadline := time.Now().Add(time.Second)
		if limit := a.buildEnded.Add(sinks.Patience); limit.After(deadline) {
			deadline = limit
		}
		e.rest <- rest{files, err, e.set.Close(deadline)}
	}()
	return e
}

// outputDone is told when nothing more of the build's log will come.
func (e *exports) outputDone(at time.Time) {
	e.output.End(at)
	close(e.logged)
}

func (e *exports) follow(name string) *logs.Exporter {
	stream := e.set.Stream(name)
	exporter := &logs.Exporter{
		Blob:     e.a.container.NewAppendBlob(e.a.layout.Log(contract.LogFileName(e.a.logName, name))),
		Interval: max(e.a.config.LogInterval, logFileInterval),
		Mask:     e.a.masks().Another(),
		Progress: e.a.progress,
		Passed:   stream.Write,
	}
	exporter.Done = stream.End
	return exporter
}

// buildEnded is called when nothing of the build is to come any more. Metrics are carried while the artifacts are.
func (e *exports) buildEnded(ctx context.Context) {
	go func() { e.metrics <- e.carryMetrics(ctx) }()
}

// finish waits for all of it, receivers for a limited time, and notes what there is in finished.json. The error is that of
// the log files, which are to be as complete as the log is.
func (e *exports) finish(finished *contract.Finished) error {
	rest := <-e.rest
	finished.LogFiles, finished.Deliveries = rest.files, rest.deliveries
	finished.Metrics = <-e.metrics
	return rest.err
}

func (e *exports) carryMetrics(ctx context.Context) string {
	settings := e.a.config.Exports
	if settings.Pushgateway == "" && settings.MetricsPort == 0 {
		return ""
	}
	found, err := metrics.Read(e.a.volume.Metrics, metrics.Origin{
		BuildTag: e.a.config.BuildTag, Job: e.a.config.Job, Attempt: e.a.number,
	})
	switch {
	case errors.Is(err, os.ErrNotExist):
		return e.say("none: the build left no metrics")
	case err != nil:
		return e.say("refused: " + sinks.OneLine(err.Error()))
	}
	said := ""
	if settings.MetricsPort != 0 {
		if e.server, err = metrics.Serve(found, settings.MetricsPort); err != nil {
			said = e.say("not served: " + sinks.Reason(err))
		} else {
			said = "served"
		}
	}
	if settings.Pushgateway == "" {
		return said
	}
	gateway := &metrics.Pushgateway{
		URL:       settings.Pushgateway,
		Client:    sinks.Client(settings.Pushgateway, settings.Sinks.Secrets),
		Authorize: settings.Sinks.Secrets.Authorizer("pushgateway"),
	}
	if err := gateway.Push(ctx, found, e.a.config.Job.Namespace); err != nil {
		return e.say("not pushed: " + sinks.Reason(err))
	}
	e.a.progress("metrics: %d series pushed", found.Series)
	return "pushed"
}

func (e *exports) say(text string) string {
	e.a.progress("metrics: %s", text)
	return text
}

// linger serves metrics until they have been scraped. It is the last thing that is done: the build is over for everybody else.
func (e *exports) linger(stop context.Context) {
	if e.server == nil {
		return
	}
	limit := e.a.config.Exports.ScrapeLimit
	e.a.progress("metrics: served on port %d until they are scraped, for %s at most", e.a.config.Exports.MetricsPort, limit)
	ctx, cancel := context.WithTimeout(stop, limit)
	defer cancel()
	if e.server.Wait(ctx) {
		e.a.progress("metrics: scraped")
	} else {
		e.a.progress("metrics: nobody has scraped them")
	}
}
