package events

// Names on the bus. They hold no personal data.
const (
	// EventPrefix is followed by the event type.
	EventPrefix = "usher.evt.v1."
	// SubjectSessionIssue is where the session service answers, in account AUTH.
	SubjectSessionIssue = "usher.svc.v1.session.issue"
	// SubjectOutboxKick wakes the relay.
	SubjectOutboxKick = "usher.ctl.v1.outbox.kick"
	// SubjectSessionRevoked and SubjectIdentityUpdated empty caches; their
	// messages hold a session's or identity's id.
	SubjectSessionRevoked  = "usher.ctl.v1.session.revoked"
	SubjectIdentityUpdated = "usher.ctl.v1.identity.updated"
	// SubjectSettingsChanged says that operators have saved settings; its messages
	// are empty.
	SubjectSettingsChanged = "usher.ctl.v1.settings.changed"
	// SubjectStats is where each process tells what it has counted.
	SubjectStats = "usher.ctl.v1.stats"
	// SubjectDatabase is where an api that cannot reach the database asks who can, and
	// where those that can say so.
	SubjectDatabase = "usher.ctl.v1.database"

	// subjectAcks is followed by the name of a durable consumer: what the bus says of each ack.
	subjectAcks = "$JS.EVENT.METRIC.CONSUMER.ACK." + Stream + "."

	// Stream holds all events and retries.
	Stream = "USHER_EVENTS"
)

// Headers of requests and events.
const (
	// HeaderRequestID makes a request idempotent.
	HeaderRequestID = "Usher-Request-Id"
	// HeaderDeadline is when the answer stops being of use, in Unix milliseconds.
	HeaderDeadline = "Usher-Deadline"
	// HeaderTimeout is how many milliseconds before its deadline a request was
	// sent: with it the clocks of both sides may differ.
	HeaderTimeout = "Usher-Timeout"
	// HeaderTraceParent is the W3C trace context.
	HeaderTraceParent = "traceparent"

	headerContentType = "Content-Type"
)

// ContentType is that of an encoded event.
const ContentType = "application/cloudevents+json"

// allRetries are the subjects of [RetrySubject].
const allRetries = "usher.hook.v1.*.retry"

// RetrySubject is where the retries of one hook are published: "usher.hook.v1.<hook>.retry".
func RetrySubject(hook string) string { return "usher.hook.v1." + hook + ".retry" }
