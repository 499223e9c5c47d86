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
	at time.Time
}

// get gives a session that was recognized no longer ago than life and lasts still.
func (r *recent) get(d Digest, now time.Time, life time.Duration) (Session, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.sessions[d]
	return known.Session, ok && now.Sub(known.at) < life && now.Before(known.ExpiresAt)
}

func (r *recent) put(d Digest, s Session, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions == nil {
		r.sessions = map[Digest]recognized{}
	}
	if len(r.sessions) >= maxRecent {
		maps.DeleteFunc(r.sessions, func(_ Digest, known recognized) bool { return now.Sub(known.at) >= trustFor })
	}
	if len(r.sessions) >= maxRecent {
		clear(r.sessions) // each is asked for once more
	}
	r.sessions[d] = recognized{s, now}
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
