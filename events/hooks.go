package events

import "encoding/json"

// Headers of a retry, besides those of an event. The message id of a retry is
// its own: "<hook>/<event id>/<round>.<attempt>".
const (
	// HeaderAttempt is the number of the attempt, from 1. An event's first
	// delivery has none.
	HeaderAttempt = "Usher-Attempt"
	// HeaderEventID is the event's id.
	HeaderEventID = "Usher-Event-Id"
)

// SourceCheck is the source of events that "usher worker check" makes to see what
// a worker does. They are about a person who does not exist.
const SourceCheck = "/usher/check"

// SubjectHookFailed is where a hook reports that it has failed at an event.
func SubjectHookFailed(hook string) string { return "usher.svc.v1.hook.failed." + hook }

// SubjectIdentityGet is where a worker asks for an identity.
func SubjectIdentityGet(worker string) string { return "usher.svc.v1.identity.get." + worker }

// SubjectHookAnswer is where an answering worker is asked, in account AUTH.
func SubjectHookAnswer(hook string) string { return "usher.svc.v1.hook.answer." + hook }

// ReasonCrash begins the reason of a permanent failure at an event that has ended
// its worker again and again: its dead letter has this class.
const ReasonCrash = "crash"

// What becomes of an event that a hook has failed at.
const (
	// StateWaiting is delivered again at its time.
	StateWaiting = "waiting"
	// StateDead is a dead letter: not delivered again unless somebody asks.
	StateDead = "dead"
	// StateDiscarded was a dead letter, and somebody has decided that it stays so.
	StateDiscarded = "discarded"
)

// HookFailed reports a failed attempt. Reporting the same attempt again changes
// nothing. A worker acks the message once it is answered.
type HookFailed struct {
	EventID string `json:"event_id"`
	// Attempt is the header of that name, 1 where there is none.
	Attempt int `json:"attempt"`
	// Reason is for operators: up to 200 characters, no personal data.
	Reason string `json:"reason"`
	// Permanent makes the event a dead letter at once.
	Permanent bool `json:"permanent,omitempty"`
	// After is in how many seconds the hook wants the event again; 0 leaves it to
	// the hook's ladder.
	After float64 `json:"after,omitempty"`
	// StreamSeq is the stream sequence of the message, 0 if the worker does not know it.
	StreamSeq uint64 `json:"stream_seq,omitempty"`
}

// CodeNoHook refuses a [HookFailed]: no hook of that name is declared.
const CodeNoHook = "no_hook"

// HookFailedReply says what becomes of the event.
type HookFailedReply struct {
	State string `json:"state"` // [StateWaiting], [StateDead] or [StateDiscarded]
	// Next is when it comes again, in RFC 3339; empty if it does not.
	Next string `json:"next,omitempty"`
}

// IdentityGet asks for the traits that the worker's declaration lists.
type IdentityGet struct {
	IdentityID string `json:"identity_id"`
}

// CodeGone refuses an [IdentityGet]: the person has been deleted.
const CodeGone = "gone"

// IdentityGetReply is an identity as a worker may see it.
type IdentityGetReply struct {
	IdentityID string `json:"identity_id"`
	SchemaID   string `json:"schema_id"`
	State      string `json:"state"`
	// Traits holds what the declaration lists and the identity has.
	Traits map[string]json.RawMessage `json:"traits"`
}
