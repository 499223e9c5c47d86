package operator

import (
	"maps"
	"sync"
	"time"
)

const (
	// freshFor is how long a session is believed without asking: so long another
	// process may not see that it has ended.
	freshFor = 5 * time.Second
	// trustFor is how long one is believed when the store does not answer: so the
	// console can say that.
	trustFor = 10 * time.Minute
	// maxRecent bounds what is remembered.
	maxRecent = 1000
)

// recent are sessions that were recognized. The zero value is empty.
type recent struct {
	mu       sync.Mutex
	sessions map[Digest]recognized
}

type recognized struct {
	Session
	at    time.Time // when the store last said so
	asked time.Time // when it was last asked
}

func (r recognized) lasts(now time.Time) bool {
	return now.Sub(r.at) < trustFor && now.Before(r.ExpiresAt)
}

// fresh gives a session that the store need not be asked for.
func (r *recent) fresh(d Digest, now time.Time) (Session, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.sessions[d]
	return known.Session, ok && known.lasts(now) && now.Sub(known.asked) < freshFor
}

// unanswered gives a session that the store was asked for in vain, and does not ask
// again for as long as one is fresh: a store that is down may take its time to say so.
func (r *recent) unanswered(d Digest, now time.Time) (Session, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.sessions[d]
	if !ok || !known.lasts(now) {
		return Session{}, false
	}
	known.asked = now
	r.sessions[d] = known
	return known.Session, true
}

func (r *recent) put(d Digest, s Session, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions == nil {
		r.sessions = map[Digest]recognized{}
	}
	if len(r.sessions) >= maxRecent {
		maps.DeleteFunc(r.sessions, func(_ Digest, known recognized) bool { return !known.lasts(now) })
	}
	if len(r.sessions) >= maxRecent {
		clear(r.sessions) // each is asked for once more
	}
	r.sessions[d] = recognized{s, now, now}
}

func (r *recent) drop(d Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, d)
}

// dropOf drops all sessions of an operator.
func (r *recent) dropOf(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.sessions, func(_ Digest, known recognized) bool { return known.Name == name })
}
