// Package flow holds self-service flows: what was begun, what was entered,
// and how that becomes the nodes and messages of the HTTP contract.
package flow

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
)

// Errors that callers tell apart.
var (
	// ErrNotFound says that no such flow is stored (any more).
	ErrNotFound = errors.New("flow: not found")
	// ErrChanged says that a flow was saved by somebody else since it was read, or is gone.
	ErrChanged = errors.New("flow: changed meanwhile")
)

// Kind says what a flow is for.
type Kind string

// The kinds of flows.
const (
	// Registration makes an identity.
	Registration Kind = "registration"
	// Login gives a session.
	Login Kind = "login"
	// Verification proves that an address is its identity's.
	Verification Kind = "verification"
	// Recovery signs somebody in who cannot sign in any more.
	Recovery Kind = "recovery"
	// Settings changes the identity of who is signed in.
	Settings Kind = "settings"
)

// Type says which kind of client began a flow. Types never mix.
type Type string

// The types of flows.
const (
	API     Type = "api"
	Browser Type = "browser"
)

// The states of flows.
const (
	ChooseMethod    = "choose_method"    // at the start
	SentEmail       = "sent_email"       // a code was asked for
	PassedChallenge = "passed_challenge" // the code was right
	ShowForm        = "show_form"        // settings at the start, and where something is wrong
	Success         = "success"          // settings are changed; they can be changed again
	// ChooseCredential is the second of two steps of a registration. Clients see
	// ChooseMethod.
	ChooseCredential = "choose_credential"
)

// Flow is one attempt at something. What it shows is derived from it by
// [Render]; only what was entered is kept.
type Flow struct {
	ID       uuid.UUID
	Kind     Kind
	Type     Type
	State    string
	Active   string // the method that was used last, or empty
	SchemaID string
	// RequestURL is the absolute URL of the request that began the flow.
	RequestURL string
	ReturnTo   string
	// AfterVerificationReturnTo is inherited by the verification flow that a registration opens.
	AfterVerificationReturnTo string
	// CSRF is the SHA-256 of the CSRF cookie's secret that began a browser flow; empty for api flows.
	CSRF []byte
	// IdentityID is whose settings these are; zero for other kinds.
	IdentityID uuid.UUID
	// Languages are those that its person reads, for mails: BCP 47 tags, best first, with
	// commas between them; empty is unknown. See the function of that name.
	Languages string
	// Refresh says that a login is to make a session fresh that is there already.
	Refresh bool
	Form    Form
	// Attempt is the sign-in at a provider that was begun last and has not come
	// back, nil if there is none.
	Attempt *Attempt
	// Link is what a login adds to the account that it signs in to, nil if nothing.
	Link *Link
	// Exchange is the SHA-256 of the app's half of the code that an api flow hands
	// its session out for; empty if the app did not ask for one.
	Exchange []byte
	// Version is how often the flow was saved and Tries how many codes were
	// tried, when it was read. Only the store changes them.
	Version, Tries int
	IssuedAt       time.Time
	ExpiresAt      time.Time
}

// Expired tells whether f is dead at the given time.
func (f *Flow) Expired(now time.Time) bool { return !now.Before(f.ExpiresAt) }

// Client is who sent a request.
type Client struct {
	Addr        string // host:port, or the address that a trusted proxy gave
	UserAgent   string
	RequestID   string
	TraceParent string // W3C trace context
}

// Form is what was entered and what was wrong with it. Passwords are never in it.
type Form struct {
	// Values by node name, such as "traits.name.first". A registration that has a
	// "provider" came back from that one with too few traits: it shows only the way
	// on there.
	Values map[string]any `json:"values,omitempty"`
	// Messages by node name; those of the whole flow stand under "".
	Messages map[string][]Message `json:"messages,omitempty"`
}

// UnmarshalJSON keeps numbers as they were written: they are entered once, and shown
// and submitted again.
func (f *Form) UnmarshalJSON(data []byte) error {
	type plain Form
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode((*plain)(f))
}

// Empty tells whether nothing was entered or said yet.
func (f Form) Empty() bool { return len(f.Values) == 0 && len(f.Messages) == 0 }

// Invalid is the error of a submit that a person can mend. The flow is shown
// again with its form.
type Invalid struct{ Form Form }

func (*Invalid) Error() string { return "flow: input is invalid" }
