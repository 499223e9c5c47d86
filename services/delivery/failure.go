package delivery

import (
	"time"

	"github.com/usher-auth/usher/events"
)

// State is what becomes of an event that a hook has failed at.
type State string

// The states of a [Failure].
const (
	// Waiting is delivered again at its time, or was and has no outcome yet.
	Waiting State = events.StateWaiting
	// Dead is not delivered again unless somebody asks: a dead letter.
	Dead State = events.StateDead
	// Discarded was dead, and somebody has decided that it stays so.
	Discarded State = events.StateDiscarded
	// Done was delivered after all.
	Done State = "done"
)

// Failure is an event that a hook has failed at.
type Failure struct {
	// N orders failures by age.
	N       int64
	Hook    string
	EventID string
	// EventType is only given where failures are listed, as long as the event log
	// holds the event.
	EventType string
	State     State
	// Attempts counts those of this round; a redelivery of a dead letter begins
	// the next round.
	Attempts, Round int
	// Reason is a class and a text of up to 200 characters, without personal data.
	Reason string
	// StreamSeq is that of the message that failed, or of its retry; 0 if unknown.
	StreamSeq uint64
	FirstAt   time.Time
	LastAt    time.Time
	// NextAt is when it is published again; zero when it is, or will not be.
	NextAt time.Time
}

// FailureQuery selects failures, by age. The zero query selects all.
type FailureQuery struct {
	After   int64 // N
	Hook    string
	EventID string
	// EventType selects those whose event is still in the event log and of that type.
	EventType string
	// Reason is a text that the reason holds, however it is capitalised.
	Reason string
	State  State
	Limit  int // 0 means 100
}
