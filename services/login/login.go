// Package login signs a person in who comes back. [Service.Login] is the whole
// way with a password, top to bottom:
//
//	identifier → hash, always one → state → refusing hooks → gate → waiting hooks
//	→ pending link → session → replaced and other sessions, verification, rehash → result
//
// [Service.LoginProven] is the same way from the state on, for who has proven
// elsewhere who they are, and [Service.LoginLinking] for whose proof is linked to
// the account that it finds by an address.
//
// A flow that has a [flow.Link] signs in nobody but who has its Duplicate. The
// account is linked once all hooks have let the person in, and in a commit of its
// own: it stays linked where there is no session in the end.
//
// Until the password was right, nothing that is answered depends on whether the
// identifier is somebody's. The session is issued behind the waiting hooks, so
// that a login that one of them breaks leaves none; the bodies of web_hooks
// therefore see no session (ctx.session).
package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
// [*flow.Invalid]; a full hash queue is [password.ErrBusy]; a login that waits
// for a verification is [*Unverified].
var (
	// ErrNoSession says that it was the right person but no session could be issued.
	ErrNoSession = errors.New("login: no session could be issued")
	// ErrNoAddress says that the gate asks for a verified address of an identity
	// that has none to verify: a configuration that cannot work.
	ErrNoAddress = errors.New("login: the identity has no address that could be verified")
)

// Unverified refuses a login until an address is verified; a code is on its way.
type Unverified struct {
	Flow    *flow.Flow // of the verification
	Address string
}

func (*Unverified) Error() string { return "login: no address is verified" }

// Service signs people in. All fields but those that say otherwise are needed;
// it is safe for concurrent use.
type Service struct {
	Store        Store
	Passwords    Hasher
	Hooks        Caller
	Workers      Answerer
	Sessions     session.Issuer
	Verification Opener
	// Plan gives the plan in force of a method.
	Plan                   func(method string) hook.LoginPlan
	Lifespan, IssueTimeout time.Duration
	// LegacyGate answers a login that the gate refuses with message 4000010 in the
	// flow, instead of an [*Unverified].
	LegacyGate bool
	Now        func() time.Time
	// Observe is told how each login went; nil is fine.
	Observe func(Outcome)
	// Failures is shared by all services of a process, so that one that takes the
	// place of another goes on counting.
	Failures *Failures
}

// Store keeps identities and events.
type Store interface {
	// IdentityByIdentifier gives the identity with a canonical sign-in identifier, or
	// with the [identity.Handle] of one that is not entered, with addresses and
	// credentials, or [identity.ErrNotFound].
	IdentityByIdentifier(ctx context.Context, identifier string) (*identity.Identity, error)
	// ReplaceCredential puts config in the place of former, if that is still there,
	// without waiting for the disk.
	ReplaceCredential(ctx context.Context, id uuid.UUID, kind string, former, config json.RawMessage) error
	// UpdateIdentity stores what decide makes of an identity, with its event, in one
	// durable commit. Nobody changes the identity meanwhile, so decide must not wait
	// for anything. A nil change changes nothing, an error is that of the call.
	// [identity.ErrExists] says that an identifier is another's,
	// [identity.ErrNotFound] that the identity is gone.
	UpdateIdentity(ctx context.Context, id uuid.UUID, decide func(stored *identity.Identity) (*identity.Change, error)) error
	// SaveDue keeps calls of background hooks before their event is stored, without
	// waiting for the disk: the commit of the event waits for both.
	SaveDue(ctx context.Context, due []webhook.Due) error
	// AppendSoon stores an event without waiting for the disk.
	AppendSoon(ctx context.Context, e events.Event) error
	// RevokeSessions is [session.Ledger.RevokeSessions].
	RevokeSessions(ctx context.Context, w session.Which, event session.Revocation) (int, error)
}

// Hasher hashes and verifies passwords within the limits of a pool.
type Hasher interface {
	// Hash gives a PHC string, or [password.ErrBusy] at once when the queue is full.
	Hash(ctx context.Context, p password.Plain) (string, error)
	// Verify gives [password.ErrMismatch] for a wrong password.
	Verify(ctx context.Context, p password.Plain, phc string) error
	// Outdated tells whether a hash was made otherwise than new ones are.
	Outdated(phc string) bool
}

// Answerer asks answering workers by name.
type Answerer interface {
	// Ask asks a worker, which may give [*webhook.Refusal]. What it changes of
	// c.Identity has no effect.
	Ask(ctx context.Context, w webhook.Worker, c *webhook.Call) error
}

// Caller calls the endpoints of web_hook by name.
type Caller interface {
	// Refuse asks an endpoint, which may give [*webhook.Refusal]. What it changes of
	// c.Identity is not kept.
	Refuse(ctx context.Context, endpoint string, c *webhook.Call) error
	// Notify calls an endpoint and waits for it.
	Notify(ctx context.Context, endpoint string, c *webhook.Call) error
}

// Opener opens a verification flow whose code is on its way, see
// [verification.Service.Open].
type Opener interface {
	Open(ctx context.Context, i *identity.Identity, a identity.Address, in Submit) (*flow.Flow, error)
}

// Submit is a submitted flow. The edge has decoded it and checked its CSRF token.
type Submit struct {
	Flow             *flow.Flow
	Method           string // [identity.MethodPassword] or another
	Provider         string // who has proven who it is, for a method that has such
	Identifier       string // may be empty in a flow with a link: that says whose
	Password         password.Plain
	TransientPayload json.RawMessage
	Client           flow.Client
	Request          webhook.Request
	ReceivedAt       time.Time
	// Current is the session that the request came with, for a refresh; or nil.
	// In a browser it ends where somebody else signs in: their cookie takes the
	// place of its own. An app has both tokens, and both sessions last.
	Current *Current
	// CSRF is the digest of the CSRF secret that the answer leaves the browser
	// with; empty for api flows.
	CSRF []byte
}

// Current is a session and the token that it came with.
type Current struct {
	Session *session.Session
	Token   session.Token
}

// Result is a login that succeeded.
type Result struct {
	// Identity is without its credentials.
	Identity *identity.Identity
	Session  *session.Session
	// Token must reach nobody but the client; it is the one that the client has
	// where the session was refreshed.
	Token session.Token
	// Verification is the flow that the plan shows, or nil.
	Verification *flow.Flow
	// VerificationAddress is where its code goes.
	VerificationAddress string
}

// Login signs in whom in's identifier and password are of. It takes one hash
// until the password was right, whoever and whatever was entered.
//
// Once the session was asked for it may exist: from there on the end of ctx
// changes nothing. A login that fails behind that leaves a session whose token
// reached nobody.
//
// In a flow with a [flow.Link] the session has the linked account as a second
// method; who signs in and has not the link's Duplicate gets message 4010009.
func (s *Service) Login(ctx context.Context, in Submit) (_ *Result, err error) {
	t := timer{now: s.Now, last: in.ReceivedAt, outcome: Outcome{Method: in.Method, Result: OK}}
	defer func() { s.observe(t.outcome, err) }()

	if in.Flow.Link != nil && in.Identifier == "" {
		in.Identifier = in.Flow.Link.Duplicate
	}
	if err := entered(in); err != nil {
		return nil, err
	}
	p, err := s.prove(ctx, in, &t)
	if err != nil {
		s.tell(ctx, p.identity, in, err, &t)
		return nil, err
	}
	result, err := s.signIn(ctx, p.identity, in, pendingOf(in, identity.Account{}), &t)
	if err != nil {
		return nil, err
	}
	t.trouble(s.rehash(context.WithoutCancel(ctx), p, in))
	return result, nil
}

// LoginProven signs in whom an account is of, which in.Provider has proven. Nothing
// that was entered counts. It gives [identity.ErrNotFound] if the account is
// nobody's, [identity.ErrOtherIssuer] if it was somebody's when the provider stood
// for another issuer, and is in all else as [Service.Login].
func (s *Service) LoginProven(ctx context.Context, in Submit, a identity.Account) (_ *Result, err error) {
	t := timer{now: s.Now, last: in.ReceivedAt, outcome: Outcome{Method: in.Method, Result: OK}}
	defer func() { s.observe(t.outcome, err) }()

	i, err := s.findProven(ctx, in.Method, a)
	if err != nil {
		return nil, err
	}
	t.step(nil)
	return s.signIn(ctx, i, in, pendingOf(in, a), &t)
}

// signIn is what comes behind the proof, whichever it was. p is linked before
// there is a session, if it is not nil.
func (s *Service) signIn(ctx context.Context, i *identity.Identity, in Submit, p *pending, t *timer) (*Result, error) {
	if p != nil {
		if err := p.check(i); err != nil {
			return nil, err
		}
	}
	plan := s.Plan(in.Method)
	if err := s.admit(ctx, plan, i, in); err != nil {
		s.tell(ctx, i, in, err, t)
		return nil, err
	}
	eventID, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("event id: %w", err)
	}
	if err := s.prepare(ctx, plan, i, in, eventID); err != nil {
		return nil, err
	}

	// The link and the session may be there from here on: what follows does not end
	// with the request.
	ctx = context.WithoutCancel(ctx)
	r := s.request(i, in, eventID)
	r.Verified = plan.RequireVerified
	if p != nil {
		if err := s.link(ctx, i, in, p); err != nil {
			return nil, err
		}
		r.Sequence = 0 // there is one more, and whatever came between
		if p.second {
			r.Linked = p.Provider
		}
	}
	result, err := s.issue(ctx, i, in, r, t)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoSession, err)
	}
	if err := s.revokeReplaced(ctx, result.Session, in); err != nil {
		return nil, err
	}
	if plan.RevokeOthers {
		if err := s.revokeOthers(ctx, result.Session, in); err != nil {
			return nil, err
		}
	}
	t.trouble(s.openVerification(ctx, plan, result, in))
	return result, nil
}
