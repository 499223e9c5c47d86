package events

import (
	"strings"
	"sync"
	"time"
)

// waits tells how long requests have waited until a service came to them,
// although the clocks of whoever asks and of this process may differ by any
// amount. Each asker's requests come with the time of its clock: the one that
// was the quickest has waited for nothing, the others for as much as they are
// older. This process's own time is steady: setting its clock changes nothing.
type waits struct {
	began time.Time
	mu    sync.Mutex
	known map[string]*askerClock
}

// askerClock is what is known of an asker's clock.
type askerClock struct {
	offset time.Duration // how far this process's clock is ahead, at the most
	seen   time.Time
	late   time.Time // since when everything has come too late; zero: it has not
}

const (
	// maxAskers bounds what is remembered: each connection is an asker of its own.
	maxAskers = 1000
	// allLate is after how long an asker is believed that it has set its clock:
	// what waited while this process was frozen is refused much sooner.
	allLate = 2 * time.Second
	// drift is by how much a clock may be corrected without being set: a
	// thousandth, twice what time daemons do.
	drift = 1000
)

func newWaits(now time.Time) *waits {
	return &waits{began: now, known: map[string]*askerClock{}}
}

// since tells how long a request has waited that its asker has sent at a time of
// its own clock, and may wait for a limit.
func (w *waits) since(asker string, sent time.Time, limit time.Duration, now time.Time) time.Duration {
	now = w.began.Add(now.Sub(w.began))
	age := now.Sub(sent)
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.known[asker]
	if c == nil {
		if len(w.known) >= maxAskers {
			clear(w.known)
		}
		c = &askerClock{offset: age, seen: now}
		w.known[asker] = c
	}
	c.offset = min(age, c.offset+now.Sub(c.seen)/drift)
	c.seen = now
	waited := age - c.offset
	switch {
	case waited < limit:
		c.late = time.Time{}
	case c.late.IsZero():
		c.late = now
	case now.Sub(c.late) > allLate:
		c.offset, c.late, waited = age, time.Time{}, 0
	}
	return waited
}

// askerOf is the connection that wants the answer at an inbox; "" for one in
// another account, whose name the bus has hidden.
func askerOf(reply string) string {
	if strings.HasPrefix(reply, otherAccount+".") {
		return ""
	}
	return reply[:max(strings.LastIndexByte(reply, '.'), 0)]
}
