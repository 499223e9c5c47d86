package delivery

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/usher-auth/usher/events"
)

// page is how many failures are read at a time.
const page = 500

// Redeliver delivers the dead letters that q selects again, each to the hook
// that failed at it and to no other, under the same event id: their ladders
// begin anew. It gives how many those are, also with an error; doing it again is
// harmless. Of q's fields State is ignored, and Limit is the most; 0 is all.
// progress, if any, is told after each; its total is 0 where it is not known.
func (s *Service) Redeliver(ctx context.Context, q FailureQuery, by Author, progress func(done, total int)) (int, error) {
	n, err := s.eachDead(ctx, q, progress, func(f *Failure, now time.Time) events.Payload {
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
func (s *Service) Discard(ctx context.Context, q FailureQuery, reason string, by Author, progress func(done, total int)) (int, error) {
	if strings.TrimSpace(reason) == "" {
		return 0, &Invalid{Text: "a discard needs a reason"}
	}
	reason = clean(reason)
	return s.eachDead(ctx, q, progress, func(f *Failure, now time.Time) events.Payload {
		f.State, f.LastAt = Discarded, now
		return events.HookDiscarded{Hook: f.Hook, EventID: f.EventID, Reason: reason}
	}, by)
}

// eachDead changes dead letters one after another. One that somebody else has
// changed meanwhile is left alone.
func (s *Service) eachDead(ctx context.Context, q FailureQuery, progress func(done, total int), change func(*Failure, time.Time) events.Payload, by Author) (done int, err error) {
	total, err := s.countDead(ctx, q)
	if err != nil {
		return 0, err
	}
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
			said := by.event(change(&f, now), now)
			saved, err := s.Failures.SaveFailure(ctx, &former, f, said)
			if err != nil {
				return done, fmt.Errorf("dead letter %s of %s: %w", f.EventID, f.Hook, err)
			}
			if !saved {
				continue
			}
			done++
			if progress != nil {
				progress(done, total)
			}
		}
		if len(found) < q.Limit || most > 0 && done >= most {
			return done, nil
		}
	}
}

// countDead is how many dead letters q selects, 0 if that is not known before.
func (s *Service) countDead(ctx context.Context, q FailureQuery) (int, error) {
	if q.EventID != "" || q.After > 0 {
		return 0, nil
	}
	counts, err := s.Failures.FailureCounts(ctx)
	if err != nil {
		return 0, fmt.Errorf("count dead letters: %w", err)
	}
	total := 0
	for hook, states := range counts {
		if q.Hook == "" || q.Hook == hook {
			total += int(states[Dead])
		}
	}
	if q.Limit > 0 {
		total = min(total, q.Limit)
	}
	return total, nil
}
