package app

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/relay"
	"github.com/usher-auth/usher/services/settings"
	"github.com/usher-auth/usher/services/stats"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/workers"
)

// metrics are what this process tells Prometheus. No label holds an id or an address.
type metrics struct {
	registry *prometheus.Registry
	// counted are those of them that the last hour is made of: to read them asks
	// nothing of the database.
	counted       *prometheus.Registry
	requests      *prometheus.HistogramVec
	registrations *prometheus.CounterVec
	logins        *prometheus.CounterVec
	settings      *prometheus.CounterVec
	operators     *prometheus.CounterVec
	swept         *prometheus.CounterVec
	providers     *prometheus.CounterVec
	limited       *prometheus.CounterVec
	steps         *prometheus.HistogramVec
	published     prometheus.Counter
	relayErrors   prometheus.Counter
	deliveries    *prometheus.HistogramVec
	issued        *prometheus.HistogramVec
	reports       *prometheus.CounterVec
	retries       *prometheus.CounterVec
	checkpoints   *prometheus.CounterVec
}

// buckets reach from a tenth of a millisecond to the longest wait that a request has.
var buckets = stats.Bounds[:]

// liveHeap is what the last garbage collection found in use.
var liveHeap = collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/gc/heap/live:bytes$`)}

func newMetrics(version string) *metrics {
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "usher", Name: name, Help: help, Buckets: buckets}, labels)
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "usher", Name: name, Help: help})
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		counted:  prometheus.NewRegistry(),
		requests: histogram("http_request_duration_seconds", "HTTP requests by route, method and status.", "route", "method", "status"),
		registrations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "usher", Name: "registrations_total",
			Help: "Submitted registrations by method and outcome.",
		}, []string{"method", "outcome"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "usher", Name: "logins_total",
			Help: "Submitted logins by method and outcome.",
		}, []string{"method", "outcome"}),
		providers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "usher", Name: "provider_attempts_total",
			Help: "Sign-ins at identity providers by what became of them: started, proven, denied, unavailable, refused, stray, error.",
		}, []string{"provider", "result"}),
		settings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "usher", Name: "settings_total",
			Help: "Changes of settings by what they change (link, unlink) and outcome.",
		}, []string{"change", "outcome"}),
		operators: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "usher", Name: "console_sign_ins_total",
			Help: "Tries to sign in to the console by outcome: ok, wrong, busy, error.",
		}, []string{"outcome"}),
		swept: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "usher", Name: "swept_total",
			Help: "Rows that were over and were deleted, by kind.",
		}, []string{"kind"}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "usher", Name: "limited_total",
			Help: "Requests that a rate limit has refused, by its class.",
		}, []string{"class"}),
		steps:       histogram("registration_step_duration_seconds", "Steps of registrations: check, hash (queue included), commit, wait (for hooks), hop (to the session worker).", "step"),
		published:   counter("events_published_total", "Events that the relay of this process published and moved into the event log."),
		relayErrors: counter("relay_errors_total", "Rounds of the relay that failed and are tried again."),
		deliveries:  histogram("hook_attempt_duration_seconds", "Attempts of background hooks by hook and outcome.", "hook", "outcome"),
		reports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "usher", Name: "hook_reports_total",
			Help: "Failed attempts that hooks reported, by hook and what became of the event.",
		}, []string{"hook", "state"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "usher", Name: "hook_retries_published_total",
			Help: "Retries that this process published, by hook.",
		}, []string{"hook"}),
		checkpoints: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "usher", Name: "audit_checkpoints_total",
			Help: "Checkpoints of the event log by step (sign, send) and outcome (ok, error).",
		}, []string{"step", "outcome"}),
		issued: histogram("session_issue_duration_seconds", "Requests to the session worker, as it sees them, by outcome.", "outcome"),
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(liveHeap)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.requests, m.registrations, m.logins, m.providers, m.settings, m.operators, m.swept, m.limited, m.steps, m.published, m.relayErrors, m.deliveries, m.issued, m.reports, m.retries, m.checkpoints,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "usher", Name: "build_info", Help: "Always 1.",
			ConstLabels: prometheus.Labels{"version": version},
		}, func() float64 { return 1 }),
	)
	m.counted.MustRegister(m.requests, m.registrations, m.logins, m.steps, m.published, m.relayErrors, m.deliveries, m.issued)
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

func (m *metrics) request(route, method string, status int, d time.Duration) {
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Observe(d.Seconds())
}

func (m *metrics) registration(o registration.Outcome) {
	m.registrations.WithLabelValues(o.Method, o.Result).Inc()
	for step, d := range map[string]time.Duration{"check": o.Check, "hash": o.Hash, "commit": o.Commit, "wait": o.Wait, "hop": o.Hop} {
		if d > 0 {
			m.steps.WithLabelValues(step).Observe(d.Seconds())
		}
	}
}

func (m *metrics) limit(class string) { m.limited.WithLabelValues(class).Inc() }

func (m *metrics) provider(id, result string) { m.providers.WithLabelValues(id, result).Inc() }

func (m *metrics) login(o login.Outcome) { m.logins.WithLabelValues(o.Method, o.Result).Inc() }

func (m *metrics) setting(o settings.Outcome) { m.settings.WithLabelValues(o.Change, o.Result).Inc() }

func (m *metrics) operator(outcome string) { m.operators.WithLabelValues(outcome).Inc() }

func (m *metrics) relay(s relay.Stats) {
	m.published.Add(float64(s.Published))
	if s.Err != nil {
		m.relayErrors.Inc()
	}
}

func (m *metrics) issue(outcome string, took time.Duration) {
	m.issued.WithLabelValues(outcome).Observe(took.Seconds())
}

func (m *metrics) attempt(hook string, a workers.Attempt) {
	m.deliveries.WithLabelValues(hook, string(a.Outcome)).Observe(a.Took.Seconds())
}

func (m *metrics) hashQueue(waiting func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "usher", Name: "hash_queue_depth",
		Help: "Passwords that wait for a place in the hash pool.",
	}, func() float64 { return float64(waiting()) }))
}

// overrides adds what became of the newest saved settings.
func (m *metrics) overrides(outcome func() (revision int64, refused bool)) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "usher", Name: "settings_revision",
		Help: "Newest revision of the saved settings that this process has looked at.",
	}, func() float64 { revision, _ := outcome(); return float64(revision) }))
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "usher", Name: "settings_refused",
		Help: "1 while that revision cannot be used: then this process goes by what was in force before, or by the file alone.",
	}, func() float64 {
		if _, refused := outcome(); refused {
			return 1
		}
		return 0
	}))
}

// database adds the connections to the database.
func (m *metrics) database(pools func() []store.Pool) {
	m.registry.MustRegister(&poolCollector{
		pools:       pools,
		connections: prometheus.NewDesc("usher_db_connections", "Connections to the database by pool (durable: commits wait for the disk, relaxed: they do not, reads, writer: of SQLite) and state (used, idle).", []string{"pool", "state"}, nil),
		most:        prometheus.NewDesc("usher_db_connections_max", "How many connections a pool may have.", []string{"pool"}, nil),
		waited:      prometheus.NewDesc("usher_db_wait_seconds_total", "How long callers have waited for a connection to be free.", []string{"pool"}, nil),
	})
}

// poolCollector is what client_golang's DBStatsCollector does for a pool whose
// places are counted before database/sql is asked, so that its waits are always 0.
type poolCollector struct {
	pools                     func() []store.Pool
	connections, most, waited *prometheus.Desc
}

func (c *poolCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.connections
	ch <- c.most
	ch <- c.waited
}

func (c *poolCollector) Collect(ch chan<- prometheus.Metric) {
	for _, p := range c.pools() {
		ch <- prometheus.MustNewConstMetric(c.connections, prometheus.GaugeValue, float64(p.Used), p.Name, "used")
		ch <- prometheus.MustNewConstMetric(c.connections, prometheus.GaugeValue, float64(p.Idle), p.Name, "idle")
		ch <- prometheus.MustNewConstMetric(c.most, prometheus.GaugeValue, float64(p.Max), p.Name)
		ch <- prometheus.MustNewConstMetric(c.waited, prometheus.CounterValue, p.Waited.Seconds(), p.Name)
	}
}

// outbox adds the depth and age of the outbox, asked for at each scrape.
func (m *metrics) outbox(stats func(context.Context) (int64, time.Time, error), now func() time.Time) {
	m.registry.MustRegister(&outboxCollector{
		stats: stats, now: now,
		depth: prometheus.NewDesc("usher_outbox_depth", "Committed events that wait for the relay.", nil, nil),
		age:   prometheus.NewDesc("usher_outbox_oldest_seconds", "Age of the oldest waiting event.", nil, nil),
	})
}

type outboxCollector struct {
	stats      func(context.Context) (int64, time.Time, error)
	now        func() time.Time
	depth, age *prometheus.Desc
}

func (c *outboxCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.depth; ch <- c.age }

func (c *outboxCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	depth, oldest, err := c.stats(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.depth, err)
		return
	}
	age := 0.0
	if depth > 0 {
		age = c.now().Sub(oldest).Seconds()
	}
	ch <- prometheus.MustNewConstMetric(c.depth, prometheus.GaugeValue, float64(depth))
	ch <- prometheus.MustNewConstMetric(c.age, prometheus.GaugeValue, age)
}
