package app

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/timeline"
)

const (
	// keepEvery is how often what was seen of deliveries is stored.
	keepEvery = time.Second
	// maxSeen bounds the deliveries in memory: what is beyond is not seen.
	maxSeen = 8192
	// keepTime bounds storing them.
	keepTime = 5 * time.Second
	// maxDeliveries and deliveryLife bound the table.
	maxDeliveries = 1_000_000
	deliveryLife  = events.StreamAge
)

// deliveries watches what hooks are given, for the timeline. Nobody relies on
// it: what cannot be kept is left out.
type deliveries struct {
	store deliveryStore
	log   *slog.Logger

	mu   sync.Mutex
	seen map[message]timeline.Delivery
}

// deliveryStore keeps deliveries.
type deliveryStore interface {
	SaveDeliveries(ctx context.Context, seen []timeline.Delivery, keep int) error
}

// message is one in the stream, as a hook gets it.
type message struct {
	hook string
	seq  uint64
}

func newDeliveries(s deliveryStore, log *slog.Logger) *deliveries {
	return &deliveries{store: s, log: log, seen: map[message]timeline.Delivery{}}
}

// acked notes an ack.
func (d *deliveries) acked(a events.Acked) {
	d.note(message{a.Durable, a.StreamSeq}, func(n *timeline.Delivery) {
		n.Deliveries, n.AckedAt, n.Took = a.Deliveries, a.At, a.Took
	})
}

func (d *deliveries) note(m message, change func(*timeline.Delivery)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	known, ok := d.seen[m]
	if !ok && len(d.seen) >= maxSeen {
		return
	}
	known.Hook, known.StreamSeq = m.hook, m.seq
	change(&known)
	d.seen[m] = known
}

// run watches until ctx ends, and then keeps what it has seen.
func (d *deliveries) run(ctx context.Context, nc *nats.Conn) error {
	sub, err := events.ShareAcks(nc, d.acked)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			d.keep(ctx)
			return nil
		case <-tick.C:
			d.keep(ctx)
		}
	}
}

// keep stores what was seen since it was called last.
func (d *deliveries) keep(ctx context.Context) {
	d.mu.Lock()
	seen := make([]timeline.Delivery, 0, len(d.seen))
	for _, one := range d.seen {
		seen = append(seen, one)
	}
	clear(d.seen)
	d.mu.Unlock()
	if len(seen) == 0 {
		return
	}
	// By age, and two processes in the same order: neither waits for the other in a circle.
	slices.SortFunc(seen, func(a, b timeline.Delivery) int {
		return cmp.Or(cmp.Compare(a.StreamSeq, b.StreamSeq), cmp.Compare(a.Hook, b.Hook))
	})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	if err := d.store.SaveDeliveries(ctx, seen, maxDeliveries); err != nil {
		d.log.DebugContext(ctx, "timelines lack some deliveries", "count", len(seen), "error", err)
	}
}

// noting is a publisher of retries that notes their places in the stream: nobody
// else knows which event they are of.
type noting struct {
	delivery.Publisher
	seen *deliveries
	now  func() time.Time
}

// PublishRetry is that of [delivery.Publisher].
func (n noting) PublishRetry(ctx context.Context, r delivery.Retry) (uint64, error) {
	seq, err := n.Publisher.PublishRetry(ctx, r)
	if err == nil && r.Deadline.IsZero() { // else it is a check, and no event
		n.seen.note(message{r.Hook, seq}, func(d *timeline.Delivery) {
			d.EventID, d.Attempt, d.PublishedAt = r.EventID, r.Attempt, n.now()
		})
	}
	return seq, err
}

// watchedHooks are the hooks as timelines see them.
type watchedHooks struct{ p *process }

// TimelineHooks is that of [timeline.Hooks].
func (w watchedHooks) TimelineHooks(ctx context.Context) (all []timeline.Hook, bus, err error) {
	declared, err := w.p.hooks.All(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, busTime)
	defer cancel()
	consumers, bus := w.p.consumers.Consumers(ctx)
	for _, h := range declared {
		if h.Kind == delivery.Answer {
			continue
		}
		c, known := consumers[h.Name]
		all = append(all, timeline.Hook{
			Name: h.Name, Kind: string(h.Kind), Types: h.Types, Disabled: h.Disabled != "", Since: h.CreatedAt,
			Known: known, AckFloor: c.AckFloor, PausedUntil: c.PausedUntil,
		})
	}
	return all, bus, nil
}

// busTime is how long a timeline waits for the bus: the rest can be shown without.
const busTime = time.Second

func (p *process) timelines() *timeline.Service {
	return &timeline.Service{Grants: p.store, Log: p.store, Watched: p.store, Hooks: watchedHooks{p}, Now: time.Now}
}
