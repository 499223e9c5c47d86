package app

import (
	"context"
	"time"
)

const (
	sweepEvery = time.Minute
	sweepBatch = 1000
	// errorLife is how long the page that shows an error can be opened again.
	errorLife = 24 * time.Hour
)

// sweep deletes what is over, in bounded batches, while this process leads.
func (p *process) sweep(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !p.leading.Load() {
			continue
		}
		flows, err := p.store.DeleteExpiredFlows(ctx, sweepBatch)
		if err == nil {
			_, err = p.store.DeleteErrors(ctx, time.Now().Add(-errorLife), sweepBatch)
		}
		if err != nil && ctx.Err() == nil {
			p.log.Error("sweep", "error", err)
		}
		if flows == sweepBatch {
			tick.Reset(time.Second) // there is more
		} else {
			tick.Reset(sweepEvery)
		}
	}
}
