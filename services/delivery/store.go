package delivery

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
)

// Hooks keeps declared hooks.
type Hooks interface {
	// Hooks gives all, by name.
	Hooks(ctx context.Context) ([]Hook, error)
	// CreateHook gives [ErrHookExists] if the name is taken, and [*NameUsed]. A webhook
	// without secrets takes it only from those at the same URL. The event says so in
	// the same commit, as do those of the other changes.
	CreateHook(ctx context.Context, h Hook, e events.Event) error
	// UpdateHook replaces a hook that was updated last at former, or gives [ErrHookChanged].
	UpdateHook(ctx context.Context, former time.Time, h Hook, e events.Event) error
	// DeleteHook deletes a hook with its failures, or gives [ErrNoHook].
	DeleteHook(ctx context.Context, name string, e events.Event) error
}

// Failures keeps what hooks failed at: the reports, the retries that come of
// them, what becomes of these, and what operators see.
type Failures interface {
	Reported
	Retries
	Outcomes
	Lister
	Counter
}

// Reported keeps failures one by one.
type Reported interface {
	// Failure gives one, or [ErrNoFailure].
	Failure(ctx context.Context, hook string, eventID uuid.UUID) (Failure, error)
	// SaveFailure stores a failure if the stored one is still former (its State,
	// Attempts and Round; nil: there is none), and tells whether it was. The events,
	// if any, are in the same commit, which waits for the disk.
	SaveFailure(ctx context.Context, former *Failure, f Failure, e ...events.Event) (bool, error)
}

// Retries gives out what is to be published again.
type Retries interface {
	// DueFailures gives failures whose NextAt has come, oldest first, and puts it
	// off by lease: nobody else gets them meanwhile.
	DueFailures(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]Failure, error)
	// NextDue is when the next failure is due; zero if none is.
	NextDue(ctx context.Context) (time.Time, error)
	// RetryPublished says that a failure that was due is in the stream: it has no
	// NextAt any more unless it failed again meanwhile.
	RetryPublished(ctx context.Context, f Failure, streamSeq uint64) error
}

// Outcomes keeps what became of retries that were published.
type Outcomes interface {
	// RetriesLost makes the published failures of a hook that were last reported
	// before a time due now, and tells how many: the consumer that is there was made then.
	RetriesLost(ctx context.Context, hook string, before time.Time) (int, error)
	// RetriesDone marks the published failures of a hook up to a stream sequence
	// as done: its consumer has acked them and nothing was reported since. It tells how many.
	RetriesDone(ctx context.Context, hook string, upTo uint64) (int, error)
	// FailedAt tells whether the message with that stream sequence was reported. A
	// retry that is published and has no outcome yet was not.
	FailedAt(ctx context.Context, hook string, streamSeq uint64) (bool, error)
}

// Lister reads failures.
type Lister interface {
	// Failures gives those that q selects, by N.
	Failures(ctx context.Context, q FailureQuery) ([]Failure, error)
}

// Counter counts failures.
type Counter interface {
	// FailureCounts counts by hook and state, but for those that are done.
	FailureCounts(ctx context.Context) (map[string]map[State]int64, error)
}

// Log gives events of the event log.
type Log interface {
	// EventPayload gives an event's canonical JSON and its type, also of one that is
	// on its way into the log. [ErrNoEvent] says that there is none, or not any more.
	EventPayload(ctx context.Context, id uuid.UUID) (payload []byte, eventType string, err error)
}
