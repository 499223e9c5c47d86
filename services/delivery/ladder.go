package delivery

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Ladder is the waits between the attempts at one event: the first wait follows
// the first attempt. Behind the last one the event is a dead letter. The zero
// Ladder makes one of each event that fails.
type Ladder []time.Duration

// jitter is which part of a wait is taken or added, so that what failed
// together does not come again together.
const jitter = 0.2

// WorkerLadder is the ladder of workers: nine attempts within a day.
func WorkerLadder() Ladder {
	return Ladder{
		5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
		2 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	}
}

// WebhookLadder is the schedule of Standard Webhooks: ten attempts within 76 hours.
func WebhookLadder() Ladder {
	return Ladder{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute,
		2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
}

// LadderOf is the ladder of a kind of hook.
func LadderOf(k Kind) Ladder {
	if k == Webhook {
		return WebhookLadder()
	}
	return WorkerLadder()
}

// Wait is how long after so many attempts, from 1, the next one follows, within
// a fifth more or less. It is false if none does.
func (l Ladder) Wait(attempts int) (time.Duration, bool) {
	if attempts < 1 || attempts > len(l) {
		return 0, false
	}
	wait := l[attempts-1]
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(wait), backoff.WithMaxInterval(wait),
		backoff.WithRandomizationFactor(jitter), backoff.WithMaxElapsedTime(0),
	).NextBackOff(), true
}

// Span is all waits together, without jitter.
func (l Ladder) Span() (span time.Duration) {
	for _, wait := range l {
		span += wait
	}
	return span
}
