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
	"go.opentelemetry.io/otel/trace"

	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/recovery"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/relay"
	"github.com/usher-auth/usher/services/settings"
	"github.com/usher-auth/usher/services/stats"
	"github.com/usher-auth/usher/workers"
)

// metrics are what this process tells Prometheus. No label holds an id or an address.
type metrics struct {
	registry *prometheus.Registry
	// all is what is registered; deploy/METRICS.md is made of it.
	all []prometheus.Collector
	// counted are those of them that the last hour is made of: to read them asks
	// nothing of the database.
	counted       *prometheus.Registry
	requests      *prometheus.HistogramVec
	registrations *prometheus.CounterVec
	logins        *prometheus.CounterVec
	recoveries    *prometheus.CounterVec
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
	certificates  *prometheus.GaugeVec
	mails         *prometheus.CounterVec
	inFlight      *prometheus.GaugeVec
	reloaded      prometheus.Gauge // 1, or 0 behind a reload that failed
	reloadedAt    prometheus.Gauge
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
		recoveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "usher", Name: "recoveries_total",
			Help: "Codes and links that came back to recover an account, by method and outcome.",
		}, []string{"method", "outcome"}),
		providers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "usher", Name: "provider_attempts_total",
			Help: "Sign-ins at identity providers by what became of them: started, proven, denied, unavailable, refused, stray, error.",
		}, []string{"provider", "result"}),
		settings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "usher", Name: "settings_total",
			Help: "Changes of settings by what they change (profile, password, link, unlink) and outcome.",
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
		certificates: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "usher", Name: "tls_certificate_expiry_timestamp_seconds",
			Help: "When the certificate that a listener uses is over, in seconds since 1970.",
		}, []string{"listener"}),
		issued: histogram("session_issue_duration_seconds", "Requests to the session worker, as it sees them, by outcome.", "outcome"),
		mails: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "usher", Name: "mail_total",
			Help: "Attempts at mails by outcome: sent, deferred (the server wants it later), unreachable (no server took it), abandoned; outdated ones are never made: the account was recovered or got another password since, or clocks are apart.",
		}, []string{"outcome"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "usher", Name: "http_requests_in_flight",
			Help: "HTTP requests that are being answered, by listener (public, admin).",
		}, []string{"listener"}),
		reloaded: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "usher", Name: "config_reload_success",
			Help: "1 if the configuration and the certificates of listeners could be used when they were read last, else 0: then what could not is as it was.",
		}),
		reloadedAt: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "usher", Name: "config_reload_timestamp_seconds",
			Help: "When the configuration and the certificates of listeners were read last and could be used, in seconds since 1970.",
		}),
	}
	m.reload(true, time.Now())
	m.begin()
	m.register(
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(liveHeap)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.requests, m.registrations, m.logins, m.recoveries, m.providers, m.settings, m.operators, m.swept, m.limited, m.steps, m.published, m.relayErrors, m.deliveries, m.issued, m.reports, m.retries, m.checkpoints, m.certificates, m.mails, m.inFlight, m.reloaded, m.reloadedAt,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "usher", Name: "build_info", Help: "Always 1.",
			ConstLabels: prometheus.Labels{"version": version},
		}, func() float64 { return 1 }),
	)
	m.counted.MustRegister(m.requests, m.registrations, m.logins, m.steps, m.published, m.relayErrors, m.deliveries, m.issued)
	return m
}

// begin has those counters at 0 that alerts ask for: of a series that begins with 1
// Prometheus sees no increase.
func (m *metrics) begin() {
	for _, method := range []string{identity.MethodPassword, identity.MethodOIDC} {
		for _, result := range []string{registration.OK, registration.NoSession, registration.HookFailed, registration.Busy, registration.Broken} {
			m.registrations.WithLabelValues(method, result)
		}
		for _, result := range []string{login.OK, login.WrongCredentials, login.HookFailed, login.Busy, login.Broken} {
			m.logins.WithLabelValues(method, result)
		}
	}
	for _, outcome := range []string{courier.ObservedSent, courier.ObservedDeferred, courier.ObservedUnreachable, courier.ObservedAbandoned, courier.ObservedOutdated} {
		m.mails.WithLabelValues(outcome)
	}
	for _, outcome := range []string{"ok", "wrong", "busy", "error"} {
		m.operators.WithLabelValues(outcome)
	}
	for _, step := range []string{"sign", "send"} {
		m.checkpoints.WithLabelValues(step, "ok")
		m.checkpoints.WithLabelValues(step, "error")
	}
}

func (m *metrics) register(all ...prometheus.Collector) {
	m.registry.MustRegister(all...)
	m.all = append(m.all, all...)
}

// handler serves the metrics. What cannot be told just now, because the database or
// the bus is away, is missing, and the rest is there: it says why.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry: m.registry, ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: true,
	})
}

// during counts the requests that a handler is answering.
func (m *metrics) during(listener string, h http.Handler) http.Handler {
	return promhttp.InstrumentHandlerInFlight(m.inFlight.WithLabelValues(listener), h)
}

// reload is told of each reading of the configuration.
func (m *metrics) reload(ok bool, now time.Time) {
	m.reloaded.Set(0)
	if ok {
		m.reloaded.Set(1)
		m.reloadedAt.Set(float64(now.UnixNano()) / 1e9)
	}
}

func (m *metrics) mail(outcome string) { m.mails.WithLabelValues(outcome).Inc() }

func (m *metrics) request(ctx context.Context, route, method string, status int, d time.Duration) {
	observe(m.requests.WithLabelValues(route, method, strconv.Itoa(status)), d, traceID(ctx))
}

// observe observes a duration, with a trace as its example unless that is empty.
func observe(h prometheus.Observer, d time.Duration, traceID string) {
	if with, ok := h.(prometheus.ExemplarObserver); ok && traceID != "" {
		with.ObserveWithExemplar(d.Seconds(), prometheus.Labels{"trace_id": traceID})
		return
	}
	h.Observe(d.Seconds())
}

// traceID is that of a trace that is recorded, else empty.
func traceID(ctx context.Context) string {
	if c := trace.SpanContextFromContext(ctx); c.IsSampled() {
		return c.TraceID().String()
	}
	return ""
}

func (m *metrics) registration(ctx context.Context, o registration.Outcome) {
	m.registrations.WithLabelValues(o.Method, o.Result).Inc()
	for step, d := range map[string]time.Duration{"check": o.Check, "hash": o.Hash, "commit": o.Commit, "wait": o.Wait, "hop": o.Hop} {
		if d > 0 {
			observe(m.steps.WithLabelValues(step), d, traceID(ctx))
		}
	}
}

func (m *metrics) certificate(listener string, expires time.Time) {
	m.certificates.WithLabelValues(listener).Set(float64(expires.Unix()))
}

func (m *metrics) limit(class string) { m.limited.WithLabelValues(class).Inc() }

func (m *metrics) provider(id, result string) { m.providers.WithLabelValues(id, result).Inc() }

func (m *metrics) login(o login.Outcome) { m.logins.WithLabelValues(o.Method, o.Result).Inc() }

func (m *metrics) recovery(o recovery.Outcome) {
	m.recoveries.WithLabelValues(o.Method, o.Result).Inc()
}

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
	observe(m.deliveries.WithLabelValues(hook, string(a.Outcome)), a.Took, a.TraceID)
}
