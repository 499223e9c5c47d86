package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// maxCollected is how many jobs share a commit at most.
const maxCollected = 16

// collector lets jobs that wait at the same time share a commit. A job that
// comes alone waits for nobody: it is begun at once, and those that come
// meanwhile wait together for the next commit.
type collector[J any] struct {
	// together does jobs in one commit; any error means that nothing was done.
	// alone does one. refuse, if set, says of a job whose turn has come why it is
	// not to be done any more.
	together func(context.Context, []J) error
	alone    func(context.Context, J) error
	refuse   func(J) error

	mu      sync.Mutex
	waiting []*collected[J]
	busy    bool
}

type collected[J any] struct {
	job  J
	ctx  context.Context
	err  error
	done chan struct{}
}

func newCollector[J any](together func(context.Context, []J) error, alone func(context.Context, J) error) *collector[J] {
	return &collector[J]{together: together, alone: alone}
}

// do does a job, in a commit of its own or one that it shares. The end of ctx,
// or of the caller's patience, takes back a job that has not begun.
func (c *collector[J]) do(ctx context.Context, job J) error {
	w := &collected[J]{job: job, ctx: ctx, done: make(chan struct{})}
	c.mu.Lock()
	c.waiting = append(c.waiting, w)
	begin := !c.busy
	c.busy = true
	c.mu.Unlock()
	if begin {
		go c.drain()
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return c.leave(w, ctx.Err())
	case <-late.C:
		return c.leave(w, &unavailable{fmt.Errorf("the commits before this one took longer than %v", patience)})
	}
}

// leave takes a job back, with the given error, unless it has begun.
func (c *collector[J]) leave(w *collected[J], err error) error {
	c.mu.Lock()
	if n := slices.Index(c.waiting, w); n >= 0 {
		c.waiting = slices.Delete(c.waiting, n, n+1)
		c.mu.Unlock()
		return err
	}
	c.mu.Unlock()
	<-w.done
	return w.err
}

// drain does what waits until nothing does.
func (c *collector[J]) drain() {
	for {
		c.mu.Lock()
		batch := slices.Clone(c.waiting[:min(len(c.waiting), maxCollected)]) // others may leave what waits
		c.waiting = c.waiting[len(batch):]
		if len(batch) == 0 {
			c.waiting, c.busy = nil, false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		c.finish(batch)
	}
}

// endless is a context that does not end, with the trace of ctx where that is recorded.
func endless(ctx context.Context) context.Context {
	if trace.SpanContextFromContext(ctx).IsSampled() {
		return context.WithoutCancel(ctx)
	}
	return context.Background()
}

// shared is the context of a commit that is shared: it has the trace of one that is
// recorded, if there is any.
func shared[J any](all []*collected[J]) context.Context {
	for _, w := range all {
		if trace.SpanContextFromContext(w.ctx).IsSampled() {
			return endless(w.ctx)
		}
	}
	return context.Background()
}

// finish does a batch. When it cannot be done together, each is done alone, so
// that one that must fail takes nobody with it.
func (c *collector[J]) finish(batch []*collected[J]) {
	jobs := make([]J, 0, len(batch))
	begun := make([]*collected[J], 0, len(batch))
	for _, w := range batch {
		w.err = w.ctx.Err()
		if w.err == nil && c.refuse != nil {
			w.err = c.refuse(w.job)
		}
		if w.err != nil {
			close(w.done)
			continue
		}
		jobs, begun = append(jobs, w.job), append(begun, w)
	}
	done, stuck := false, error(nil)
	if len(jobs) > 1 {
		at := time.Now()
		err := c.together(shared(begun), jobs)
		done = err == nil
		var down *unavailable
		if errors.As(err, &down) && time.Since(at) > patience {
			stuck = err // each alone would wait as long once more
		}
	}
	var all sync.WaitGroup
	for _, w := range begun {
		if done || stuck != nil {
			w.err = stuck
			close(w.done)
			continue
		}
		all.Go(func() {
			w.err = c.alone(endless(w.ctx), w.job)
			close(w.done)
		})
	}
	all.Wait()
}
