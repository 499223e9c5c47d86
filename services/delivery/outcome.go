package delivery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
)

const (
	// soon and seldom are between two looks at a consumer that has retries of
	// this process: the pauses double.
	soon   = time.Second
	seldom = 30 * time.Second
	// lookAll is between two looks at all consumers with retries, whoever
	// published them.
	lookAll = time.Minute
	// maxInFlight bounds the memory of a hook's published retries. The outcome of
	// what does not fit is seen a little later.
	maxInFlight = 10_000
	// freshen is between two searches for retries that nobody has answered for
	// longer than stale: they are published again before the stream drops them, and
	// also if it has lost them.
	freshen = time.Hour
	stale   = events.StreamAge - 48*time.Hour
	// longestWait is more than an event waits for its next attempt: what a hook may
	// ask for and the longest step of a ladder are a day.
	longestWait = 48 * time.Hour
)

// followed are the retries of a hook that this process has published and not
// seen the outcome of.
type followed struct {
	retries map[uint64]Failure // as they were published, by stream sequence
	next    time.Time          // when its consumer is looked at
	pause   time.Duration
}

// follow watches for the outcome of a published retry.
func (s *Service) follow(f Failure, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.followed[f.Hook]
	if all == nil {
		all = &followed{retries: map[uint64]Failure{}}
		s.followed[f.Hook] = all
	}
	all.next, all.pause = s.Now().Add(soon), soon
	if len(all.retries) < maxInFlight {
		all.retries[seq] = f
	}
}

// published is the failure that a message is the retry of, if this process follows it.
func (s *Service) published(m message) (Failure, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all := s.followed[m.hook]; all != nil {
		f, ok := all.retries[m.seq]
		return f, ok
	}
	return Failure{}, false
}

// Acked tells that a hook has acked a message, whether it is done with it or has
// reported it. It does not wait, and costs nothing for a hook that does not
// fail. Acks that are not told are found out.
func (s *Service) Acked(hook string, streamSeq uint64) {
	m := message{hook, streamSeq}
	if _, retried := s.published(m); !retried && !s.endsFailures(m) {
		return
	}
	select {
	case s.acks <- m:
	default:
	}
}

// watch follows what becomes of retries, and pauses hooks.
func (s *Service) watch(ctx context.Context) {
	tick := time.NewTicker(soon)
	defer tick.Stop()
	var all, fresh time.Time
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case m := <-s.acks:
			err = s.acked(ctx, m)
		case o := <-s.pauses:
			err = s.pause(ctx, o)
		case <-tick.C:
			now := s.Now()
			err = s.lookAt(ctx, s.dueLooks(now))
			if !now.Before(all) {
				all = now.Add(lookAll)
				err = errors.Join(err, s.lookAtAll(ctx))
			}
			if !now.Before(fresh) {
				fresh = now.Add(freshen)
				err = errors.Join(err, s.publishStale(ctx))
			}
		}
		if err != nil && ctx.Err() == nil {
			s.Log.Error("outcomes of retries", "error", err)
		}
	}
}

// acked finds out whether a message that was acked was done or reported.
func (s *Service) acked(ctx context.Context, m message) error {
	retry, retried := s.published(m)
	if !retried {
		failed, err := s.Failures.FailedAt(ctx, m.hook, m.seq)
		if err == nil && !failed {
			s.succeeded(ctx, m.hook)
		}
		return err
	}
	done, err := s.retried(ctx, retry)
	if err != nil {
		return fmt.Errorf("outcome of %s at %s: %w", m.hook, retry.EventID, err)
	}
	if done {
		s.succeeded(ctx, m.hook)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if all := s.followed[m.hook]; all != nil {
		delete(all.retries, m.seq)
	}
	return nil
}

// retried marks a retry that was acked as done, unless it was reported before.
func (s *Service) retried(ctx context.Context, retry Failure) (bool, error) {
	id, err := uuid.Parse(retry.EventID)
	if err != nil {
		return false, err
	}
	f, err := s.failure(ctx, retry.Hook, id)
	if err != nil || f == nil {
		return false, err
	}
	if f.State != Waiting || f.Attempts != retry.Attempts || f.Round != retry.Round {
		return false, nil // a report has been there
	}
	done := *f
	done.State, done.LastAt, done.NextAt = Done, s.Now(), time.Time{}
	return s.Failures.SaveFailure(ctx, f, done)
}

// dueLooks are the hooks whose consumers are to be looked at now.
func (s *Service) dueLooks(now time.Time) (hooks []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for hook, all := range s.followed {
		if now.Before(all.next) {
			continue
		}
		all.pause = min(2*all.pause, seldom)
		all.next = now.Add(all.pause)
		hooks = append(hooks, hook)
	}
	slices.Sort(hooks)
	return hooks
}

// lookAtAll looks at the consumers of all hooks that have something waiting.
func (s *Service) lookAtAll(ctx context.Context) error {
	counts, err := s.Failures.FailureCounts(ctx)
	if err != nil {
		return fmt.Errorf("count failures: %w", err)
	}
	var hooks []string
	for hook, states := range counts {
		if states[Waiting] > 0 {
			hooks = append(hooks, hook)
		}
	}
	slices.Sort(hooks)
	return s.lookAt(ctx, hooks)
}

// lookAt marks what the consumers of hooks have acked as done. What was reported
// is not published any more, since a hook reports before it acks.
func (s *Service) lookAt(ctx context.Context, hooks []string) error {
	if len(hooks) == 0 {
		return nil
	}
	consumers, err := s.Consumers.Consumers(ctx)
	if err != nil {
		return fmt.Errorf("look at consumers: %w", err)
	}
	for _, hook := range hooks {
		if err := s.findLost(ctx, hook, consumers[hook]); err != nil {
			return err
		}
		floor := consumers[hook].AckFloor
		if floor == 0 {
			continue
		}
		if _, err := s.Failures.RetriesDone(ctx, hook, floor); err != nil {
			return fmt.Errorf("retries of %s up to %d are done: %w", hook, floor, err)
		}
		s.forget(hook, floor)
	}
	return nil
}

// findLost makes due again what was published before a hook's consumer was made:
// the stream is a new one, or the consumer was deleted, and sequences of before say nothing.
func (s *Service) findLost(ctx context.Context, hook string, c Consumer) error {
	if c.CreatedAt.IsZero() {
		return nil
	}
	n, err := s.Failures.RetriesLost(ctx, hook, c.CreatedAt)
	if err != nil {
		return fmt.Errorf("retries of %s before %v are lost: %w", hook, c.CreatedAt, err)
	}
	if n > 0 {
		s.Log.WarnContext(ctx, "the durable consumer of a hook is a new one; retries that it may have lost are published again", "hook", hook, "retries", n)
		s.wakeUp()
	}
	return nil
}

// forget ends following a hook's retries up to a stream sequence.
func (s *Service) forget(hook string, upTo uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.followed[hook]
	if all == nil {
		return
	}
	maps.DeleteFunc(all.retries, func(seq uint64, _ Failure) bool { return seq <= upTo })
	if len(all.retries) == 0 {
		delete(s.followed, hook)
	}
}

// publishStale makes retries due again that are in the stream for so long that
// it will drop them, or that a clock which was ahead has put off for longer than
// any ladder does, and dead letters of those whose hook is no more.
func (s *Service) publishStale(ctx context.Context) error {
	q := FailureQuery{State: Waiting, Limit: page}
	for {
		found, err := s.Failures.Failures(ctx, q)
		if err != nil {
			return fmt.Errorf("waiting failures: %w", err)
		}
		for _, f := range found {
			q.After = f.N
			late := f.NextAt.IsZero() && s.Now().Sub(f.LastAt) >= stale
			if !late && f.NextAt.Sub(s.Now()) <= longestWait {
				continue
			}
			if err := s.revive(ctx, f); err != nil {
				return err
			}
		}
		if len(found) < page {
			return nil
		}
	}
}

func (s *Service) revive(ctx context.Context, f Failure) error {
	_, err := s.Declared.Hook(ctx, f.Hook)
	if errors.Is(err, ErrNoHook) {
		return s.gone(ctx, f, "there is no such hook any more")
	}
	if err != nil {
		return fmt.Errorf("hook %q: %w", f.Hook, err)
	}
	again := f
	again.LastAt, again.NextAt = s.Now(), s.Now()
	if _, err = s.Failures.SaveFailure(ctx, &f, again); err != nil {
		return fmt.Errorf("save failure of %s at %s: %w", f.Hook, f.EventID, err)
	}
	s.wakeUp()
	return nil
}
