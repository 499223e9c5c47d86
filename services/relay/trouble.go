package relay

import (
	"context"
	"time"
)

// trouble is what keeps events from being published, "" when nothing does.
type trouble string

const (
	storeTrouble   trouble = "relay cannot work, events wait in the outbox"
	streamTrouble  trouble = "stream stores nothing, events wait in the outbox"
	refusedTrouble trouble = "stream refuses an event, it waits in the outbox with the later ones of its identity"
)

// told is the trouble that was logged last, and since when it is there.
type told struct {
	trouble trouble
	since   time.Time
}

// report tells the observer of each window, and the log when a trouble begins
// and when it is over.
func (r *run) report(ctx context.Context, s Stats) {
	t := s.trouble
	if t != r.told.trouble {
		if t == "" {
			r.Log.InfoContext(ctx, "events are published again", "after", time.Since(r.told.since).Round(time.Millisecond))
		} else {
			r.Log.WarnContext(ctx, string(t), "err", s.Err)
		}
		r.told = told{trouble: t, since: time.Now()}
	}
	if t == streamTrouble {
		s.Stalled = time.Since(r.told.since)
	}
	if r.Observe != nil {
		r.Observe(s)
	}
}
