package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"github.com/usher-auth/usher/events"
)

// Why an event became a dead letter, in [events.HookDead].
const (
	deadPermanent = "permanent"        // the hook said so
	deadAttempts  = "attempts"         // the ladder ended
	deadCrash     = events.ReasonCrash // the hook died of it, again and again
	deadGone      = "gone"             // the event, or the hook, is not there any more, or the hook does not get it
)

const (
	// shortestAfter and longestAfter bound what a hook may ask for.
	shortestAfter = time.Second
	longestAfter  = 24 * time.Hour
	// saveTries is how often a change is decided again after a lost race.
	saveTries = 10
	// strangeBurst and strangeEvery bound what one process takes of a hook about
	// events that nobody has logged, or that the hook does not get: a mistake is
	// seen, and a hook cannot fill the table.
	strangeBurst = 100
	strangeEvery = 10 * time.Second
)

// errStrange is why a report was not taken: the hook gets the event again.
var errStrange = errors.New("too many reports about events that this hook does not get, or that do not exist")

// Invalid says what is wrong with a report.
type Invalid struct{ Text string }

// Error gives the text.
func (i *Invalid) Error() string { return "delivery: " + i.Text }

// Report stores that a hook has failed at an event, and decides whether it gets
// it again. It returns once that is on disk; then the hook may ack the message.
// Reporting an attempt again, or one of a former round, changes nothing. A
// failure that was done begins again; a dead letter and one that was discarded
// stay what they are; that of a check which waits for it is no failure. Few failures at events that the hook does not get, or that
// do not exist, are taken. Errors that callers tell apart are [*Invalid] and [ErrNoHook].
func (s *Service) Report(ctx context.Context, hook string, r events.HookFailed) (events.HookFailedReply, error) {
	id, err := check(&r)
	if err != nil {
		return events.HookFailedReply{}, err
	}
	h, err := s.Declared.Hook(ctx, hook)
	if err != nil {
		return events.HookFailedReply{}, fmt.Errorf("hook %q: %w", hook, err)
	}
	for range saveTries {
		former, err := s.failure(ctx, hook, id)
		if err != nil {
			return events.HookFailedReply{}, err
		}
		if isExpected(former, id) {
			return s.checked(ctx, *former, r)
		}
		if former != nil && !news(*former, r) {
			return reply(*former), nil
		}
		if former == nil {
			if err := s.admit(ctx, h, id); err != nil {
				return events.HookFailedReply{}, fmt.Errorf("report of %s by %s: %w", id, hook, err)
			}
		}
		f, class := s.decide(h, former, r, id)
		saved, err := s.save(ctx, former, f, class)
		if err != nil {
			return events.HookFailedReply{}, err
		}
		if saved {
			s.reported(f, r.StreamSeq)
			return reply(f), nil
		}
	}
	return events.HookFailedReply{}, fmt.Errorf("report of %s by %s: it changed meanwhile, again and again", id, hook)
}

// admit says whether a first failure is taken. One at an event that the hook does
// not get is not refused at once: another process may have a newer file.
func (s *Service) admit(ctx context.Context, h Hook, id uuid.UUID) error {
	_, eventType, err := s.EventLog.EventPayload(ctx, id)
	if err != nil && !errors.Is(err, ErrNoEvent) {
		return fmt.Errorf("event: %w", err)
	}
	if slices.Contains(h.Types, eventType) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.strange[h.Name] == nil {
		s.strange[h.Name] = rate.NewLimiter(rate.Every(strangeEvery), strangeBurst)
	}
	if !s.strange[h.Name].AllowN(s.Now(), 1) {
		return errStrange
	}
	return nil
}

// check brings a report into bounds. It refuses only what cannot be understood:
// a hook that is refused gets the event again and again.
func check(r *events.HookFailed) (uuid.UUID, error) {
	id, err := uuid.Parse(r.EventID)
	if err != nil {
		return id, &Invalid{Text: "event_id is no UUID"}
	}
	r.EventID = id.String()
	if r.Attempt < 0 || r.Attempt > 1_000_000 {
		return id, &Invalid{Text: "attempt is out of range; it is the number in the header " + events.HeaderAttempt + ", or 1"}
	}
	if r.After < 0 {
		return id, &Invalid{Text: "after is negative"}
	}
	r.Attempt = max(r.Attempt, 1)
	r.Reason = cmp.Or(events.CleanReason(r.Reason), "no reason given")
	return id, nil
}

// failure is the stored one, or nil.
func (s *Service) failure(ctx context.Context, hook string, id uuid.UUID) (*Failure, error) {
	f, err := s.Failures.Failure(ctx, hook, id)
	if errors.Is(err, ErrNoFailure) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("failure of %s at %s: %w", hook, id, err)
	}
	return &f, nil
}

// news tells whether r says something that f does not hold yet. What it does not
// take for news loses nothing: the event comes again, or is a dead letter.
func news(f Failure, r events.HookFailed) bool {
	switch f.State {
	case Done:
		return true
	case Dead, Discarded:
		return false
	case Waiting:
	}
	published := f.NextAt.IsZero()
	switch {
	case r.StreamSeq == 0: // only numbers to go by, which begin anew with each round
		return r.Attempt == f.Attempts+1 || r.Attempt > f.Attempts && f.Round <= 1
	case published:
		return r.StreamSeq >= f.StreamSeq
	default: // a retry that is in the stream, which is not stored yet
		return r.StreamSeq > f.StreamSeq && r.Attempt > f.Attempts
	}
}

// decide is what becomes of the event that r reports, and the class of its
// death if it is dead.
func (s *Service) decide(h Hook, former *Failure, r events.HookFailed, id uuid.UUID) (f Failure, class string) {
	now := s.Now()
	f = Failure{Hook: h.Name, EventID: id.String(), Round: 1, FirstAt: now}
	switch {
	case former == nil:
		f.Attempts = r.Attempt
	case former.State == Done:
		f.N, f.StreamSeq = former.N, former.StreamSeq
		f.Round, f.Attempts = former.Round+1, 1
	default:
		f = *former
		f.Attempts++
	}
	f.Reason, f.LastAt, f.NextAt = r.Reason, now, time.Time{}
	if r.StreamSeq != 0 {
		f.StreamSeq = r.StreamSeq
	}
	f.State = Dead
	switch wait, again := s.wait(h, f, r); {
	case r.Permanent && strings.HasPrefix(r.Reason, events.ReasonCrash):
		class = deadCrash
	case r.Permanent:
		class = deadPermanent
	case !again:
		class = deadAttempts
	default:
		f.State, f.NextAt = Waiting, now.Add(wait)
	}
	return f, class
}

// wait is how long the event waits. What a hook asks for goes before its
// ladder, which ends only when also its whole time is over.
func (s *Service) wait(h Hook, f Failure, r events.HookFailed) (time.Duration, bool) {
	ladder := s.Ladder(h)
	wait, again := ladder.Wait(f.Attempts)
	if r.After == 0 {
		return wait, again
	}
	asked := longestAfter
	if r.After < longestAfter.Seconds() {
		asked = max(time.Duration(r.After*float64(time.Second)), shortestAfter)
	}
	return asked, again || f.LastAt.Sub(f.FirstAt) < ladder.Span()
}

// save stores f if the stored one is still former. Of a dead one the event says so.
func (s *Service) save(ctx context.Context, former *Failure, f Failure, class string) (bool, error) {
	var said []events.Event
	if f.State == Dead {
		tell, err := s.worthTelling(ctx, f)
		if err != nil {
			return false, err
		}
		if tell {
			said = append(said, event(system, events.HookDead{
				Hook: f.Hook, EventID: f.EventID, Attempts: f.Attempts, Reason: class,
			}, f.LastAt))
		}
	}
	saved, err := s.Failures.SaveFailure(ctx, former, f, said...)
	if err != nil {
		return false, fmt.Errorf("save failure of %s at %s: %w", f.Hook, f.EventID, err)
	}
	return saved, nil
}

// worthTelling tells whether a dead letter makes an event. That of an event which
// is about a dead letter does not: a hook that gets those would fail at it too, or
// another one would, and so for ever. Nor does that of an event which is not known:
// the log keeps what it is told.
func (s *Service) worthTelling(ctx context.Context, f Failure) (bool, error) {
	id, err := uuid.Parse(f.EventID)
	if err != nil {
		return false, err
	}
	_, eventType, err := s.EventLog.EventPayload(ctx, id)
	if errors.Is(err, ErrNoEvent) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("event %s: %w", id, err)
	}
	return eventType != (events.HookDead{}).EventType(), nil
}

// reported tells whoever has to know that an attempt has failed.
func (s *Service) reported(f Failure, streamSeq uint64) {
	s.Observe.Reported(f.Hook, f.State)
	if f.State == Waiting {
		s.wakeUp()
	} else {
		s.Log.Warn("dead letter", "hook", f.Hook, "event_id", f.EventID, "attempts", f.Attempts, "reason", f.Reason)
	}
	s.failed(message{f.Hook, streamSeq})
}

// wakeUp has the publishing loop look what is due, and when.
func (s *Service) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func reply(f Failure) events.HookFailedReply {
	r := events.HookFailedReply{State: string(f.State)}
	if f.State == Waiting && !f.NextAt.IsZero() {
		r.Next = f.NextAt.UTC().Format(time.RFC3339)
	}
	return r
}
