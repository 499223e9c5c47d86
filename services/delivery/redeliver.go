package delivery

import (
	"context"
	"fmt"
	"time"

	"github.com/usher-auth/usher/events"
)

// page is how many failures are read at a time.
const page = 500

// Redeliver delivers the dead letters that q selects again, each to the hook
// that failed at it and to no other, under the same event id: their ladders
// begin anew. It gives how many those are, also with an error; doing it again is
// harmless. Of q's fields State is ignored, and Limit is the most; 0 is all.
func (s *Service) Redeliver(ctx context.Context, q FailureQuery, by Author) (int, error) {
	n, err := s.eachDead(ctx, q, func(f *Failure, now time.Time) events.Payload {
		f.State, f.NextAt = Waiting, now
		f.Attempts, f.Round = 0, f.Round+1
		return events.HookRedelivered{Hook: f.Hook, EventID: f.EventID}
	}, by)
	if n > 0 {
		s.wakeUp()
	}
	return n, err
}

// Discard decides that the dead letters that q selects stay dead, and why. It
// is otherwise like [Service.Redeliver]. The reason is needed, and is cut after 200 characters.
func (s *Service) Discard(ctx context.Context, q FailureQuery, reason string, by Author) (int, error) {
	if reason = events.CleanReason(reason); reason == "" {
		return 0, &Invalid{Text: "a discard needs a reason"}
	}
	return s.eachDead(ctx, q, func(f *Failure, now time.Time) events.Payload {
		f.State, f.LastAt = Discarded, now
		return events.HookDiscarded{Hook: f.Hook, EventID: f.EventID, Reason: reason}
	}, by)
}

// eachDead changes dead letters one after another. One that somebody else has
// changed meanwhile is left alone.
func (s *Service) eachDead(ctx context.Context, q FailureQuery, change func(*Failure, time.Time) events.Payload, by Author) (done int, err error) {
	most := q.Limit
	q.State = Dead
	for {
		q.Limit = page
		if most > 0 {
			q.Limit = min(page, most-done)
		}
		found, err := s.Failures.Failures(ctx, q)
		if err != nil {
			return done, fmt.Errorf("dead letters: %w", err)
		}
		for _, former := range found {
			q.After = former.N
			f, now := former, s.Now()
			said := event(by, change(&f, now), now)
			saved, err := s.Failures.SaveFailure(ctx, &former, f, said)
			if err != nil {
				return done, fmt.Errorf("dead letter %s of %s: %w", f.EventID, f.Hook, err)
			}
			if saved {
				done++
			}
		}
		if len(found) < q.Limit || most > 0 && done >= most {
			return done, nil
		}
	}
}
