// Package courier writes the mails that events ask for and hands them to a mail
// server or an API, or keeps them in the mailbox of development:
//
//	verification.requested, recovery.requested
//	  ─▶ recipient ─▶ code or link ─▶ template ─▶ message row
//	  ─▶ claim ─▶ still of use? ─▶ Sender ─▶ sent
//
// The code or link is made here, so that it is nowhere but in the mail; the store keeps
// its digest. A message has one id for all attempts, which is its Message-ID.
package courier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
)

// Errors that callers tell apart.
var (
	// ErrNotFound says that there is no such message, or nobody to write to (any more).
	ErrNotFound = errors.New("courier: not found")
	// ErrOutdated says that the person has recovered the account or got another password
	// since the message was asked for.
	ErrOutdated = errors.New("courier: asked for before the account was secured")
	// ErrClaimed says that somebody else is sending the message.
	ErrClaimed = errors.New("courier: message is being sent")
)

// Misconfigured is the error of an option that cannot be used.
type Misconfigured struct {
	Key string // that it has in the configuration, such as courier.smtp.local_name
	Err error  // holds no secret
}

func (m *Misconfigured) Error() string { return m.Key + ": " + m.Err.Error() }

// Unwrap gives the cause.
func (m *Misconfigured) Unwrap() error { return m.Err }

// misconfigured makes the error of an option.
func misconfigured(key, format string, args ...any) error {
	return &Misconfigured{Key: key, Err: fmt.Errorf(format, args...)}
}

// Status says how far a message is.
type Status string

// The states of a message, the contract's. One that is processing is being sent,
// or whoever did so has died since the message was updated last.
const (
	Queued     Status = "queued"
	Processing Status = "processing"
	Sent       Status = "sent"
	Abandoned  Status = "abandoned"
)

// Templates of messages, by the contract's names: the kinds of [Kinds], each for
// somebody's address and for nobody's.
const (
	VerificationCode        = "verification_code" + valid
	VerificationCodeUnknown = "verification_code" + invalid

	valid, invalid = "_valid", "_invalid"
)

// Carries tells whether messages of a template carry a code or link.
func Carries(template string) bool { return strings.HasSuffix(template, valid) }

// Secret is a text that nobody but the recipient may see: a code, a body.
// However it is printed or encoded it shows as "[secret]"; only Reveal gives it.
type Secret struct{ text *string }

const hidden = "[secret]"

// NewSecret wraps a text.
func NewSecret(text string) Secret { return Secret{text: &text} }

// Reveal gives the text; empty for the zero Secret.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Format hides the text whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// LogValue hides the text.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the text.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Message is a mail and how far it is.
type Message struct {
	// N is the message's place among all by age; the store gives it.
	N  int64
	ID uuid.UUID
	// EventID is the event that asked for it: one event, one message.
	EventID uuid.UUID
	// IdentityID is whose address it goes to; zero for nobody's.
	IdentityID uuid.UUID
	Status     Status
	Template   string
	Recipient  string
	// Content is empty once the message was sent or abandoned, but in development.
	Content Content
	// Attempts that a mail server has seen.
	Attempts int
	// LastError is why the last attempt failed, whether or not a server has seen
	// it: one short line without recipient and content.
	LastError string
	// ExpiresAt is when the message is of no use any more.
	ExpiresAt time.Time
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Content is what a mail says.
type Content struct {
	Subject, Plain, HTML Secret
	// Data is what its templates saw, as a JSON object.
	Data Secret
}

// Code is the code or the link's token that a message carries, for the flow that
// takes it.
type Code struct {
	Purpose                       flow.Purpose
	FlowID, IdentityID, AddressID uuid.UUID
	Text                          Secret
	// AskedAt is when somebody asked for it.
	AskedAt, ExpiresAt time.Time
}

// Request is what an event asks for. The ids of identity and address are zero
// where only the flow knows the address, as it was entered.
type Request struct {
	EventID, FlowID, IdentityID, AddressID uuid.UUID
	TraceParent, RequestID                 string
	At                                     time.Time // of the event
}

// Recipient is whom a message goes to, and for which flow.
type Recipient struct {
	// Address is as it is stored; what was entered where it is nobody's.
	Address string
	// IdentityID and AddressID are zero where the address is nobody's.
	IdentityID, AddressID uuid.UUID
	Traits                json.RawMessage // nil where it is nobody's
	FlowID                uuid.UUID
	FlowExpiresAt         time.Time
	// Purpose is what the flow wants written.
	Purpose flow.Purpose
	// Languages are those of whoever began the flow, see [flow.Flow].
	Languages string
}

// Store keeps messages.
type Store interface {
	// Message gives the message of an event with its content, or [ErrNotFound].
	Message(ctx context.Context, eventID uuid.UUID) (*Message, error)
	// Recipient finds whom r is about, or gives [ErrNotFound]: the flow, the
	// identity or its address is gone, the person is deactivated, or the flow has
	// passed already.
	Recipient(ctx context.Context, r Request) (Recipient, error)
	// Mailed counts the messages to an address since the given time.
	Mailed(ctx context.Context, address string, since time.Time) (int, error)
	// Queue stores a message, its code in place of the flow's former one, and that
	// the address was sent something, in one durable commit. code is nil where the
	// address is nobody's. A message of the same event gives the stored one, with
	// nothing changed. [ErrNotFound] says that the person is gone, [ErrOutdated] that the
	// code was asked for too early.
	Queue(ctx context.Context, m Message, code *Code) (*Message, error)
	// Claim makes the message the caller's to send, [Processing], until so long a
	// lease from now, and gives when that was; held is what it gave the caller
	// before, to begin the lease anew, or zero. [ErrClaimed] says that it is
	// somebody else's, [ErrNotFound] that it was sent, abandoned or deleted.
	Claim(ctx context.Context, id uuid.UUID, held time.Time, lease time.Duration) (at time.Time, err error)
	// Useful tells whether what a message says is still of use to the flow that it
	// was written for: the flow waits for a code, and for the message's, if that
	// holds one.
	Useful(ctx context.Context, m *Message, flowID uuid.UUID) (bool, error)
	// Settle stores how far a message is and appends the event, nil for none, in
	// one durable commit. Its content is deleted unless keep says otherwise.
	Settle(ctx context.Context, id uuid.UUID, s Status, attempts int, keep bool, e *events.Event) error
	// MessageFailed keeps why the last attempt at a message failed.
	MessageFailed(ctx context.Context, id uuid.UUID, why string) error
}
