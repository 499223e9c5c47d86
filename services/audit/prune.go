package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usher-auth/usher/events"
)

// Pruned is what pruning needs of a log.
type Pruned interface {
	// EventSpan gives the first and the last seq, zero when there is no record.
	EventSpan(ctx context.Context) (first, last int64, err error)
	Events(ctx context.Context, q Query) ([]Record, error)
	// PruneEvents deletes about limit of the oldest records, none behind upTo, up to
	// a checkpoint, and tells how many.
	PruneEvents(ctx context.Context, upTo int64, limit int) (int, error)
	// AppendSoon stores an event without waiting for the disk.
	AppendSoon(ctx context.Context, e events.Event) error
}

// Prune deletes records that were logged before the given time, up to a
// checkpoint, in at most ten batches of about that many, and tells of it by an
// event. It tells how many it has deleted, also with an error.
func Prune(ctx context.Context, log Pruned, before, now time.Time, batch int) (n int, err error) {
	first, last, err := log.EventSpan(ctx)
	if err != nil || first == 0 {
		return 0, err
	}
	kept, err := log.Events(ctx, Query{Since: before, Limit: 1})
	if err != nil {
		return 0, err
	}
	if len(kept) > 0 {
		last = kept[0].Seq - 1
	}
	for n < 10*batch && err == nil {
		var some int
		if some, err = log.PruneEvents(ctx, last, batch); some == 0 {
			break
		}
		n += some
	}
	if n > 0 {
		pruned := system.Acted("audit.prune", fmt.Sprintf("%d-%d", first, first+int64(n)-1), now)
		err = errors.Join(err, log.AppendSoon(ctx, pruned))
	}
	return n, err
}

// system is the author of what the log does by itself.
var system = Author{Actor: "system:audit"}
