package store

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/usher-auth/usher/services/flow"
)

// DefaultMaxFlows is [Options].MaxFlows where that is 0.
const DefaultMaxFlows = 1_000_000

// dropBatch bounds the flows that one statement looks at to drop them.
const dropBatch = 10_000

// flowCap keeps the number of flows bounded, whoever makes them:
//
//	oldest                                                 newest
//	… │ at most max that wait for a code in a mail │ the last max │
//
// Who only begins flows pushes out those that others have begun, and nobody's code.
type flowCap struct {
	max  int64
	made atomic.Int64 // by this process, since it looked whether there are too many

	dropping sync.Mutex
	done     int64 // up to this number none is left that waits for no code

	begun, waiting atomic.Int64 // see [DroppedFlows]
}

// step is how many flows a process makes between two looks.
func (c *flowCap) step() int64 { return max(1, c.max/100) }

// due tells now and then that it is to be looked.
func (c *flowCap) due() bool {
	if c.made.Add(1) < c.step() {
		return false
	}
	c.made.Store(0)
	return true
}

// DroppedFlows are flows that this process has deleted before their end, since there
// were too many.
type DroppedFlows struct {
	Begun   int64 // whoever sends their form has to begin again
	Waiting int64 // whoever has their code in a mail needs another
}

// DroppedFlows asks nothing of the database.
func (s *Store) DroppedFlows() DroppedFlows {
	return DroppedFlows{Begun: s.flows.begun.Load(), Waiting: s.flows.waiting.Load()}
}

// dropFlows deletes the oldest flows if there are too many. What fails is done with
// the next look: the flow that was made meanwhile is good.
func (s *Store) dropFlows(ctx context.Context) {
	c := &s.flows
	if !c.dropping.TryLock() {
		return
	}
	defer c.dropping.Unlock()
	err := s.backend.withFlows(ctx, func(p *pool) error {
		var newest int64
		if err := p.get(ctx, &newest, `SELECT coalesce(max(n), 0) FROM flows`); err != nil {
			return err
		}
		upTo := newest - c.max
		if c.done > upTo { // the file of SQLite was made anew
			c.done = 0
		}
		if err := s.dropBegun(ctx, p, upTo); err != nil {
			return err
		}
		return s.dropWaiting(ctx, p, upTo)
	})
	if err != nil && ctx.Err() == nil {
		s.log.Warn("flows beyond the limit are not deleted; it is tried again", "error", err)
	}
}

// dropBegun deletes the flows up to a number that wait for no code.
func (s *Store) dropBegun(ctx context.Context, p *pool, upTo int64) error {
	c := &s.flows
	for from := max(0, c.done, upTo-c.max); from < upTo; from = c.done {
		to := min(from+dropBatch, upTo)
		err := s.drop(ctx, p, `n > ? AND n <= ? AND NOT (kind IN (?, ?) AND state = ?)`, from, to, string(flow.Verification), string(flow.Recovery), flow.SentEmail)
		if err != nil {
			return err
		}
		c.done = to
	}
	return nil
}

// dropWaiting deletes the oldest flows of what is left up to a number, if that is too many.
func (s *Store) dropWaiting(ctx context.Context, p *pool, upTo int64) error {
	var left int64
	if err := p.get(ctx, &left, `SELECT count(*) FROM flows WHERE n <= ?`, upTo); err != nil || left <= s.flows.max {
		return err
	}
	return s.drop(ctx, p, `n BETWEEN (SELECT min(n) FROM flows) AND (SELECT max(n) FROM (SELECT n FROM flows ORDER BY n LIMIT ?) AS oldest)`,
		min(left-s.flows.max, max(dropBatch, 2*s.flows.step())))
}

// drop deletes flows, and counts those whose time is not over.
func (s *Store) drop(ctx context.Context, p *pool, which string, args ...any) error {
	var gone []struct {
		Kind      string `db:"kind"`
		State     string `db:"state"`
		ExpiresAt moment `db:"expires_at"`
	}
	if err := p.list(ctx, &gone, `DELETE FROM flows WHERE `+which+` RETURNING kind, state, expires_at`, args...); err != nil {
		return err
	}
	now := s.now()
	for _, f := range gone {
		switch {
		case !f.ExpiresAt.After(now):
		case (f.Kind == string(flow.Verification) || f.Kind == string(flow.Recovery)) && f.State == flow.SentEmail:
			s.flows.waiting.Add(1)
		default:
			s.flows.begun.Add(1)
		}
	}
	return nil
}
