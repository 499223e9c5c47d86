package audit

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Provable is a log with the keys that its checkpoints are verified with.
type Provable interface {
	Source
	AuditKeys(ctx context.Context) ([]PublicKey, error)
}

// ErrChecking says that a log is being verified already.
var ErrChecking = errors.New("audit: the log is being verified already")

// Check verifies a log in the background, once at a time, by the keys that the
// log's own database holds: whoever can change both leaves no trace that it would
// see. It is safe for concurrent use.
type Check struct {
	log    Provable
	now    func() time.Time
	orders chan int64

	mu       sync.Mutex
	progress Progress
}

// CheckState is how far a check has come.
type CheckState string

// States of a check.
const (
	CheckNone    CheckState = "none" // nobody has asked yet
	CheckRunning CheckState = "running"
	CheckIntact  CheckState = "intact"
	CheckBroken  CheckState = "broken"
	CheckFailed  CheckState = "failed" // it could not be verified to its end
)

// Progress is how far the current or last check has come.
type Progress struct {
	State              CheckState
	StartedAt, EndedAt time.Time
	Done, All          int64 // records
	Report             Report
	Broken             *Broken // the first thing that does not fit
	Err                error   // why it has failed
}

// Rate is how many records were verified in a second.
func (p Progress) Rate(now time.Time) int64 {
	if !p.EndedAt.IsZero() {
		now = p.EndedAt
	}
	d := now.Sub(p.StartedAt)
	if p.StartedAt.IsZero() || d <= 0 {
		return 0
	}
	return int64(float64(p.Done) / d.Seconds())
}

// NewCheck makes a check, which verifies while Run runs.
func NewCheck(log Provable, now func() time.Time) *Check {
	return &Check{log: log, now: now, orders: make(chan int64, 1), progress: Progress{State: CheckNone}}
}

// Begin has the log verified: all of it, or with last the records behind the first
// checkpoint among the last so many. [ErrChecking] while it is being verified.
func (c *Check) Begin(last int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.progress.State == CheckRunning {
		return ErrChecking
	}
	c.progress = Progress{State: CheckRunning, StartedAt: c.now()}
	c.orders <- last // whoever runs took the one before
	return nil
}

// Progress tells how far the current or last check has come.
func (c *Check) Progress() Progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.progress
}

// Run verifies what Begin asks for until ctx ends.
func (c *Check) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case last := <-c.orders:
			report, err := c.verify(ctx, last)
			c.end(report, err)
		}
	}
}

func (c *Check) verify(ctx context.Context, last int64) (Report, error) {
	keys, err := c.log.AuditKeys(ctx)
	if err != nil {
		return Report{}, err
	}
	after, err := c.begin(ctx, last)
	if err != nil {
		return Report{}, err
	}
	v := Verifier{Keys: keys}
	_, err = Walk(ctx, c.log, Query{After: after}, Handler{Record: v.Record, Checkpoint: v.Checkpoint}, func(done, all int64) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.progress.Done, c.progress.All = done, all
		return ctx.Err()
	})
	if err != nil {
		return Report{}, err
	}
	return v.End()
}

// begin gives the checkpoint to begin behind; 0, the start, where none is among the
// last so many records.
func (c *Check) begin(ctx context.Context, last int64) (int64, error) {
	_, end, err := c.log.EventSpan(ctx)
	if err != nil || last == 0 || last >= end {
		return 0, err
	}
	found, err := c.log.Checkpoints(ctx, end-last-1, 1)
	if err != nil || len(found) == 0 || found[0].Seq >= end {
		return 0, err
	}
	return found[0].Seq, nil
}

func (c *Check) end(r Report, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress.EndedAt, c.progress.Report = c.now(), r
	switch {
	case errors.As(err, &c.progress.Broken):
		c.progress.State = CheckBroken
	case err != nil:
		c.progress.State, c.progress.Err = CheckFailed, err
	default:
		c.progress.State = CheckIntact
	}
}
