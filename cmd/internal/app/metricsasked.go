package app

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/store"
)

// askTime bounds what a scrape asks others.
const askTime = 2 * time.Second

func (m *metrics) hashQueue(waiting func() int) {
	m.register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "usher", Name: "hash_queue_depth",
		Help: "Passwords that wait for a place in the hash pool.",
	}, func() float64 { return float64(waiting()) }))
}

// overrides adds what became of the newest saved settings.
func (m *metrics) overrides(outcome func() (revision int64, refused bool)) {
	m.register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "usher", Name: "settings_revision",
		Help: "Newest revision of the saved settings that this process has looked at.",
	}, func() float64 { revision, _ := outcome(); return float64(revision) }))
	m.register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
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
	m.register(&poolCollector{
		pools:       pools,
		connections: prometheus.NewDesc("usher_db_connections", "Connections to the database by pool (durable: commits wait for the disk, relaxed: they do not, reads, writer: of SQLite) and state (used, idle).", []string{"pool", "state"}, nil),
		most:        prometheus.NewDesc("usher_db_connections_max", "How many connections a pool may have.", []string{"pool"}, nil),
		waited:      prometheus.NewDesc("usher_db_wait_seconds_total", "How long callers have waited for a connection to be free.", []string{"pool"}, nil),
	})
}

// cutOff adds whether the database is away for this process alone.
func (m *metrics) cutOff(alone func() bool) {
	m.register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "usher", Name: "db_cut_off",
		Help: "1 while this process does not reach the database and others do: then /health/accepting says 503. Of processes with the API that may have others beside them.",
	}, func() float64 {
		if alone() {
			return 1
		}
		return 0
	}))
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

// flows adds how many flows were dropped.
func (m *metrics) flows(dropped func() store.DroppedFlows) {
	m.register(&droppedCollector{dropped, prometheus.NewDesc("usher_flows_dropped_total",
		"Flows that were deleted before their end because there were more than selfservice.max_flows, by what they wait for: code (that is in a mail), form (all others, also those whose form was sent).", []string{"waits_for"}, nil)})
}

type droppedCollector struct {
	dropped func() store.DroppedFlows
	flows   *prometheus.Desc
}

func (c *droppedCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.flows }

func (c *droppedCollector) Collect(ch chan<- prometheus.Metric) {
	d := c.dropped()
	ch <- prometheus.MustNewConstMetric(c.flows, prometheus.CounterValue, float64(d.Begun), "form")
	ch <- prometheus.MustNewConstMetric(c.flows, prometheus.CounterValue, float64(d.Waiting), "code")
}

// outbox adds the depth and age of the outbox, asked for at each scrape.
func (m *metrics) outbox(stats func(context.Context) (int64, time.Time, error), now func() time.Time) {
	m.register(&outboxCollector{
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
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
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

// answers adds how long answering workers take.
func (m *metrics) answers() *prometheus.HistogramVec {
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "usher", Name: "hook_answer_duration_seconds", Buckets: buckets,
		Help: "Questions to answering workers by hook and answer: ok, refused, missing, late, broken.",
	}, []string{"hook", "answer"})
	m.register(took)
	return took
}

// leads adds whether the relay of this process is the one that publishes.
func (m *metrics) leads(leading func() bool) {
	m.register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "usher", Name: "relay_leading",
		Help: "1 while the relay of this process is the one that publishes; of all processes with the API one has it.",
	}, func() float64 {
		if leading() {
			return 1
		}
		return 0
	}))
}

// connections adds which bus this process uses, and whether it is connected, as
// each of its users.
func (m *metrics) connections(servers string, of func() []*nats.Conn) {
	m.register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "usher", Name: "bus_info", Help: "Always 1; servers is the bus that this process was started with.",
		ConstLabels: prometheus.Labels{"servers": servers},
	}, func() float64 { return 1 }))
	m.register(&connectionsCollector{of, prometheus.NewDesc("usher_bus_connected",
		"1 while this process is connected to the bus, by the name of the connection.", []string{"connection"}, nil)})
}

type connectionsCollector struct {
	of        func() []*nats.Conn
	connected *prometheus.Desc
}

func (c *connectionsCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.connected }

func (c *connectionsCollector) Collect(ch chan<- prometheus.Metric) {
	all := map[string]float64{} // a name may have several
	for _, nc := range c.of() {
		connected := 0.0
		if nc.IsConnected() {
			connected = 1
		}
		name := nc.Opts.Name
		if former, known := all[name]; !known || connected < former {
			all[name] = connected
		}
	}
	for name, connected := range all {
		ch <- prometheus.MustNewConstMetric(c.connected, prometheus.GaugeValue, connected, name)
	}
}

// pending adds what waits for each hook on the bus, asked for at each scrape.
func (m *metrics) pending(consumers delivery.Consumers) {
	m.register(&pendingCollector{
		consumers: consumers,
		waiting:   prometheus.NewDesc("usher_hook_pending", "Events in the stream that the hook has not been given yet.", []string{"hook"}, nil),
		given:     prometheus.NewDesc("usher_hook_ack_pending", "Events that the hook was given and has not answered.", []string{"hook"}, nil),
	})
}

type pendingCollector struct {
	consumers      delivery.Consumers
	waiting, given *prometheus.Desc
}

func (c *pendingCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.waiting; ch <- c.given }

func (c *pendingCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	all, err := c.consumers.Consumers(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.waiting, err)
		return
	}
	for hook, d := range all {
		ch <- prometheus.MustNewConstMetric(c.waiting, prometheus.GaugeValue, float64(d.Pending), hook)
		ch <- prometheus.MustNewConstMetric(c.given, prometheus.GaugeValue, float64(d.AckPending), hook)
	}
}
