package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/session"
)

const (
	// steps is into how many parts the time to the deadline is divided: at the end of
	// each but the last the request may be sent again. Where one of two workers is
	// frozen, one of 2,000 who sign up meets it each time.
	steps = 12
	// maxLost is how often nobody may be there before that is the answer.
	maxLost = 3
)

// askAgain asks once more when half of the time to the deadline is over: the
// first question may be with a worker that is frozen, or gone with it. So may
// the second: as long as workers that are asked answer quickly, which those of
// an overloaded system do not, it is asked at every step. All carry the same
// request id, so the service does the work once. The first answer counts. Where
// nobody is there, it is asked twice more, a step later each: who goes over to another
// credential of the bus is away for some milliseconds. Where it is this side that does,
// all questions break at once, and it is asked again at the next step.
func askAgain(ctx context.Context, nc *nats.Conn, spare *spare, r session.Request) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the slower questions are not waited for
	type answer struct {
		data []byte
		err  error
		took time.Duration
	}
	answers := make(chan answer, steps)
	ask := func(r session.Request) {
		asked := time.Now()
		payload, err := encodeRequest(r)
		if err == nil {
			payload, err = events.Ask(ctx, nc, events.SubjectSessionIssue, r.ID, r.Deadline, payload)
		}
		answers <- answer{payload, err, time.Since(asked)}
	}
	go ask(r)
	step := max(time.Until(r.Deadline)/steps, time.Millisecond)
	tick := time.NewTicker(step)
	defer tick.Stop()
	lost := 0
	for open, n := 1, 1; ; {
		select {
		case <-tick.C:
			if open == 0 || n == steps/2 || n < steps && spare.take() {
				open++
				r.Again = true
				go ask(r)
			}
			n++
		case a := <-answers:
			open--
			var refused *events.Refused
			answered := a.err == nil || errors.As(a.err, &refused)
			broken := errors.Is(a.err, events.ErrBroken)
			if !answered && !broken && open == 0 {
				lost++ // while others are open, it is not asked for this one's sake
			}
			if !answered && open == 0 && (broken || lost < maxLost) && n < steps && ctx.Err() == nil {
				continue
			}
			if answered || open == 0 {
				if a.err == nil && a.took < step {
					spare.give()
				}
				return a.data, a.err
			}
		}
	}
}

// spare is how often requests may be sent again beyond the once that each may.
// Each quick answer gives one back: where nobody answers quickly, it is soon
// used up, and a system that is slow is not asked many times as much. The zero
// value is full.
type spare struct {
	mu   sync.Mutex
	used int
}

const maxSpare = 100

func (s *spare) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used >= maxSpare {
		return false
	}
	s.used++
	return true
}

func (s *spare) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = max(s.used-1, 0)
}
