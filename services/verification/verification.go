// Package verification proves that an address is its identity's: a code or link
// goes out, and comes back.
//
//	address entered           ─▶ Send ─▶ verification.requested ─▶ courier ─▶ mail
//	code entered, link opened ─▶ Check ─▶ ONE commit: code used, address verified, events
//	                                   ─▶ waiting hooks ─▶ flow has passed
//
// An address that was entered may be anybody's or nobody's: all that is done
// with it here is the same, and who it belongs to the courier finds out behind
// the answer. A flow that another one leads to, by [Service.Open], is about an
// address that is known.
package verification

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
	"github.com/usher-auth/usher/services/webhook"
)

// Errors that the edge tells apart. Input that a person can mend is a [*flow.Invalid].
var (
	// ErrWrongCode says that the code is not the flow's, is over, or that its person
	// is deactivated, which is nobody's business.
	ErrWrongCode = errors.New("verification: wrong code")
	// ErrTooManyTries says that too many codes were tried; the flow is of no use any more.
	ErrTooManyTries = errors.New("verification: too many tries")
	// ErrDone says that the flow has passed already.
	ErrDone = errors.New("verification: flow has passed")
)

// Service verifies addresses. All fields but Trouble are needed; it is safe for
// concurrent use.
type Service struct {
	Store Store
	Hooks Caller
	// Plan gives the hooks behind a verification that are in force.
	Plan func() hook.AfterPlan
	// MaxTries is how many codes a flow takes.
	MaxTries int
	// Lifespan of flows that [Service.Open] makes, and the Method of their mails.
	Lifespan time.Duration
	Method   string
	Now      func() time.Time
	// Trouble is told what broke and changed nothing of the answer, for a log.
	Trouble func(error)
}

// Store keeps flows, codes and addresses.
type Store interface {
	CreateFlow(ctx context.Context, f *flow.Flow) error
	// Flow gives a flow, or [flow.ErrNotFound].
	Flow(ctx context.Context, id uuid.UUID) (*flow.Flow, error)
	// SaveFlow keeps the state, the active method, the form and the CSRF digest of a
	// flow, without waiting for the disk. [flow.ErrChanged] says that it is not what
	// it was when it was read; that it has passed is saved all the same.
	SaveFlow(ctx context.Context, f *flow.Flow) error
	// CountTry counts a code that is tried and gives the number so far, this one
	// included, or [flow.ErrNotFound]. It does not wait for the disk.
	CountTry(ctx context.Context, flowID uuid.UUID) (int, error)
	// Verify holds p's code against the flow's, and in one durable commit marks the
	// code as used and the address as verified and stores the events and the inputs
	// of their background hooks. A code that this flow has used already succeeds
	// again, with nothing changed: the former answer may be lost. Otherwise
	// [ErrWrongCode]: no such code, over, its address is not what it was, or its
	// person is deactivated.
	Verify(ctx context.Context, p Proof) (Verified, error)
	// HoldsCode gives nil if p's code is the flow's, and changes nothing; else the
	// errors of Verify.
	HoldsCode(ctx context.Context, p Proof) error
	// ForgiveTry takes back a try that was counted.
	ForgiveTry(ctx context.Context, flowID uuid.UUID) error
	// Append stores an event, to be published by the relay.
	Append(ctx context.Context, e events.Event) error
	// Identity gives an identity with its addresses, or [identity.ErrNotFound].
	Identity(ctx context.Context, id uuid.UUID) (*identity.Identity, error)
}

// Proof is a code that was entered.
type Proof struct {
	FlowID  uuid.UUID
	Purpose flow.Purpose
	Code    string // or the token of a link; a secret: never in a log, an error or an event
	At      time.Time
	// Events makes what happened: first is whether no address of the identity was
	// verified before; sequences are taken from next.
	Events func(v Verified, first bool, next func() int64) []events.Event
	// Due are the calls of background hooks; their event id is that of [Proof.EventID].
	Due     []webhook.Due
	EventID uuid.UUID // of address.verified
}

// Verified says whose address was verified.
type Verified struct {
	IdentityID, AddressID uuid.UUID
	Via                   string
	// Again says that it was verified before, by the same code and flow.
	Again bool
}

// Caller calls the endpoints of web_hook by name.
type Caller interface {
	// Notify calls an endpoint and waits for it.
	Notify(ctx context.Context, endpoint string, c *webhook.Call) error
}

// Submit is a submitted flow: an address that a code or link is to go to, or one
// that has come back.
type Submit struct {
	Flow *flow.Flow
	// Method is [flow.MethodCode] or [flow.MethodLink].
	Method string
	Email  string
	// Code is a code, or the token of a link.
	Code             string
	TransientPayload json.RawMessage
	Client           flow.Client
	Request          webhook.Request
}

// Opening is a flow that begins with its code already asked for: by a
// registration's hook or a login that is refused until an address is verified.
type Opening struct {
	Identity   *identity.Identity
	Address    identity.Address
	Type       flow.Type
	RequestURL string
	ReturnTo   string
	Languages  string // see [flow.Flow]
	CSRF       []byte // of the cookie that the answer leaves the browser with; empty for api flows
	Client     flow.Client
}
