package app

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/workers"
)

var update = flag.Bool("update", false, "write deploy/METRICS.md anew")

const metricsFile = "../../../deploy/METRICS.md"

// documented is one line of the table.
type documented struct{ name, kind, labels, help string }

// ofEveryPart are the metrics of a process with all parts, with all that they add.
func ofEveryPart() *metrics {
	m := newMetrics("1.0.0")
	m.answers()
	m.overrides(nil)
	m.leads(nil)
	m.connections("nats://127.0.0.1:4222", func() []*nats.Conn { return nil })
	m.database(func() []store.Pool { return nil })
	m.flows(nil)
	m.cutOff(nil)
	m.outbox(nil, time.Now)
	m.hashQueue(nil)
	m.failures(nil, func() int { return 0 }, time.Now)
	m.pending(nil)
	m.stream(nil)
	m.busEnds(nil, "", nil)
	m.busStore(nil)
	return m
}

var descForm = regexp.MustCompile(`^Desc\{fqName: ("[^"]*"), help: ("(?:[^"\\]|\\.)*"), unit: "[^"]*", constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// document describes collectors, but those of the Go runtime and of the process.
func document(t *testing.T, all []prometheus.Collector) (table []documented) {
	t.Helper()
	for _, c := range all {
		descs := make(chan *prometheus.Desc, 200)
		c.Describe(descs)
		close(descs)
		for d := range descs {
			parts := descForm.FindStringSubmatch(d.String())
			if parts == nil {
				t.Fatalf("a description that cannot be read: %s", d)
			}
			name, err1 := strconv.Unquote(parts[1])
			help, err2 := strconv.Unquote(parts[2])
			if err1 != nil || err2 != nil {
				t.Fatalf("%s: %v, %v", d, err1, err2)
			}
			if !strings.HasPrefix(name, "usher_") {
				continue
			}
			labels := constant.ReplaceAllString(parts[3], "$1")
			labels = strings.Trim(labels+","+parts[4], ",")
			table = append(table, documented{name, kindOf(c, name), strings.ReplaceAll(labels, ",", ", "), help})
		}
	}
	slices.SortFunc(table, func(a, b documented) int { return cmp.Compare(a.name, b.name) })
	return table
}

var constant = regexp.MustCompile(`(\w+)="[^"]*"`)

// kindOf is the type that Prometheus knows a collector by. Our own collectors have
// gauges, and counters that are called so.
func kindOf(c prometheus.Collector, name string) string {
	switch c.(type) {
	case *prometheus.HistogramVec:
		return "histogram"
	case *prometheus.CounterVec:
		return "counter"
	case prometheus.Gauge:
		return "gauge"
	case prometheus.Counter:
		return "counter"
	}
	if strings.HasSuffix(name, "_total") {
		return "counter"
	}
	return "gauge"
}

// ofKit are the metrics of a worker that is made with the kit, which serves them itself.
func ofKit(t *testing.T) (table []documented) {
	t.Helper()
	for name, f := range scrape(t, workers.New("welcome").Handler()) {
		if !strings.HasPrefix(name, "usher_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		table = append(table, documented{name, strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp()})
	}
	slices.SortFunc(table, func(a, b documented) int { return cmp.Compare(a.name, b.name) })
	return table
}

func scrape(t *testing.T, h http.Handler) map[string]*dto.MetricFamily {
	t.Helper()
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil || answer.Code != http.StatusOK {
		t.Fatalf("GET /metrics = %d, %v", answer.Code, err)
	}
	return families
}

func write(table []documented) string {
	var b strings.Builder
	b.WriteString("| name | type | labels | help |\n| --- | --- | --- | --- |\n")
	for _, d := range table {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", d.name, d.kind, d.labels, strings.ReplaceAll(d.help, "|", `\|`))
	}
	return b.String()
}

func metricsPage(t *testing.T) []byte {
	t.Helper()
	return []byte(`# Metrics

` + "`go generate ./cmd/internal/app`" + ` writes this page, and a test holds it current. No label
holds an id, an address or a name of a person. Which process a line is from is what
Prometheus adds: ` + "`job` and `instance`" + `.

## Usher

At ` + "`/metrics`" + ` of the admin listener, in the text format or OpenMetrics, as is asked
for. A process has those of the parts that it runs. What cannot be told at a scrape,
because the database or the bus is away, is missing from it, and
promhttp_metric_handler_errors_total counts it. With tracing on, buckets of
usher_http_request_duration_seconds, usher_registration_step_duration_seconds and
usher_hook_attempt_duration_seconds carry the trace id of a sampled example, in OpenMetrics.

` + write(document(t, ofEveryPart().all)) + `
## Workers

At ` + "`/metrics`" + ` of the handler that the worker kit gives, of workers that serve it.

` + write(ofKit(t)) + `
## Of the Go runtime and the process

Those of the Prometheus client: go_goroutines, go_threads, go_gc_duration_seconds,
go_memstats_alloc_bytes and its siblings, go_gc_heap_live_bytes; process_cpu_seconds_total,
process_resident_memory_bytes, process_virtual_memory_bytes, process_open_fds,
process_max_fds, process_start_time_seconds, process_network_receive_bytes_total,
process_network_transmit_bytes_total; promhttp_metric_handler_errors_total.
`)
}

func TestMetricsPage(t *testing.T) {
	want := metricsPage(t)
	if *update {
		if err := os.WriteFile(metricsFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(metricsFile)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("deploy/METRICS.md is not what is registered (%v): run go generate ./cmd/internal/app", err)
	}
}

// TestMetricsPageHasWhatIsServed: what a part adds that [ofEveryPart] forgets is found.
func TestMetricsPageHasWhatIsServed(t *testing.T) {
	page := string(metricsPage(t))
	s := serveIn(t, t.TempDir(), map[string]any{"name": "mailing-list", "events": []any{"identity.created"}})
	families := s.metrics()
	for until := time.Now().Add(10 * time.Second); families["usher_hook_pending"] == nil && time.Now().Before(until); {
		time.Sleep(50 * time.Millisecond) // until the relay has declared the hooks
		families = s.metrics()
	}
	for name, f := range families {
		if strings.HasPrefix(name, "usher_") && !strings.Contains(page, "\n| "+name+" | "+strings.ToLower(f.GetType().String())+" |") {
			t.Errorf("%s %s is served and does not stand in the page", name, f.GetType())
		}
	}
	for _, name := range []string{"usher_relay_leading", "usher_bus_connected", "usher_hook_pending", "usher_config_reload_success", "usher_outbox_depth"} {
		if families[name] == nil {
			t.Errorf("%s is not served", name)
		}
	}
	for _, name := range []string{"go_goroutines", "go_gc_heap_live_bytes", "process_cpu_seconds_total", "process_max_fds", "process_network_receive_bytes_total", "promhttp_metric_handler_errors_total"} {
		if families[name] == nil {
			t.Errorf("%s stands in the page and is not served", name)
		}
	}
}

var (
	counterAsked = regexp.MustCompile(`(usher_\w+_total)\{([^}]*)\}`)
	labelAsked   = regexp.MustCompile(`(\w+)=~?"([\w|]+)"`)
)

// TestCountersOfAlertsBeginAtZero: of a series that begins with 1 an alert sees no increase,
// so the first mail that is given up would be told of to nobody.
func TestCountersOfAlertsBeginAtZero(t *testing.T) {
	alerts, err := os.ReadFile("../../../deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	families, looked := scrape(t, newMetrics("1.0.0").handler()), 0
	for _, asked := range counterAsked.FindAllStringSubmatch(string(alerts), -1) {
		if asked[1] == "usher_provider_attempts_total" {
			continue // which providers there are, the configuration says
		}
		for _, matcher := range labelAsked.FindAllStringSubmatch(asked[2], -1) {
			for value := range strings.SplitSeq(matcher[2], "|") {
				looked++
				if !slices.ContainsFunc(families[asked[1]].GetMetric(), func(m *dto.Metric) bool {
					return label(m, matcher[1]) == value && m.GetCounter().GetValue() == 0
				}) {
					t.Errorf("%s{%s=%q}, which an alert asks for, is not there at the start", asked[1], matcher[1], value)
				}
			}
		}
	}
	if looked < 12 {
		t.Errorf("%d series looked at, want those of all alerts", looked)
	}
}

// metrics asks for the metrics as Prometheus does.
func (s *served) metrics() map[string]*dto.MetricFamily {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.at.Admin+"/metrics", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return families
}

// TestMetricsAreServedWithoutTheDatabase: the rest is wanted most just then.
func TestMetricsAreServedWithoutTheDatabase(t *testing.T) {
	m := newMetrics("1.0.0")
	m.outbox(func(context.Context) (int64, time.Time, error) { return 0, time.Time{}, fmt.Errorf("away") }, time.Now)
	m.pending(consumersAway{})
	families := scrape(t, m.handler())
	if families["usher_outbox_depth"] != nil || families["usher_build_info"] == nil {
		t.Errorf("a scrape while the database is away = %v", families)
	}
}

// consumersAway are those of a bus that does not answer.
type consumersAway struct{}

func (consumersAway) Consumers(context.Context) (map[string]delivery.Consumer, error) {
	return nil, events.ErrNoWorker
}

func (consumersAway) Pause(context.Context, string, time.Time) error { return events.ErrNoWorker }
