package api

import (
	"container/heap"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// classLimiter has a bucket of tokens for each network that owes some, and for
// max of them at most.
//
// A bucket is forgotten when it is full again, which changes nothing for whose it
// was, and never before. A cache that evicts would give a token, or a burst of
// them, to whoever is pushed out and comes back: a /44 of IPv6 is a million
// networks, and going round them would lift the limit. So while max networks owe,
// all others share one bucket. To keep it so takes max × per_hour requests an
// hour that are not refused, for a debt lasts only until its tokens are back.
type classLimiter struct {
	limit Limit
	max   int

	mu      sync.Mutex
	latest  time.Time // moment that was seen
	buckets map[netip.Prefix]*bucket
	owing   owing         // the same, the one that is full first at the top
	shared  *bucket       // of the networks that found no place
	ceiling *rate.Limiter // of all networks together, nil for none
}

// bucket is what a network may do.
type bucket struct {
	*rate.Limiter
	of    netip.Prefix
	full  time.Time // again
	place int       // in owing, or unplaced
}

const unplaced = -1

func newClassLimiter(l Limit, most int) (*classLimiter, error) {
	if l.Burst < 1 || l.PerHour < 1 || l.GlobalPerSecond < 0 {
		return nil, fmt.Errorf("a limit of %d at once and %d an hour (%d a second in all) lets nobody pass", l.Burst, l.PerHour, l.GlobalPerSecond)
	}
	c := &classLimiter{limit: l, max: most, buckets: map[netip.Prefix]*bucket{}}
	c.shared = c.newBucket(netip.Prefix{})
	if l.GlobalPerSecond > 0 {
		c.ceiling = rate.NewLimiter(rate.Limit(l.GlobalPerSecond), l.GlobalPerSecond)
	}
	return c, nil
}

func (c *classLimiter) newBucket(of netip.Prefix) *bucket {
	perSecond := rate.Limit(float64(c.limit.PerHour) / time.Hour.Seconds())
	return &bucket{Limiter: rate.NewLimiter(perSecond, c.limit.Burst), of: of, place: unplaced}
}

// spend takes a token of a network, or tells how long until there is one. What
// is refused costs nothing, whoever refuses it.
func (c *classLimiter) spend(of netip.Prefix, at time.Time) (wait time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	own, now := c.bucket(of, at)
	if wait = c.wait(own, now); wait > 0 {
		return wait, false
	}
	c.take(own, now)
	return 0, true
}

// exhausted tells without taking a token whether there is none, and for how long.
func (c *classLimiter) exhausted(of netip.Prefix, at time.Time) (wait time.Duration, is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait = c.wait(c.bucket(of, at))
	return wait, wait > 0
}

// owe takes a token even if there is none: what was begun many times at once,
// before the first of it was counted, is paid for later. A debt has an end: it
// is paid within about an hour.
func (c *classLimiter) owe(of netip.Prefix, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	own, now := c.bucket(of, at)
	if own.TokensAt(now) > -float64(c.limit.PerHour) {
		c.take(own, now)
	}
}

// bucket gives the bucket of a network, and the moment to judge it by. Requests
// need not come in the order of their moments: were time to go back, the tokens
// of what follows would come twice.
func (c *classLimiter) bucket(of netip.Prefix, at time.Time) (*bucket, time.Time) {
	if at.After(c.latest) {
		c.latest = at
	}
	c.forget(c.latest)
	own, ok := c.buckets[of]
	switch {
	case ok:
	case len(c.buckets) < c.max:
		own = c.newBucket(of) // kept once it owes
	default:
		own = c.shared
	}
	return own, c.latest
}

func (c *classLimiter) wait(own *bucket, now time.Time) time.Duration {
	wait := until(own.Limiter, 1, now)
	if c.ceiling != nil {
		wait = max(wait, until(c.ceiling, 1, now))
	}
	return wait
}

func (c *classLimiter) take(own *bucket, now time.Time) {
	own.ReserveN(now, 1)
	if c.ceiling != nil {
		c.ceiling.ReserveN(now, 1)
	}
	own.full = now.Add(until(own.Limiter, c.limit.Burst, now))
	switch {
	case own.place != unplaced:
		heap.Fix(&c.owing, own.place)
	case own != c.shared:
		c.buckets[own.of] = own
		heap.Push(&c.owing, own)
	}
}

// forget drops buckets that are full again, a few at a time, so that no request
// waits for all of them.
func (c *classLimiter) forget(now time.Time) {
	for range 4 {
		if len(c.owing) == 0 || c.owing[0].full.After(now) {
			return
		}
		delete(c.buckets, c.owing[0].of)
		heap.Pop(&c.owing)
	}
}

// forever is longer than any limit is in force.
const forever = 100 * 365 * 24 * time.Hour

// until is how long it takes until there are so many tokens, 0 if they are there.
func until(l *rate.Limiter, tokens int, now time.Time) time.Duration {
	missing := max(0, float64(tokens)-l.TokensAt(now))
	return time.Duration(min(missing/float64(l.Limit()), forever.Seconds()) * float64(time.Second))
}

// owing is a heap, see [container/heap].
type owing []*bucket

// Len is for the heap.
func (o owing) Len() int { return len(o) }

// Less is for the heap.
func (o owing) Less(i, j int) bool { return o[i].full.Before(o[j].full) }

// Swap is for the heap.
func (o owing) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].place, o[j].place = i, j
}

// Push is for the heap.
func (o *owing) Push(b any) {
	added := b.(*bucket)
	added.place = len(*o)
	*o = append(*o, added)
}

// Pop is for the heap.
func (o *owing) Pop() any {
	last := len(*o) - 1
	dropped := (*o)[last]
	(*o)[last] = nil
	*o = (*o)[:last]
	return dropped
}
