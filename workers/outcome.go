package workers

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/usher-auth/usher/events"
)

// Permanent makes err final: the event does not come again. It is nil if err is.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanent{err}
}

type permanent struct{ error }

func (p *permanent) Unwrap() error { return p.error }

// RetryIn makes the event come again in d. It is nil, and the event done, if
// err is nil. Waiting events count against the consumer's limit: waits of
// minutes are the most that a worker should ask for.
func RetryIn(d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &retryIn{err, d}
}

type retryIn struct {
	error
	after time.Duration
}

func (r *retryIn) Unwrap() error { return r.error }

// Attempt is one delivery of one event and what became of it.
type Attempt struct {
	Worker string
	// Event is zero if it could not be decoded.
	Event   events.Event
	Number  int // of deliveries to this worker, from 1
	Outcome Outcome
	// Err is what the handler returned, or its panic.
	Err  error
	Took time.Duration
	// Next is when the event comes again after a Retry.
	Next time.Duration
}

// Outcome is what became of an attempt.
type Outcome string

// The outcomes of attempts.
const (
	Done      Outcome = "done"
	Skipped   Outcome = "skipped"   // no handler for the type
	Retry     Outcome = "retry"     // comes again
	Abandoned Outcome = "abandoned" // does not come again
)

const (
	// shortestWait keeps an event that fails from turning in a tight loop.
	shortestWait = 100 * time.Millisecond
	// firstWait doubles with each attempt up to longestWait; jitter takes or adds up to half.
	firstWait   = time.Second
	longestWait = 40 * time.Second
)

// wait says after which time an event whose attempt ended with err comes again.
func wait(err error, attempt int) time.Duration {
	var asked *retryIn
	if errors.As(err, &asked) {
		return max(asked.after, shortestWait)
	}
	waits := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(firstWait),
		backoff.WithMultiplier(2),
		backoff.WithMaxInterval(longestWait),
		backoff.WithMaxElapsedTime(0),
	)
	d := waits.NextBackOff()
	for range min(attempt, 10) - 1 {
		d = waits.NextBackOff()
	}
	return d
}

type delivery struct{ worker, event string }

type deliveryKey struct{}

// EventID is the ID of the event that is being handled: the same in each of
// its deliveries, to all workers. It is empty outside of a handler.
func EventID(ctx context.Context) string {
	d, _ := ctx.Value(deliveryKey{}).(delivery)
	return d.event
}

// IdempotencyKey names what this worker does for this event, for systems that
// do nothing twice under one key: "<worker>:<event id>". It is empty outside
// of a handler.
func IdempotencyKey(ctx context.Context) string {
	d, ok := ctx.Value(deliveryKey{}).(delivery)
	if !ok {
		return ""
	}
	return d.worker + ":" + d.event
}
