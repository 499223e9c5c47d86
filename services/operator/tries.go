package operator

import (
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"
)

// limit is so many at once, and one more each time.
type limit struct {
	burst int
	every time.Duration
}

// What may be tried. Somebody who can reach the console from many addresses can keep
// an operator waiting, but not for longer than each of their tries takes to come back.
var (
	triesOfName   = limit{20, 30 * time.Second}
	triesOfClient = limit{10, time.Minute}
	// talesOfTries is how many wrong tries become events.
	talesOfTries = limit{10, time.Minute}
)

// maxTried bounds what is remembered, about 100 bytes each. Beyond it all others
// share one count.
const maxTried = 10_000

// tries counts by key. The zero value has counted nothing.
type tries struct {
	mu     sync.Mutex
	spent  map[Digest]spent
	shared spent
	swept  time.Time
}

// spent is how much was taken; it comes back with time.
type spent struct {
	n  float64
	at time.Time
}

func (s spent) by(now time.Time, l limit) float64 {
	return max(0, s.n-float64(max(0, now.Sub(s.at)))/float64(l.every))
}

// take takes one try, or tells how long until there is one.
func (t *tries) take(key string, l limit, now time.Time) (wait time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d, was := t.find(key, l, now)
	n := was.by(now, l)
	if over := n + 1 - float64(l.burst); over > 0 {
		return time.Duration(over * float64(l.every)), false
	}
	t.keep(d, spent{n + 1, now})
	return 0, true
}

// giveBack undoes a take: it was no wrong one.
func (t *tries) giveBack(key string, l limit, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d, was := t.find(key, l, now)
	t.keep(d, spent{max(0, was.by(now, l)-1), now})
}

// find gives the count of a key; the zero digest is what those share who found no place.
func (t *tries) find(key string, l limit, now time.Time) (Digest, spent) {
	d := sha256.Sum256([]byte(key))
	if was, ok := t.spent[d]; ok {
		return d, was
	}
	if len(t.spent) >= maxTried && now.Sub(t.swept) >= time.Second {
		t.swept = now
		for k, s := range t.spent {
			if s.by(now, l) == 0 {
				delete(t.spent, k)
			}
		}
	}
	if len(t.spent) >= maxTried {
		return Digest{}, t.shared
	}
	return d, spent{}
}

func (t *tries) keep(d Digest, s spent) {
	switch {
	case d == Digest{}:
		t.shared = s
	case s.n == 0:
		delete(t.spent, d)
	default:
		if t.spent == nil {
			t.spent = map[Digest]spent{}
		}
		t.spent[d] = s
	}
}

// network is whom an address is counted as: a /64 of IPv6 is one client.
func network(addr string) string {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return addr
	}
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		p, _ := ip.Prefix(64) // the bits fit
		return p.String()
	}
	return ip.String()
}
