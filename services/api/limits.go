package api

import (
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
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
			return nil, fmt.Errorf("limit of %s: %w", limitNames[c], err)
		}
		made.classes[c] = one
	}
	return made, nil
}

// maxNetworks bounds what is remembered of each class, about 250 bytes each.
const maxNetworks = 100_000

// keep goes on counting where former was, in the classes whose limit is the same.
func (l *limiter) keep(former *limiter) {
	if l == nil || former == nil {
		return
	}
	for c, was := range former.classes {
		if was.limit == l.classes[c].limit {
			l.classes[c] = was
		}
	}
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

// owe spends a token of a class for what was done already, see [Server.allowed].
func (s *Server) owe(x *exchange, c limited) {
	if x.settings.limiter != nil {
		x.settings.limiter.classes[c].owe(network(x.client().Addr), x.at)
	}
}

func (s *Server) refuseBeyond(c limited, wait time.Duration) error {
	if s.ObserveLimit != nil {
		s.ObserveLimit(limitNames[c])
	}
	return beyondLimit(max(time.Second, wait))
}

// beyondLimit is all that is said of a refusal: it would be the same for any
// account. A wait of 0 is one that is not known.
func beyondLimit(wait time.Duration) *problem {
	again := "later"
	if wait > 0 {
		again = "in " + inWords(wait)
	}
	return &problem{
		status: http.StatusTooManyRequests,
		retry:  wait,
		reason: "Too many requests of this kind came from this network. Try again " + again + ".",
	}
}

// limitedError names what a limit refuses in the query of the error page. How
// long it holds stands behind it, in seconds, since nothing is stored.
const limitedError = "stub:429"

func limitedErrorFor(wait time.Duration) string { return limitedError + ":" + retryAfter(wait) }

// limitedFor gives the problem that limitedError names, alone or with a time,
// false for other names. Anybody can write one: a time that no limit has is none.
func limitedFor(name string) (*problem, bool) {
	rest, is := strings.CutPrefix(name, limitedError)
	if !is || rest == "" {
		return beyondLimit(0), is
	}
	seconds, err := strconv.ParseUint(strings.TrimPrefix(rest, ":"), 10, 16)
	if err == nil && seconds > 0 && rest[0] == ':' {
		return beyondLimit(time.Duration(seconds) * time.Second), true
	}
	return nil, false
}

// inWords says a time in whole seconds, or minutes where those are many; never
// less than it is.
func inWords(d time.Duration) string {
	n, unit := int(math.Ceil(d.Seconds())), "second"
	if n > 90 {
		n, unit = int(math.Ceil(d.Minutes())), "minute"
	}
	if n != 1 {
		unit += "s"
	}
	return strconv.Itoa(n) + " " + unit
}

// retryAfter is how the header says it: whole seconds.
func retryAfter(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}
