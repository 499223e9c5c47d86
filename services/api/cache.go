package api

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"

	"github.com/usher-auth/usher/services/session"
)

// cacheLife is how long an answer is believed without asking again: word of a
// revocation can be lost (S53).
const cacheLife = 5 * time.Second

// Cache answers whoami from memory. It holds a bounded number of sessions, each
// for five seconds at most, and less when it hears that the session or its
// identity has changed. Sessions that do not exist are not remembered.
type Cache struct {
	next Recognizer
	now  func() time.Time
	// known holds sessions by their token's digest; changed holds what was
	// revoked or updated, by id, for as long as an older answer may be known.
	known   *otter.Cache[session.Digest, cachedWho]
	changed *otter.Cache[uuid.UUID, time.Time]
}

type cachedWho struct {
	who *Who
	// asked is when the store was asked: what changed since is not in who.
	asked time.Time
}

// NewCache puts a cache of so many sessions in front of next.
func NewCache(next Recognizer, size int, now func() time.Time) (*Cache, error) {
	known, err := otter.New(&otter.Options[session.Digest, cachedWho]{
		MaximumSize:      size,
		ExpiryCalculator: otter.ExpiryCreating[session.Digest, cachedWho](cacheLife),
	})
	if err != nil {
		return nil, err
	}
	changed, err := otter.New(&otter.Options[uuid.UUID, time.Time]{
		MaximumSize:      size,
		ExpiryCalculator: otter.ExpiryWriting[uuid.UUID, time.Time](2 * cacheLife),
	})
	if err != nil {
		return nil, err
	}
	return &Cache{next: next, now: now, known: known, changed: changed}, nil
}

// Whoami is [Recognizer.Whoami].
func (c *Cache) Whoami(ctx context.Context, d session.Digest) (*Who, error) {
	now := c.now()
	if hit, ok := c.known.GetIfPresent(d); ok && now.Sub(hit.asked) < cacheLife && c.current(hit) {
		return hit.who, nil
	}
	who, err := c.next.Whoami(ctx, d)
	if err != nil {
		c.known.Invalidate(d)
		return nil, err
	}
	c.known.Set(d, cachedWho{who: who, asked: now})
	return who, nil
}

// current tells whether nothing was heard of a change since the store was asked.
func (c *Cache) current(hit cachedWho) bool {
	for _, id := range [...]uuid.UUID{hit.who.Session.ID, hit.who.Identity.ID} {
		if at, ok := c.changed.GetIfPresent(id); ok && !at.Before(hit.asked) {
			return false
		}
	}
	return true
}

// Changed forgets what is known of a session, or of all sessions of an
// identity. It may be told too often and in any order.
func (c *Cache) Changed(id uuid.UUID) { c.changed.Set(id, c.now()) }
