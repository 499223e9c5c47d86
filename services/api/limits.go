package api

import (
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"
)

// limited is a class of requests that one network cannot make without end (S72).
type limited int

// The classes.
const (
	registrations limited = iota
	failedLogins
	codeTries
	mailStarts
	flowCreations
	classes
)

// limitNames are what operators read.
var limitNames = [classes]string{"registration", "login_failed", "code_try", "mail_start", "flow_creation"}

// Limit is how much of a class a client network may do, a /32 of IPv4 or a /64
// of IPv6: so much at once, and so much an hour.
type Limit struct {
	Burst, PerHour int
	// GlobalPerSecond bounds the class over all clients of a process; 0 does not.
	GlobalPerSecond int
}

// Limits are the visible limits of the public listener. They depend on nothing
// but the client's network, so that a refusal tells nothing about an account.
type Limits struct {
	Enabled                                                     bool
	Registration, FailedLogin, CodeTry, MailStart, FlowCreation Limit
}

// limiter counts. The zero one, and nil, limit nothing. It is safe for
// concurrent use.
type limiter struct {
	classes [classes]*classLimiter
}

// newLimiter is nil where nothing is limited.
func newLimiter(l Limits) (*limiter, error) {
	if !l.Enabled {
		return nil, nil
	}
	made := &limiter{}
	for c, limit := range [classes]Limit{l.Registration, l.FailedLogin, l.CodeTry, l.MailStart, l.FlowCreation} {
		one, err := newClassLimiter(limit, maxNetworks)
		if err != nil {
			return nil, err
		}
		made.classes[c] = one
	}
	return made, nil
}

const (
	// maxNetworks bounds what is remembered of each class, about 100 bytes each.
	maxNetworks = 100_000
	// forgotten is how long a network is remembered that does nothing: by then
	// what it had spent has come back, or most of it.
	forgotten = time.Hour
)

// classLimiter has a bucket for each network that was seen lately. When it is
// full, one that is not known begins with a single token: whoever cycles through
// networks to be forgotten wins nothing by it, and a newcomer can do one thing at
// once and the rest at the pace of the limit.
type classLimiter struct {
	limit   Limit
	max     int
	buckets *otter.Cache[netip.Prefix, *rate.Limiter]
	global  *rate.Limiter // nil for none
}

func newClassLimiter(l Limit, most int) (*classLimiter, error) {
	buckets, err := otter.New(&otter.Options[netip.Prefix, *rate.Limiter]{
		MaximumSize:      most,
		ExpiryCalculator: otter.ExpiryAccessing[netip.Prefix, *rate.Limiter](forgotten),
	})
	if err != nil {
		return nil, err
	}
	c := &classLimiter{limit: l, max: most, buckets: buckets}
	if l.GlobalPerSecond > 0 {
		c.global = rate.NewLimiter(rate.Limit(l.GlobalPerSecond), l.GlobalPerSecond)
	}
	return c, nil
}

func (c *classLimiter) bucket(of netip.Prefix, now time.Time) *rate.Limiter {
	b, _ := c.buckets.ComputeIfAbsent(of, func() (*rate.Limiter, bool) {
		made := rate.NewLimiter(rate.Limit(float64(c.limit.PerHour)/time.Hour.Seconds()), c.limit.Burst)
		if c.buckets.EstimatedSize() >= c.max {
			made.AllowN(now, c.limit.Burst-1)
		}
		return made, false
	})
	return b
}

// spend takes a token, or tells how long until there is one. It takes none in
// advance: what is refused costs nothing.
func (c *classLimiter) spend(of netip.Prefix, now time.Time) (wait time.Duration, ok bool) {
	own := c.bucket(of, now)
	switch {
	case !own.AllowN(now, 1):
		return until(own, now), false
	case c.global != nil && !c.global.AllowN(now, 1):
		return until(c.global, now), false
	}
	return 0, true
}

// exhausted tells without taking a token whether there is none.
func (c *classLimiter) exhausted(of netip.Prefix, now time.Time) (wait time.Duration, is bool) {
	own := c.bucket(of, now)
	return until(own, now), own.TokensAt(now) < 1
}

// until is how long it takes until there is a token.
func until(b *rate.Limiter, now time.Time) time.Duration {
	return time.Duration((1 - b.TokensAt(now)) / float64(b.Limit()) * float64(time.Second))
}

// network is what limits count by. An address that cannot be read is one of its own.
func network(addr string) netip.Prefix {
	ip, ok := parseAddr(addr)
	if !ok {
		return netip.Prefix{}
	}
	bits := 64
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits) // bits fit the address
	return p
}

// allow spends a token of a class, or gives the 429 that answers the request.
func (s *Server) allow(x *exchange, c limited) error {
	if x.settings.limiter == nil {
		return nil
	}
	if wait, ok := x.settings.limiter.classes[c].spend(network(x.client().Addr), x.at); !ok {
		return s.refuseBeyond(c, wait)
	}
	return nil
}

// allowed is [Server.allow] for what is spent only where something fails: it
// takes nothing.
func (s *Server) allowed(x *exchange, c limited) error {
	if x.settings.limiter == nil {
		return nil
	}
	if wait, is := x.settings.limiter.classes[c].exhausted(network(x.client().Addr), x.at); is {
		return s.refuseBeyond(c, wait)
	}
	return nil
}

func (s *Server) refuseBeyond(c limited, wait time.Duration) error {
	if s.ObserveLimit != nil {
		s.ObserveLimit(limitNames[c])
	}
	return &problem{
		status: http.StatusTooManyRequests,
		retry:  max(time.Second, wait),
		reason: "Too many requests of this kind came from this network. Try again later.",
	}
}

// retryAfter is how the header says it: whole seconds.
func retryAfter(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}
