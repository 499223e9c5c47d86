package oidc

import (
	"context"
	"sync"
	"time"
)

const (
	// refreshAfter is when Run reads discovery and keys anew, maxAge how long
	// they may be used while the provider is away.
	refreshAfter = time.Hour
	maxAge       = 24 * time.Hour
	// retryAfter is how long a failure stands before the provider is asked again.
	retryAfter = 2 * time.Second
	// renewAfter is the least time between two fetches that tokens with unknown
	// keys bring about: such a token costs the provider next to nothing.
	renewAfter = 5 * time.Second
)

// cache holds what a provider says about itself. One caller fetches, the others
// wait.
type cache[T any] struct {
	step  string // what it reads, in errors
	fetch func(context.Context) (T, error)
	now   func() time.Time
	turn  chan struct{} // holds one token: who has it may fetch

	mu      sync.Mutex
	known   T
	fetched time.Time // zero: never
	err     error     // of the last fetch
	failed  time.Time
	renewed time.Time
}

func newCache[T any](step string, fetch func(context.Context) (T, error), now func() time.Time) *cache[T] {
	return &cache[T]{step: step, fetch: fetch, now: now, turn: make(chan struct{}, 1)}
}

// get gives what is known for at most maxAge, fetched if need be.
func (c *cache[T]) get(ctx context.Context) (T, error) {
	if known, ok, err := c.peek(); ok {
		return known, err
	}
	if err := c.lock(ctx); err != nil {
		return *new(T), err
	}
	defer c.unlock()
	if known, ok, err := c.peek(); ok {
		return known, err
	}
	return c.load(context.WithoutCancel(ctx)) // others wait for it
}

// renew is get for who misses something in what get gave: it fetches anew,
// unless that was done for another one a moment ago.
func (c *cache[T]) renew(ctx context.Context) (T, error) {
	if err := c.lock(ctx); err != nil {
		return *new(T), err
	}
	defer c.unlock()
	c.mu.Lock()
	now := c.now()
	recent := now.Sub(c.renewed) < renewAfter
	if !recent {
		c.renewed = now
	}
	known, err := c.known, c.err
	c.mu.Unlock()
	if recent {
		return known, err
	}
	return c.load(context.WithoutCancel(ctx))
}

// refresh fetches anew; what is known stays when that fails.
func (c *cache[T]) refresh(ctx context.Context) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	_, err := c.load(ctx)
	return err
}

func (c *cache[T]) lock(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return away(c.step, "no answer in time")
	}
}

func (c *cache[T]) unlock() { <-c.turn }

// peek gives what stands: what is known, or a failure of a moment ago.
func (c *cache[T]) peek() (known T, ok bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if !c.fetched.IsZero() && now.Sub(c.fetched) < maxAge {
		return c.known, true, nil
	}
	if c.err != nil && now.Sub(c.failed) < retryAfter {
		return known, true, c.err
	}
	return known, false, nil
}

func (c *cache[T]) load(ctx context.Context) (T, error) {
	fresh, err := c.fetch(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err = err; err != nil {
		c.failed = c.now()
		return *new(T), err
	}
	c.known, c.fetched = fresh, c.now()
	return fresh, nil
}
