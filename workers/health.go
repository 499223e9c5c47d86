package workers

import (
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/usher-auth/usher/events"
)

// health is why a worker does not get events.
type health struct {
	mu     sync.Mutex
	known  bool
	reason string // empty if it does
}

func (h *health) set(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known, h.reason = true, ""
	if err != nil {
		h.reason = err.Error()
	}
}

func (h *health) why() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.known {
		return "it does not run"
	}
	return h.reason
}

// Handler serves /health/alive, /health/ready (200 while the worker gets events
// from its durable consumer, else 503 with why not) and /metrics.
func (w *Worker) Handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(w.metrics, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health/alive", func(rw http.ResponseWriter, _ *http.Request) { say(rw, http.StatusOK, "ok", "") })
	mux.HandleFunc("GET /health/ready", func(rw http.ResponseWriter, _ *http.Request) {
		if why := w.health.why(); why != "" {
			say(rw, http.StatusServiceUnavailable, "not ready", why)
			return
		}
		say(rw, http.StatusOK, "ok", "")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

func say(rw http.ResponseWriter, code int, status, reason string) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(code)
	_ = json.NewEncoder(rw).Encode(struct { // whoever asked is away
		Status string `json:"status"`
		Reason string `json:"reason,omitempty"`
	}{status, reason})
}

// metrics count what becomes of events.
type metrics struct {
	attempts *prometheus.CounterVec
	took     prometheus.Histogram
	running  prometheus.Gauge
	strange  prometheus.Counter
	outcomes map[Outcome]*tally
}

// tally counts for metrics and for discovery.
type tally struct {
	prometheus.Counter
	n atomic.Int64
}

func newMetrics(worker string) *metrics {
	labels := prometheus.Labels{"worker": worker}
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "usher", Subsystem: "worker", Name: "attempts_total", ConstLabels: labels,
			Help: "Attempts at events by outcome: done, skipped, retry, dead, unreported.",
		}, []string{"outcome"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "usher", Subsystem: "worker", Name: "attempt_duration_seconds", ConstLabels: labels,
			Help:    "How long handlers took.",
			Buckets: []float64{.001, .005, .025, .1, .5, 1, 5, 15, 60, 300},
		}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "usher", Subsystem: "worker", Name: "running", ConstLabels: labels,
			Help: "Events that are being handled.",
		}),
		strange: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "usher", Subsystem: "worker", Name: "no_event_total", ConstLabels: labels,
			Help: "Messages without an event id, which are acked and not handled.",
		}),
		outcomes: map[Outcome]*tally{},
	}
	for _, o := range []Outcome{Done, Skipped, Retry, Dead, Unreported} {
		m.outcomes[o] = &tally{Counter: m.attempts.WithLabelValues(string(o))}
	}
	return m
}

func (m *metrics) observe(a Attempt) {
	t := m.outcomes[a.Outcome]
	t.Inc()
	t.n.Add(1)
	m.took.Observe(a.Took.Seconds())
}

// Describe is that of [prometheus.Collector].
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	m.attempts.Describe(to)
	m.took.Describe(to)
	m.running.Describe(to)
	m.strange.Describe(to)
}

// Collect is that of [prometheus.Collector].
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	m.attempts.Collect(to)
	m.took.Collect(to)
	m.running.Collect(to)
	m.strange.Collect(to)
}

// registerWith registers m, unless an earlier Run has.
func (m *metrics) registerWith(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	err := r.Register(m)
	var known prometheus.AlreadyRegisteredError
	if errors.As(err, &known) && known.ExistingCollector == prometheus.Collector(m) {
		return nil
	}
	return err
}

// announce shows the worker to discovery ("nats micro ls") until the end that it
// returns is called. Nothing but the sight of it is lost if that fails.
func (r *run) announce() (end func()) {
	service, err := micro.AddService(r.nc, micro.Config{
		Name: r.name, Version: r.version, Description: "worker of " + events.Stream,
		StatsHandler: func(*micro.Endpoint) any { return r.stats() },
	})
	if err != nil {
		r.log.Warn("discovery does not show this worker", "err", err)
		return func() {}
	}
	// Discovery shows figures of endpoints only. This one is in the worker's own
	// inbox, where nobody else may send anything.
	err = service.AddEndpoint("events", micro.HandlerFunc(func(micro.Request) {}),
		micro.WithEndpointSubject(r.inbox()+"."+r.name), micro.WithEndpointQueueGroupDisabled())
	if err != nil {
		r.log.Warn("discovery does not show this worker's figures", "err", err)
	}
	return func() { _ = service.Stop() }
}

// stats is what discovery shows of the worker.
func (r *run) stats() map[string]int64 {
	all := map[string]int64{"concurrency": int64(r.concurrency), "running": int64(len(r.slots)), "given_up": int64(r.givenUp.Load())}
	for outcome, t := range r.metrics.outcomes {
		all[string(outcome)] = t.n.Load()
	}
	return all
}
