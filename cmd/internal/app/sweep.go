package app

import (
	"context"
	"time"

	"github.com/usher-auth/usher/events"
)

const (
	sweepEvery = time.Minute
	// sweepPause is between two rounds when there is more.
	sweepPause = time.Second
	// A round deletes at most so many batches of each kind, so many rows each.
	sweepBatches = 10
	sweepBatch   = 1000
	// errorLife is how long the page that shows an error can be opened again.
	errorLife = 24 * time.Hour
	// sessionLife is how long a session that is over can be listed, codeLife and
	// messageLife how long what has become of a code or mail can be seen.
	sessionLife = 24 * time.Hour
	codeLife    = 24 * time.Hour
	messageLife = 30 * 24 * time.Hour
	// failureLife is how long what hooks failed at, and what was done or discarded
	// since, can be seen.
	failureLife = 30 * 24 * time.Hour
	// inputLife is how long what a background hook needs is kept: as long as the
	// stream keeps the event, and a day.
	inputLife = events.StreamAge + 24*time.Hour
)

// sweep deletes what is over, in bounded batches, until ctx ends.
func (p *process) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if p.sweepOnce(ctx) {
			tick.Reset(sweepPause)
		} else {
			tick.Reset(sweepEvery)
		}
	}
}

// sweptKind deletes about a batch of what is over, and tells how many.
type sweptKind struct {
	name string
	del  func() (int, error)
}

// sweepOnce deletes what is over, at most ten batches of each kind, and tells whether
// there is more.
func (p *process) sweepOnce(ctx context.Context) (more bool) {
	now := time.Now()
	for _, kind := range []sweptKind{
		{"flows", func() (int, error) { return p.store.DeleteExpiredFlows(ctx, sweepBatch) }},
		{"errors", func() (int, error) { return p.store.DeleteErrors(ctx, now.Add(-errorLife), sweepBatch) }},
		{"sessions", func() (int, error) { return p.store.DeleteExpiredSessions(ctx, now.Add(-sessionLife), sweepBatch) }},
		{"operator sessions", func() (int, error) { return p.store.DeleteOperatorSessions(ctx, now.Add(-sessionLife), sweepBatch) }},
		{"codes", func() (int, error) { return p.store.DeleteExpiredCodes(ctx, now.Add(-codeLife), sweepBatch) }},
		{"messages", func() (int, error) { return p.store.DeleteMessages(ctx, now.Add(-messageLife), sweepBatch) }},
		{"hook failures", func() (int, error) { return p.store.DeleteFailures(ctx, now.Add(-failureLife), sweepBatch) }},
		{"deliveries", func() (int, error) { return p.store.DeleteDeliveries(ctx, now.Add(-deliveryLife), sweepBatch) }},
		{"hook inputs", func() (int, error) { return p.store.DeleteHookInputs(ctx, now.Add(-inputLife), sweepBatch) }},
	} {
		more = p.sweepKind(ctx, kind, sweepBatches) || more
	}
	events := sweptKind{"events", func() (int, error) { return p.audit.prune(ctx, now) }}
	return p.sweepKind(ctx, events, 1) || more // which deletes ten batches itself
}

// sweepKind deletes batches of a kind until one is not full, and at most so many; it
// tells whether the last was full.
func (p *process) sweepKind(ctx context.Context, kind sweptKind, batches int) (more bool) {
	for range batches {
		deleted, err := kind.del()
		p.metrics.swept.WithLabelValues(kind.name).Add(float64(deleted))
		if err != nil && ctx.Err() == nil {
			p.log.Error("sweep", "kind", kind.name, "error", err)
		}
		if err != nil || deleted < sweepBatch {
			return false
		}
	}
	return true
}
