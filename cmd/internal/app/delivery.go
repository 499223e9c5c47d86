package app

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/store"
	workerdelivery "github.com/usher-auth/usher/workers/delivery"
	workeridentity "github.com/usher-auth/usher/workers/identity"
	"github.com/usher-auth/usher/workers/workertest"
)

// connectDelivery makes the service that keeps what hooks fail at. It
// works in a process with the hooks, and answers administrators in any.
func (p *process) connectDelivery(ctx context.Context) (*nats.Conn, error) {
	nc, err := p.bus.connect(ctx, events.UserDelivery)
	if err != nil {
		return nil, err
	}
	bus, err := workerdelivery.NewBus(nc)
	if err != nil {
		return nil, err
	}
	p.consumers = bus
	p.checker = &delivery.Checks{Declared: p.hooks, Bus: bus, Reports: p.store, Ledger: p.store, Golden: golden, Now: time.Now}
	p.delivery = delivery.New(delivery.Options{
		Failures:  p.store,
		Declared:  p.hooks,
		EventLog:  p.store,
		History:   history{p.store},
		Publisher: noting{bus, p.deliveries, time.Now},
		Consumers: bus,
		Ledger:    p.store,
		Log:       p.log,
		Now:       time.Now,
		Observe:   p.metrics,
	})
	return nc, nil
}

// startDelivery answers what hooks report and delivers it again. It starts
// before the hooks and so ends after them.
func (p *process) startDelivery(ctx context.Context) error {
	nc, err := p.connectDelivery(ctx)
	if err != nil {
		return err
	}
	if p.kicker == nil && !p.Parts.API {
		p.kicker = nc
	}
	p.metrics.failures(p.store, p.delivery.Paused, time.Now)
	p.metrics.pending(p.consumers)
	p.metrics.stream(func(ctx context.Context) (events.StreamState, error) { return events.StreamNow(ctx, nc) })
	p.stages.start(ctx, "deliveries", func(ctx context.Context) error { return p.deliveries.run(ctx, nc) })
	options := workerdelivery.Options{Service: p.delivery, Version: p.Version, Log: p.log}
	p.stages.start(ctx, "delivery", func(ctx context.Context) error { return workerdelivery.Run(ctx, nc, options) })
	identities := workeridentity.Options{Declarations: p.hooks, Identities: p.store, Version: p.Version, Log: p.log}
	p.stages.start(ctx, "identities for workers", func(ctx context.Context) error { return workeridentity.Run(ctx, nc, identities) })
	return nil
}

// golden gives an event that a worker is checked with.
func golden(eventType string) (events.Event, bool) {
	all := workertest.Events()
	at := slices.IndexFunc(all, func(e events.Event) bool { return e.Type == eventType })
	if at < 0 {
		return events.Event{}, false
	}
	return all[at], true
}

// history is the event log as replays read it.
type history struct{ store *store.Store }

// EventsOf is that of [delivery.History].
func (h history) EventsOf(ctx context.Context, types []string, since time.Time, after int64, limit int) ([]audit.Record, error) {
	return h.store.Events(ctx, audit.Query{Types: types, Since: since, After: after, Limit: limit})
}

// Reported is that of [delivery.Observer].
func (m *metrics) Reported(hook string, s delivery.State) {
	m.reports.WithLabelValues(hook, string(s)).Inc()
}

// Published is that of [delivery.Observer].
func (m *metrics) Published(hook string) { m.retries.WithLabelValues(hook).Inc() }

// failures adds what hooks have failed at, asked for at scrapes.
func (m *metrics) failures(stored failureStats, paused func() int, now func() time.Time) {
	m.register(
		&failuresCollector{
			stats: stored, now: now,
			count: prometheus.NewDesc("usher_hook_failures", "Events that hooks have failed at and are not done with, by hook and what has become of them.", []string{"hook", "state"}, nil),
			age:   prometheus.NewDesc("usher_hook_retry_oldest_due_seconds", "Age of the oldest retry that is due and not published.", nil, nil),
		},
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "usher", Name: "hooks_paused",
			Help: "Hooks that this process has paused because they fail all the time.",
		}, func() float64 { return float64(paused()) }),
	)
}

// failureStats are what the metrics ask the store.
type failureStats interface {
	delivery.Counter
	NextDue(ctx context.Context) (time.Time, error)
}

// countAge is how long counts are believed: to count reads through all failures that are not done.
const countAge = 30 * time.Second

type failuresCollector struct {
	stats      failureStats
	now        func() time.Time
	count, age *prometheus.Desc

	mu      sync.Mutex
	counts  map[string]map[delivery.State]int64
	counted time.Time
}

func (c *failuresCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.count; ch <- c.age }

func (c *failuresCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	counts, err := c.recent(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.count, err)
	}
	for hook, states := range counts {
		for state, n := range states {
			ch <- prometheus.MustNewConstMetric(c.count, prometheus.GaugeValue, float64(n), hook, string(state))
		}
	}
	due, err := c.stats.NextDue(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.age, err)
		return
	}
	age := time.Duration(0)
	if !due.IsZero() {
		age = max(0, c.now().Sub(due))
	}
	ch <- prometheus.MustNewConstMetric(c.age, prometheus.GaugeValue, age.Seconds())
}

func (c *failuresCollector) recent(ctx context.Context) (map[string]map[delivery.State]int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts != nil && c.now().Sub(c.counted) < countAge {
		return c.counts, nil
	}
	counts, err := c.stats.FailureCounts(ctx)
	if err == nil {
		c.counts, c.counted = counts, c.now()
	}
	return counts, err
}
