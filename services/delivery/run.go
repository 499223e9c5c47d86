package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/google/uuid"
)

const (
	// lease is how long what is due is this process's. A process that dies
	// meanwhile has its rows published by another one, under the same message
	// ids: within the stream's duplicate window.
	lease = 30 * time.Second
	// batch is how many rows are leased at a time, abreast how many of them are
	// published at a time.
	batch   = 100
	abreast = 16
	// poll is how long it takes at most until rows of others are seen.
	poll = 5 * time.Second
	// goneAfter is when an event that the log does not hold never comes: the relay
	// moves it there once the stream has it.
	goneAfter = 24 * time.Hour
	// strangeAfter is when a hook does not get an event that it has failed at for
	// good: more than a wait of its ladder and a rolling restart with a newer file.
	strangeAfter = 72 * time.Hour
)

// Run publishes what is due, follows what becomes of it and pauses hooks that
// fail all the time, until ctx ends. What was begun is finished then. It gives
// nil: whatever fails is logged and tried again.
func (s *Service) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	loops.Go(func() { s.publishDue(ctx) })
	loops.Go(func() { s.watch(ctx) })
	loops.Wait()
	return nil
}

// publishDue publishes batch after batch, and sleeps until something is due.
func (s *Service) publishDue(ctx context.Context) {
	pauses := backoff.NewExponentialBackOff(backoff.WithInitialInterval(200*time.Millisecond),
		backoff.WithMaxInterval(10*time.Second), backoff.WithMaxElapsedTime(0))
	for ctx.Err() == nil {
		n, err := s.publishBatch(ctx)
		var next time.Duration
		if err == nil && n < batch {
			next, err = s.untilNext(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			next = pauses.NextBackOff()
			s.Log.Error("retries could not be published", "error", err, "again_in", next.Round(time.Millisecond))
			sleep(ctx, next, nil)
			continue
		}
		pauses.Reset()
		sleep(ctx, next, s.wake)
	}
}

// untilNext is how long nothing is due, at most a poll.
func (s *Service) untilNext(ctx context.Context) (time.Duration, error) {
	next, err := s.Failures.NextDue(ctx)
	if err != nil {
		return 0, fmt.Errorf("next due: %w", err)
	}
	if next.IsZero() {
		return poll, nil
	}
	return min(max(next.Sub(s.Now()), time.Millisecond), poll), nil
}

// sleep returns after d, when it is woken, or when ctx ends.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-timer.C:
	}
}

// publishBatch publishes what is due and tells how many it took. Those that fail
// come again when their lease is over.
func (s *Service) publishBatch(ctx context.Context) (int, error) {
	due, err := s.Failures.DueFailures(ctx, s.Now(), lease, batch)
	if err != nil {
		return 0, fmt.Errorf("due failures: %w", err)
	}
	errs := make([]error, len(due))
	slots := make(chan struct{}, abreast)
	var all sync.WaitGroup
	for n, f := range due {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if errs[n] = s.publish(ctx, f); errs[n] != nil {
				errs[n] = fmt.Errorf("retry of %s for %s: %w", f.EventID, f.Hook, errs[n])
			}
		})
	}
	all.Wait()
	return len(due), first(errs)
}

// first is the first error: the bus is away for all or for none.
func first(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// publish puts one event into its hook's retries, or finds that there is none.
func (s *Service) publish(ctx context.Context, f Failure) error {
	id, err := uuid.Parse(f.EventID)
	if err != nil {
		return err
	}
	payload, eventType, err := s.EventLog.EventPayload(ctx, id)
	if errors.Is(err, ErrNoEvent) {
		return s.missing(ctx, f, id)
	}
	if err != nil {
		return fmt.Errorf("event: %w", err)
	}
	switch gets, err := s.gets(ctx, f.Hook, eventType); {
	case err != nil:
		return err
	case !gets:
		return s.notIts(ctx, f, eventType)
	}
	seq, err := s.Publisher.PublishRetry(ctx, Retry{
		Hook: f.Hook, EventID: f.EventID, Attempt: f.Attempts + 1, Payload: payload,
		MessageID: fmt.Sprintf("%s/%s/%d.%d", f.Hook, f.EventID, f.Round, f.Attempts+1),
	})
	if err != nil {
		return err
	}
	s.Observe.Published(f.Hook)
	ctx, cancel := finishing(ctx)
	defer cancel()
	if err := s.Failures.RetryPublished(ctx, f, seq); err != nil {
		return fmt.Errorf("store that it is published: %w", err)
	}
	s.follow(f, seq)
	return nil
}

// missing leaves an event that is not in the log yet until its lease is over.
// One that cannot come any more is a dead letter.
func (s *Service) missing(ctx context.Context, f Failure, id uuid.UUID) error {
	since := f.FirstAt
	if id.Version() == 7 {
		sec, nsec := id.Time().UnixTime()
		if made := time.Unix(sec, nsec); made.Before(since) {
			since = made
		}
	}
	if s.Now().Sub(since) < goneAfter {
		return nil
	}
	return s.gone(ctx, f, "the event log does not hold the event any more")
}

// gets tells whether a hook gets events of a type. One that is not there may come back.
func (s *Service) gets(ctx context.Context, hook, eventType string) (bool, error) {
	h, err := s.Declared.Hook(ctx, hook)
	if errors.Is(err, ErrNoHook) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("hook %q: %w", hook, err)
	}
	return slices.Contains(h.Types, eventType), nil
}

// notIts leaves an event of a type that its hook does not get until its lease is
// over: another process may have a newer file. Later it is a dead letter.
func (s *Service) notIts(ctx context.Context, f Failure, eventType string) error {
	if s.Now().Sub(f.LastAt) < strangeAfter {
		return nil
	}
	return s.gone(ctx, f, "the hook does not get "+eventType)
}

// gone makes a dead letter of what cannot be delivered. A lost race is left as it is.
func (s *Service) gone(ctx context.Context, former Failure, why string) error {
	f := former
	f.State, f.NextAt, f.Reason = Dead, time.Time{}, deadGone+": "+why
	saved, err := s.save(ctx, &former, f, deadGone)
	if saved {
		s.Observe.Reported(f.Hook, f.State)
		s.Log.Warn("dead letter", "hook", f.Hook, "event_id", f.EventID, "reason", f.Reason)
	}
	return err
}
