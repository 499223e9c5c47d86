package password

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/usher-auth/usher/services/tracing"
)

const (
	queuePerWorker = 16
	shortestWait   = time.Second
	waitInHashes   = 8
)

// PoolOptions bound a pool.
type PoolOptions struct {
	// Workers is how many passwords are hashed at a time; 0 means one per core.
	Workers int
	// Queue is how many may wait for each worker; 0 means 16.
	Queue int
}

// Pool hashes and verifies passwords, no more at a time than it has workers:
// that bounds memory and keeps the other requests alive. The work is done by
// the goroutine that asks. A Pool is safe for concurrent use.
type Pool struct {
	algorithm Algorithm
	slots     chan struct{}
	queue     int64
	waiting   atomic.Int64
	average   atomic.Int64 // nanoseconds of one hash; 0 until one is measured
}

// NewPool makes a pool that hashes with a. It refuses parameters that
// [Pool.Verify] would not accept again.
func NewPool(o PoolOptions, a Algorithm) (*Pool, error) {
	if err := a.check(); err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Queue <= 0 {
		o.Queue = queuePerWorker
	}
	return &Pool{algorithm: a, slots: make(chan struct{}, o.Workers), queue: int64(o.Workers * o.Queue)}, nil
}

// Hash gives the string to store. It gives [ErrBusy], before any work, at once
// when the queue is full, and after a while when it does not move; [ErrTooLong]
// for what the algorithm cannot hash; and the error of ctx if that ends while waiting.
func (p *Pool) Hash(ctx context.Context, plain Plain) (hash string, err error) {
	err = p.run(ctx, "password.hash", func() error {
		hash, err = p.algorithm.hash(plain.Reveal())
		return err
	})
	return hash, err
}

// Verify gives [ErrMismatch] for a wrong password, and [ErrUnknownHash] or
// [ErrCostlyHash] for a hash that it does not judge. It waits like [Pool.Hash].
func (p *Pool) Verify(ctx context.Context, plain Plain, hash string) error {
	return p.run(ctx, "password.verify", func() error { return verify(plain.Reveal(), hash) })
}

// Outdated tells whether a hash was made by another algorithm than new ones, or
// with other parameters, so that it is to be made anew when the password is at
// hand. It costs next to nothing.
func (p *Pool) Outdated(hash string) bool { return !p.algorithm.made(hash) }

// run works in a slot. Its span has the wait for the slot in it.
func (p *Pool) run(ctx context.Context, step string, work func() error) error {
	ctx, span := tracing.Start(ctx, step)
	defer span.End()
	if err := p.acquire(ctx); err != nil {
		return err
	}
	defer func() { <-p.slots }()
	start := time.Now()
	err := work()
	if err == nil || errors.Is(err, ErrMismatch) {
		p.measure(time.Since(start))
	}
	return err
}

// acquire takes a slot. Those that wait get theirs in order.
func (p *Pool) acquire(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > p.queue {
		return ErrBusy
	}
	patience := time.NewTimer(max(shortestWait, waitInHashes*time.Duration(p.average.Load())))
	defer patience.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		return ErrBusy
	}
}

// measure keeps a moving average. Two workers may overwrite each other, which
// loses one sample.
func (p *Pool) measure(took time.Duration) {
	former := p.average.Load()
	if former == 0 {
		former = int64(took)
	}
	p.average.Store(former + (int64(took)-former)/16)
}

// Stats is how busy a pool is.
type Stats struct {
	Workers, Running, Waiting int
}

// Stats gives how busy p is now.
func (p *Pool) Stats() Stats {
	return Stats{
		Workers: cap(p.slots),
		Running: len(p.slots),
		Waiting: int(p.waiting.Load()),
	}
}
