// Package settings changes the identity of a person who is signed in: their traits,
// their password, and the accounts at providers that they sign in with.
//
//	edge: whose session? fresh? → Profile, SetPassword, Link, Unlink
//	→ decide: still valid? schema, policy, another's? the last way?
//	→ hash, verification flows: without anybody waiting for them
//	→ traits, credentials, addresses, handles, hook inputs, other sessions, events: ONE durable commit
//	→ waiting hooks → result
//
// All of that is decided while nobody else can change the identity, on what the one
// before has stored: of two removals at once one finds what the other has left.
package settings

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

// Errors that the edge tells apart. Input that a person can mend is a
// [*flow.Invalid], a session that is not valid any more
// [session.ErrIdentityInactive], a full hash queue [password.ErrBusy], and what a
// hook broke a [*webhook.Failed]: then the change is made.
var (
	// ErrNotLinked says that there is no account at the provider that could be removed.
	ErrNotLinked = errors.New("settings: no account at this provider")
	// ErrSamePassword says that the new password is the old one. It comes with a
	// [*flow.Invalid].
	ErrSamePassword = errors.New("settings: the password is the same")
	// ErrNotFresh says that the change needs a session that is fresh.
	ErrNotFresh = errors.New("settings: the session is not fresh")
)

// MethodProfile is the way to change traits; the others are those of credentials.
const MethodProfile = "profile"

// Service changes settings. All fields but Verification and Observe are needed; it is
// safe for concurrent use.
type Service struct {
	Store     Store
	Schemas   Schemas
	Policy    Policy
	Passwords Hasher
	Hooks     Caller
	// Plan gives the hooks behind a change with a method that are in force.
	Plan func(method string) hook.SettingsPlan
	// Verification opens the verification of an address that is new; nil opens none.
	Verification Opener
	Now          func() time.Time
	// Observe is told how each change went; nil is fine.
	Observe func(Outcome)
}

// Store keeps identities.
type Store interface {
	// ChangeIdentity stores what decide makes of an identity in one durable commit.
	// Nobody changes the identity meanwhile, or ends the session that the change is
	// made by; decide gets both as they are, and must not wait for anything. There is
	// no session where it is gone or another's. A nil change changes nothing, an error
	// is that of the call. [identity.ErrExists] says that an identifier is another's,
	// [identity.ErrNotFound] that the identity is gone.
	ChangeIdentity(ctx context.Context, id, by uuid.UUID, decide func(stored *identity.Identity, current *session.Session) (*Change, error)) error
	// Identity gives an identity with addresses and credentials, or [identity.ErrNotFound].
	Identity(ctx context.Context, id uuid.UUID) (*identity.Identity, error)
	// CreateFlow stores a flow, without waiting for the disk.
	CreateFlow(ctx context.Context, f *flow.Flow) error
	// Flow gives a flow, or [flow.ErrNotFound].
	Flow(ctx context.Context, id uuid.UUID) (*flow.Flow, error)
}

// Change is what one change of settings stores.
type Change struct {
	identity.Change
	// Requested are verification.requested of the addresses that are new; their flows
	// are stored already.
	Requested []events.Event
	// Due are the calls of background hooks, whose event is identity.updated.
	Due []webhook.Due
}

// Schemas gives the identity schema with an ID, false if there is none.
type Schemas interface {
	Schema(id string) (*identity.Schema, bool)
}

// Policy judges new passwords.
type Policy interface {
	// Check gives the first rule that p breaks, or nil.
	Check(p password.Plain, identifiers []string) *password.Violation
}

// Hasher hashes and verifies passwords within the limits of a pool.
type Hasher interface {
	// Hash gives a PHC string, or [password.ErrBusy] at once when the queue is full.
	Hash(ctx context.Context, p password.Plain) (string, error)
	// Verify gives [password.ErrMismatch] for a wrong password.
	Verify(ctx context.Context, p password.Plain, phc string) error
}

// Caller calls the endpoints of web_hook by name.
type Caller interface {
	// Notify calls an endpoint and waits for it.
	Notify(ctx context.Context, endpoint string, c *webhook.Call) error
}

// Opener makes verification flows.
type Opener interface {
	// Opening makes the flow with an id that verifies an address of i, and the event
	// that asks for its mail. It stores neither.
	Opening(id uuid.UUID, i *identity.Identity, a identity.Address, in Submit) (*flow.Flow, events.Event)
}

// Submit is a change that a person asks for. The edge has seen that it is them.
type Submit struct {
	Flow    *flow.Flow
	Session *session.Session
	// Fresh says that the session is fresh enough for what changes how one signs in.
	// Of all but a profile the edge has seen to that.
	Fresh bool
	// Provider is whose account is linked or unlinked.
	Provider         flow.Provider
	TransientPayload json.RawMessage
	Client           flow.Client
	Request          webhook.Request
}

// Result is a change that was made, now or by an earlier submit of the same.
type Result struct {
	// Verifications are the flows that verify the addresses which the change has
	// brought; a mail is on the way for each.
	Verifications []Verification
	// ShowVerification says that a page is to lead there.
	ShowVerification bool
	// Opened is how many of them this submit has opened.
	Opened int
}

// Verification is a flow that verifies an address.
type Verification struct {
	Flow    *flow.Flow
	Address string
}

// submission is what hooks may see besides the identity.
func (in Submit) submission() webhook.Submission {
	return webhook.Submission{Flow: in.Flow, TransientPayload: in.TransientPayload, Request: in.Request, Client: in.Client}
}

// by is the person, for the events of sessions that the change ends.
func (in Submit) by() session.By {
	return session.By{
		Actor:       "person:" + in.Session.IdentityID.String(),
		RequestID:   in.Client.RequestID,
		TraceParent: in.Client.TraceParent,
		Source:      source,
	}
}

func invalid(node string, m flow.Message) error {
	return &flow.Invalid{Form: flow.Form{Messages: map[string][]flow.Message{node: {m}}}}
}
