package workers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/usher-auth/usher/events"
)

// reportTimeout is how long the answer to a report is waited for.
const reportTimeout = 5 * time.Second

// errEnding is why the event of a handler that was told to end is not reported:
// the handler has not failed.
var errEnding = errors.New("the worker ends")

// settle tells what became of an attempt: of a failure the hooks service, and
// the bus only then.
func (j *job) settle(ctx context.Context, outcome Outcome, err error) {
	defer close(j.settled)
	a := j.Attempt
	a.Outcome, a.Err, a.Took = outcome, err, time.Since(j.started)
	ending := err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled)
	ctx = context.WithoutCancel(ctx)
	var untold error
	switch {
	case ending:
		a.Outcome, untold = Unreported, errEnding
	case err != nil:
		untold = j.report(ctx, &a)
	}
	j.alive.stop() // a report takes time
	unsettled := j.answer(ctx, &a, untold)
	j.tell(ctx, a)
	if untold != nil || unsettled != nil {
		j.log.WarnContext(ctx, "the bus delivers the event again", "event_id", a.Event.ID, "err", errors.Join(untold, unsettled))
	}
}

// report tells the hooks service of a failure, and a what becomes of the event.
func (j *job) report(ctx context.Context, a *Attempt) error {
	a.Outcome, a.Report = Unreported, report(a.Err, a.Number)
	a.Report.EventID = eventID(j.msg)
	a.Report.StreamSeq = j.seq
	body, err := json.Marshal(a.Report)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	data, err := events.Ask(ctx, j.nc, events.SubjectHookFailed(j.name),
		a.Report.EventID+"/"+strconv.Itoa(a.Number), time.Now().Add(reportTimeout), body)
	if err != nil {
		return fmt.Errorf("report: %w", j.explain(err))
	}
	var reply events.HookFailedReply
	if err := json.Unmarshal(data, &reply); err != nil || reply.State == "" {
		return errors.New("report: the answer is none")
	}
	a.Outcome = Dead
	if reply.State == events.StateWaiting {
		a.Outcome = Retry
		if next, err := time.Parse(time.RFC3339, reply.Next); err == nil {
			a.Next = max(time.Until(next), 0)
		}
	}
	return nil
}

// answer acks what is done or was reported, and naks the rest.
func (j *job) answer(ctx context.Context, a *Attempt, untold error) error {
	switch {
	case untold == nil:
		j.survived.forget(j.seq)
		return j.ack(ctx)
	case errors.Is(untold, errEnding):
		return j.msg.Nak() // somebody else may have it at once
	}
	if !is[*crashed](a.Err) {
		j.survived.remember(j.seq)
	}
	a.Next = jitter(j.nakDelay)
	return j.msg.NakWithDelay(a.Next)
}

func (j *job) ack(ctx context.Context) error {
	if !j.doubleAck {
		return j.msg.Ack()
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	return j.msg.DoubleAck(ctx)
}

// jitter is d, a fifth more or less.
func jitter(d time.Duration) time.Duration {
	return d - d/5 + rand.N(2*d/5+1)
}

// maxSurvived bounds survived: as many events as a durable consumer gives out.
const maxSurvived = 10_000

// survived are the events that this program has had an outcome for which nobody
// has taken the report of. They are delivered again and again and kill nobody.
type survived struct {
	mu  sync.Mutex
	seq map[uint64]struct{} // nil while there is none
}

func (s *survived) has(seq uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.seq[seq]
	return ok
}

func (s *survived) remember(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seq == nil {
		s.seq = map[uint64]struct{}{}
	}
	for old := range s.seq {
		if len(s.seq) < maxSurvived {
			break
		}
		delete(s.seq, old)
	}
	s.seq[seq] = struct{}{}
}

func (s *survived) forget(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seq, seq)
}
