// Package webhook calls endpoints over HTTP. Those of web_hook get a body that
// is rendered with Jsonnet, with their credentials, and a parsing one is
// listened to. Signed ones get a message as it is, signed as Standard Webhooks say.
//
//	Call          ── body(ctx) ──▶ request ──▶ endpoint ──▶ nil │ Refusal │ Failed
//	SignedMessage ── signatures ─▶ request ──▶ endpoint ──▶ nil │ Failed
package webhook

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/identity"
)

// Call is what a web_hook is told about.
type Call struct {
	Input
	// Identity is what was stored; for a refusing hook what would be, which its
	// answer may change.
	Identity *identity.Identity
	// EventID is the idempotency key of hooks behind the commit, empty before it.
	EventID string
}

// Input is what a hook's body may need beyond the stored identity. For
// background hooks it is kept, sealed, until the delivery.
type Input struct {
	Flow    Flow    `json:"flow"`
	Request Request `json:"request"`
	// RequestID is passed on as X-Request-Id, TraceParent as traceparent, unless the
	// call is traced itself.
	RequestID   string `json:"request_id,omitempty"`
	TraceParent string `json:"trace_parent,omitempty"`
}

// Due is a call that a background endpoint is to get when its event comes. The
// store seals it and deletes it after delivery.
type Due struct {
	EventID  uuid.UUID
	Endpoint string
	Input    Input
}

// Refusal is the error of an endpoint that said no; its messages are for the person.
type Refusal struct{ Messages []Message }

func (*Refusal) Error() string { return "a hook refused" }

// Message is one that a refusing endpoint gave, at the node that its pointer names; "" is the whole flow.
type Message struct {
	Node    string
	ID      int64
	Text    string
	Type    string
	Context json.RawMessage
}

// Failed is the error of a call that gave no usable answer. Its text names the
// endpoint and never holds the body or a credential.
type Failed struct {
	Endpoint string
	// Kind is that of the hook, a web_hook if it is empty.
	Kind string
	// Status is the HTTP status that was answered, 0 if there was none.
	Status int
	// RetryAfter is how long the endpoint asked not to be called, 0 if it did not.
	RetryAfter time.Duration
	Err        error
}

func (f *Failed) Error() string {
	return cmp.Or(f.Kind, "endpoint") + " " + f.Endpoint + ": " + f.Err.Error()
}

// Unwrap gives the cause.
func (f *Failed) Unwrap() error { return f.Err }

// ErrNotConfigured says that no endpoint has that name, as the configuration is now.
var ErrNotConfigured = errors.New("is not configured")

// Flow is what a body template sees of the flow as ctx.flow.
type Flow struct {
	ID               string          `json:"id"`
	Type             string          `json:"type"`
	RequestURL       string          `json:"request_url"`
	ReturnTo         string          `json:"return_to,omitempty"`
	IssuedAt         time.Time       `json:"issued_at"`
	ExpiresAt        time.Time       `json:"expires_at"`
	TransientPayload json.RawMessage `json:"transient_payload,omitempty"`
}

// Request is what a body template sees of the client's request. Header holds
// only allow-listed names.
type Request struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Header  http.Header       `json:"header,omitempty"`
	Cookies map[string]string `json:"cookies,omitempty"`
}
