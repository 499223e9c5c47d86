package timeline

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// Timeline is one registration: how it was answered, and what became of its events.
type Timeline struct {
	IdentityID uuid.UUID `json:"identity_id"`
	// FlowID and what the flow says are empty of a person who has not registered, but
	// was made by an administrator or an import.
	FlowID    string `json:"flow_id,omitempty"`
	FlowType  string `json:"flow_type,omitempty"`
	Method    string `json:"method,omitempty"`
	Provider  string `json:"provider,omitempty"`
	SessionID string `json:"session_id,omitempty"`
	// RequestID and TraceID are those of the submit that has made the person.
	RequestID string `json:"request_id,omitempty"`
	TraceID   string `json:"trace_id,omitempty"`
	// CreatedAt is the identity's own, which an import may have kept from elsewhere.
	// Whoever has the identity fills it in.
	CreatedAt time.Time `json:"created_at,omitzero"`
	// ReceivedAt is when the submit came, from where all else is counted. It is zero
	// where nothing tells how the person came here, see [Timeline.Unregistered].
	ReceivedAt time.Time `json:"received_at,omitzero"`
	// Answer is what the client has waited for, in order.
	Answer []Span  `json:"answer"`
	Events []Event `json:"events"`
	// Open says that something is still to come; NextAt is when, if that is known.
	Open   bool      `json:"open"`
	NextAt time.Time `json:"next_at,omitzero"`
	// Flows are all flows that this person has registered with, the oldest first.
	Flows []string `json:"flows"`
	// Lacks names what could not be had: "events", "hooks", "deliveries", "bus".
	Lacks []string `json:"lacks"`
}

// Unregistered says why there is no registration to show, and what is known instead;
// "" where there is one.
func (t *Timeline) Unregistered() string {
	if !t.ReceivedAt.IsZero() {
		return ""
	}
	why := "this identity was imported without an event of its own, or the event log does not tell of it any more"
	if slices.Contains(t.Lacks, "events") {
		why = "this identity has not registered by itself, and the event log does not answer"
	}
	if !t.CreatedAt.IsZero() {
		why += "; its record says that it was created at " + t.CreatedAt.UTC().Format("2006-01-02 15:04:05 UTC") + ", which an import may have kept from elsewhere"
	}
	return why
}

// State is what has become of a step, or of an event at a hook.
type State string

// The states.
const (
	Done   State = "done"
	Failed State = "failed" // of a step
	// Pending is on its way: not delivered yet, or not answered.
	Pending State = "pending"
	// Waiting comes again at its time; Paused when the hook is resumed.
	Waiting State = "waiting"
	Paused  State = "paused"
	// Dead and Discarded do not come again, unless somebody asks.
	Dead      State = "dead"
	Discarded State = "discarded"
	// Disabled hooks get nothing.
	Disabled State = "disabled"
	// Unknown is longer ago than is known.
	Unknown State = "unknown"
)

// The steps of an answer.
const (
	StepChecks = "checks"
	StepHash   = "hash"
	// StepCommit is the commit and the hooks that the answer waits for.
	StepCommit  = "commit"
	StepSession = "session"
	StepAnswer  = "answer"
)

// Span is a step of the answer. A time that is not kept is zero.
type Span struct {
	Name      string    `json:"name"`
	State     State     `json:"state"`
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	// Detail says why, where it failed.
	Detail string `json:"detail,omitempty"`
}

// Event is one of the registration's events.
type Event struct {
	ID   string    `json:"id"`
	Type string    `json:"type"`
	At   time.Time `json:"at"`
	// LoggedAt is when the bus and the log had it; zero while it waits in the outbox.
	LoggedAt  time.Time `json:"logged_at,omitzero"`
	StreamSeq uint64    `json:"stream_seq,omitempty"`
	Hooks     []Run     `json:"hooks"`
}

// Run is what a hook did with an event.
type Run struct {
	Hook     string    `json:"hook"`
	Kind     string    `json:"kind,omitempty"` // empty: it is not declared any more
	State    State     `json:"state"`
	Attempts []Attempt `json:"attempts"`
	// NextAt is when it gets the event again.
	NextAt time.Time `json:"next_at,omitzero"`
	// Reason is of the last failure.
	Reason string `json:"reason,omitempty"`
}

// Attempt is one delivery that the hook has answered, or is to answer.
type Attempt struct {
	State State `json:"state"` // Done, Failed or Pending
	// DeliveredAt is when the hook got it, EndedAt when it had answered.
	DeliveredAt time.Time `json:"delivered_at,omitzero"`
	EndedAt     time.Time `json:"ended_at,omitzero"`
	// Deliveries counts how often the hook got it until it answered.
	Deliveries int `json:"deliveries,omitempty"`
}

// Hook is a declared hook as it is now.
type Hook struct {
	Name, Kind string
	Types      []string
	Disabled   bool
	// Since is when it was declared; zero: it always was.
	Since time.Time
	// AckFloor and PausedUntil are of its durable consumer; Known says whether there is one.
	Known       bool
	AckFloor    uint64
	PausedUntil time.Time
}
