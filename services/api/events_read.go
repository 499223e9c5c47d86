package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/usher-auth/usher/services/audit"
)

const (
	// maxWait is how long a long poll may wait.
	maxWait = 50
	// lookEvery is how often this server looks for new events while somebody waits.
	lookEvery = 100 * time.Millisecond
)

// logEnd is where the event log ends, asked for once however many wait.
type logEnd struct {
	mu  sync.Mutex
	seq int64
	at  time.Time
}

// read gives an end that was the end at most lookEvery ago.
func (e *logEnd) read(ctx context.Context, log Events) (int64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if time.Since(e.at) < lookEvery {
		return e.seq, nil
	}
	seq, _, err := log.EventHead(ctx)
	if err == nil {
		e.seq, e.at = seq, time.Now()
	}
	return e.seq, err
}

// drained tells whether this server is to end.
func (s *Server) drained() bool {
	select {
	case <-s.Draining:
		return true
	default:
		return false
	}
}

// eventsBehind gives the next records that q selects, and the seq to go on from.
// While there are none it waits until wait has passed or this server drains.
func (s *Server) eventsBehind(ctx context.Context, q audit.Query, wait time.Duration) (records []audit.Record, next int64, err error) {
	until := time.Now().Add(wait)
	for {
		// Before the records: what is logged up to there is among them, or not selected.
		end := q.After
		if wait > 0 || len(q.Types) > 0 || q.Subject != "" {
			if end, err = s.logEnd.read(ctx, s.Events); err != nil {
				return nil, q.After, err
			}
		}
		if wait == 0 || end > q.After {
			if records, err = s.Events.Events(ctx, q); err != nil {
				return nil, q.After, err
			}
		}
		if n := len(records); n > 0 {
			q.After = records[n-1].Seq
			if n == q.Limit {
				return records, q.After, nil
			}
		}
		q.After = max(q.After, end)
		if len(records) > 0 || !time.Now().Before(until) || !s.pause(ctx) {
			return records, q.After, nil
		}
	}
}

// pause waits until it is worth to look again; false: nobody waits any more.
func (s *Server) pause(ctx context.Context) bool {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	case <-s.Draining:
		return false
	}
}

// outlast lets an answer take longer than others: its next part must be taken
// within the given time. A reader that does not loses its connection, so that
// no more than one part waits in memory.
func (x *exchange) outlast(d time.Duration) {
	c := http.NewResponseController(x.w)
	_ = c.SetReadDeadline(time.Time{}) // or the request would end with it
	_ = c.SetWriteDeadline(time.Now().Add(d))
}
