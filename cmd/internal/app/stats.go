package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	dto "github.com/prometheus/client_model/go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/stats"
	"github.com/usher-auth/usher/workers"
	workercourier "github.com/usher-auth/usher/workers/courier"
)

// statistics are the last hour: what this process tells of it, and in one with API or
// console what it has heard of all.
type statistics struct {
	conn      *nats.Conn
	sampler   *stats.Sampler
	collector *stats.Collector
	// waiting is how much waits, nil where another process leads.
	waiting atomic.Pointer[stats.Gauges]
}

var errBusAway = errors.New("the bus is away")

// startStats begins to tell what this process counts, and to collect what all tell.
func (p *process) startStats(ctx context.Context) error {
	s := p.stats
	if s.conn = p.events; s.conn == nil {
		s.conn = p.kicker
	}
	if p.Parts.administers() {
		s.collector = stats.NewCollector(time.Now)
		_, err := p.events.Subscribe(events.SubjectStats, func(m *nats.Msg) {
			if err := s.collector.Add(m.Data); err != nil {
				p.log.Debug("statistics of a process", "error", err)
			}
		})
		if err != nil {
			return fmt.Errorf("subscribe %s: %w", events.SubjectStats, err)
		}
	}
	host, _ := os.Hostname() // a name is for people
	s.sampler = &stats.Sampler{
		Host: cut(host), Version: cut(p.Version), Parts: p.Parts.names(),
		Read: p.metrics.totals, Gauges: s.waiting.Load, Send: s.send, Now: time.Now,
	}
	p.stages.start(ctx, "statistics", s.sampler.Run)
	return nil
}

// cut leaves of a name what a report may hold.
func cut(name string) string {
	return strings.ToValidUTF8(name[:min(len(name), 64)], "")
}

// names are what the parts are called.
func (p Parts) names() []string {
	names := []string{}
	for _, part := range []struct {
		runs bool
		name string
	}{{p.API, "api"}, {p.Session, "session"}, {p.Hooks, "hooks"}, {p.Console, "console"}} {
		if part.runs {
			names = append(names, part.name)
		}
	}
	return names
}

// send tells the other processes, and this one even if the bus is away.
func (s *statistics) send(report []byte) error {
	if s.collector != nil {
		_ = s.collector.Add(report) // what comes back by the bus changes nothing
	}
	if s.conn == nil || !s.conn.IsConnected() {
		return errBusAway
	}
	return s.conn.Publish(events.SubjectStats, report)
}

// tell tells the rest at the end of the process, before the bus is left.
func (s *statistics) tell() {
	if s.sampler == nil {
		return
	}
	s.sampler.Tell()
	if s.conn != nil && s.conn.IsConnected() {
		_ = s.conn.FlushTimeout(time.Second)
	}
}

// hour is the last one, of all processes that can be heard.
func (s *statistics) hour() stats.Hour {
	h := s.collector.Hour()
	h.Complete = s.conn != nil && s.conn.IsConnected()
	return h
}

// watchWaiting looks at what waits while this process leads: nothing of it is asked
// when somebody looks at the statistics.
func (p *process) watchWaiting(ctx context.Context) {
	defer p.stats.waiting.Store(nil)
	var failures stats.Gauges
	tick := time.NewTicker(stats.Step)
	defer tick.Stop()
	for n := 0; ; n++ {
		if n%3 == 0 { // to count them reads through all that are not done
			failures = p.failures(ctx, failures)
		}
		p.stats.waiting.Store(p.waiting(ctx, failures))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// waiting is what waits in the outbox besides the failures, nil if that cannot be had.
func (p *process) waiting(ctx context.Context, failures stats.Gauges) *stats.Gauges {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	depth, oldest, err := p.store.OutboxStats(ctx)
	if err != nil {
		return nil
	}
	failures.OutboxDepth = depth
	if depth > 0 {
		failures.OutboxOldest = max(0, time.Since(oldest).Seconds())
	}
	return &failures
}

// failures counts what hooks have failed at; what was counted before stays if that
// cannot be had.
func (p *process) failures(ctx context.Context, former stats.Gauges) stats.Gauges {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	counts, err := p.store.FailureCounts(ctx)
	if err != nil {
		return former
	}
	var g stats.Gauges
	for _, states := range counts {
		g.DeadLetters += states[delivery.Dead]
		g.Retries += states[delivery.Waiting]
	}
	return g
}

// totals are what this process has counted, as the last hour is made of it.
func (m *metrics) totals() stats.Totals {
	t := stats.Totals{Counts: map[string]int64{}, Times: map[string]stats.Histogram{}}
	families, _ := m.counted.Gather() // what can be read is
	for _, f := range families {
		for _, each := range f.GetMetric() {
			count(t, f.GetName(), each)
		}
	}
	return t
}

// count adds one series of the metrics.
func count(t stats.Totals, family string, m *dto.Metric) {
	counter, sampled := int64(m.GetCounter().GetValue()), int64(m.GetHistogram().GetSampleCount()) //nolint:gosec // never so many
	switch family {
	case "usher_registrations_total":
		t.Counts[stats.Registrations+label(m, "outcome")] += counter
	case "usher_logins_total":
		t.Counts[stats.Logins+label(m, "outcome")] += counter
	case "usher_events_published_total":
		t.Counts[stats.Published] += counter
	case "usher_relay_errors_total":
		t.Counts[stats.RelayErrors] += counter
	case "usher_session_issue_duration_seconds":
		if label(m, "outcome") != "ok" {
			t.Counts[stats.SessionErrors] += sampled
		}
	case "usher_http_request_duration_seconds":
		if looks(label(m, "route"), label(m, "method")) {
			return
		}
		t.Counts[stats.Requests] += sampled
		if status, _ := strconv.Atoi(label(m, "status")); status >= 500 {
			t.Counts[stats.RequestErrors] += sampled
		}
	case "usher_registration_step_duration_seconds":
		if label(m, "step") == "hop" {
			t.Times[stats.Hop] = t.Times[stats.Hop].Plus(histogram(m))
		}
	case "usher_hook_attempt_duration_seconds":
		if o := workers.Outcome(label(m, "outcome")); o != workers.Skipped {
			countAttempts(t, label(m, "hook"), o == workers.Done, sampled)
			t.Times[stats.Hook] = t.Times[stats.Hook].Plus(histogram(m))
		}
	}
}

// looks tells whether a request only looked at the installation, as the console does
// all the time: that is none of what it did. That a health check says no is no error.
func looks(route, method string) bool {
	for _, prefix := range []string{"/health/", "/metrics", "/console", "/admin/health/"} {
		if strings.HasPrefix(route, prefix) {
			return true
		}
	}
	return strings.HasPrefix(route, "/admin/") && method == http.MethodGet
}

// countAttempts adds the attempts of one hook that ended in one way.
func countAttempts(t stats.Totals, hook string, done bool, n int64) {
	hooks, mails := stats.HooksFailed, stats.MailsFailed
	if done {
		hooks, mails = stats.HooksDone, stats.MailsSent
	}
	t.Counts[hooks] += n
	if hook == workercourier.Name {
		t.Counts[mails] += n
	}
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// histogram gives each bucket's own count: a metric's hold those below too.
func histogram(m *dto.Metric) (h stats.Histogram) {
	below := uint64(0)
	for n, b := range m.GetHistogram().GetBucket() {
		if n < len(h)-1 {
			h[n] = int64(b.GetCumulativeCount() - below) //nolint:gosec // never so many
			below = b.GetCumulativeCount()
		}
	}
	h[len(h)-1] = int64(m.GetHistogram().GetSampleCount() - below) //nolint:gosec // never so many
	return h
}
