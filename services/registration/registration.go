// Package registration makes an identity out of a submitted flow and, where
// the plan says so, the session that its answer carries. [Service.Register] is
// the whole way, top to bottom:
//
//	checks → refusing hooks → hash → ONE commit → waiting hooks → session → result
//
// It is the same for a password and for what was proven elsewhere ([External]),
// which needs no hash.
package registration

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
	"github.com/usher-auth/usher/services/tracing"
	"github.com/usher-auth/usher/services/webhook"
)

// Errors that the edge tells apart. Input that a person can mend is a
// [*flow.Invalid]; a full hash queue is [password.ErrBusy]; what a hook
// broke is a [*webhook.Failed].
var (
	// ErrFlowUsed says that the flow has made an identity and that this submit
	// does not repeat that one: another password, other identifiers, or too late.
	ErrFlowUsed = errors.New("registration: flow is used")
	// ErrNoSession says that the person is registered but no session could be
	// issued, and that the operator wants that to fail (session.issue.on_failure: fail).
	ErrNoSession = errors.New("registration: registered, but no session could be issued")
)

// Service registers people. All fields but Observe are needed; it is safe for
// concurrent use.
type Service struct {
	Store     Store
	Schemas   Schemas
	Policy    Policy
	Passwords Hasher
	Hooks     Caller
	Workers   Answerer
	Sessions  session.Issuer
	// Plan gives the plan in force; a request uses the one it got first to its end.
	Plan func(method string) hook.Plan
	// Lifespan of a session, and how long its worker has to answer.
	Lifespan, IssueTimeout time.Duration
	// FailWithoutSession turns a missing session into ErrNoSession; otherwise
	// the result says why there is none.
	FailWithoutSession bool
	// VerificationLifespan is how long the verification flow lasts that a
	// registration opens; 0 opens none.
	VerificationLifespan time.Duration
	// VerificationMethod says whether its mail holds a code or a link.
	VerificationMethod string
	Now                func() time.Time
	// Observe is told how each registration went and how long its steps took.
	Observe func(context.Context, Outcome)
}

// Store keeps what a registration makes.
type Store interface {
	// Register stores all of r in one durable commit, or nothing: with
	// [ErrFlowUsed] when r.Grant.FlowID has a grant already, else with
	// [identity.ErrExists] when an identifier is taken.
	Register(ctx context.Context, r Record) error
	// Grant gives the grant that a flow made and its identity with
	// credentials, or [identity.ErrNotFound].
	Grant(ctx context.Context, flowID uuid.UUID) (Grant, *identity.Identity, error)
	// Append stores an event, to be published by the relay.
	Append(ctx context.Context, e events.Event) error
	// Flow gives a flow, or [flow.ErrNotFound].
	Flow(ctx context.Context, id uuid.UUID) (*flow.Flow, error)
	// SaveFlow keeps what has changed about a flow, without waiting for the disk.
	SaveFlow(ctx context.Context, f *flow.Flow) error
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
	// Refuse asks an endpoint before the commit. It changes c.Identity as the
	// endpoint says, or gives [*webhook.Refusal].
	Refuse(ctx context.Context, endpoint string, c *webhook.Call) error
	// Notify calls an endpoint and waits for it.
	Notify(ctx context.Context, endpoint string, c *webhook.Call) error
}

// Answerer asks answering workers by name.
type Answerer interface {
	// Ask asks a worker before the commit. It changes c.Identity as the worker
	// says, or gives [*webhook.Refusal].
	Ask(ctx context.Context, w webhook.Worker, c *webhook.Call) error
}

// Submit is a submitted flow. The edge has decoded it and checked its CSRF token.
type Submit struct {
	Flow   *flow.Flow
	Traits json.RawMessage
	// Method is [identity.MethodPassword], with Password, or another one, with
	// External and the Provider who has proven it.
	Method   string
	Provider string
	Password password.Plain
	External *External
	// TransientPayload is for hooks only; it is never stored with the identity.
	TransientPayload json.RawMessage
	Client           flow.Client
	// Request is what hook bodies may see of the HTTP request, headers by the allow-list.
	Request webhook.Request
	// CSRF is the digest of the CSRF secret that the answer leaves the browser
	// with; empty for api flows. The verification flow belongs to it.
	CSRF       []byte
	ReceivedAt time.Time
}

// Result is a registration that succeeded.
type Result struct {
	// Identity is without its credentials.
	Identity *identity.Identity
	// Session and Token are set when the plan has the session step and a worker
	// answered it. Token must reach nobody but the client.
	Session *session.Session
	Token   session.Token
	// Missing says why a planned session is not there, one of session's errors.
	Missing error
	// Verification is the verification flow that the registration has opened, or
	// nil; its code goes to VerificationAddress. ShowVerification says that the
	// answer is to lead there.
	Verification        *flow.Flow
	VerificationAddress string
	ShowVerification    bool
	// ReturnTo is the flow's, also when the flow itself is gone.
	ReturnTo string
	FlowType flow.Type
}

// MissingReason is the class of Missing, as session.refused has it; empty if
// nothing is missing.
func (r *Result) MissingReason() string {
	if r.Missing == nil {
		return ""
	}
	return reason(r.Missing)
}

// Register makes the identity and, where the plan has the step, its session.
// Once the commit is done the account exists, whatever comes after: neither
// the end of ctx nor a failing hook takes it back.
//
// A taken identifier or address is a [*flow.Invalid] and [identity.ErrExists] in
// one.
//
// A repeated submit of the same flow within [session.RepeatWindow], with the
// same password and identifiers or the same proof from elsewhere, gives the same
// identity and a new token; the former one dies.
func (s *Service) Register(ctx context.Context, in Submit) (_ *Result, err error) {
	t := timer{now: s.Now, last: in.ReceivedAt, outcome: Outcome{Method: in.Method, Result: OK}}
	defer func() { s.observe(ctx, t.outcome, err) }()

	plan := s.Plan(in.Method)
	c, err := s.credential(in)
	if err != nil {
		return nil, err
	}
	_, checking := tracing.Start(ctx, "registration.check")
	i, err := s.check(in, c)
	checking.End()
	if err != nil {
		return nil, err
	}
	if err := s.refuse(ctx, plan, i, in, c); err != nil {
		return nil, err
	}
	steps := Steps{ReceivedAt: in.ReceivedAt, CheckedAt: t.step(&t.outcome.Check)}

	config, hashed, err := c.complete(ctx)
	if err != nil {
		return nil, err
	}
	if hashed {
		steps.HashedAt = t.step(&t.outcome.Hash)
	}
	complete(i, config, t.last)

	record, err := s.newRecord(i, in, plan, steps)
	if err != nil {
		return nil, err
	}
	err = tracing.Do(ctx, "registration.commit", func(ctx context.Context) error { return s.Store.Register(ctx, record) })
	t.step(&t.outcome.Commit)
	switch {
	case errors.Is(err, identity.ErrExists):
		return nil, fmt.Errorf("%w: %w", identity.ErrExists, invalid(in, map[string][]flow.Message{"": {flow.IdentifierTaken()}}))
	case errors.Is(err, ErrFlowUsed):
		// Another submit of this flow was faster: this one repeats it, or is refused.
		return s.repeat(ctx, in, &t)
	case err != nil:
		return nil, fmt.Errorf("register: %w", err)
	}

	// The account exists from here on: what follows does not end with the request.
	lasting := context.WithoutCancel(ctx)
	var opened *flow.Flow
	if record.Verification != nil {
		opened = record.Verification.Flow
	}
	return s.answer(lasting, plan, made{i, record.Grant, opened}, in, &t)
}

// Repeat answers a submit of a flow that has made an identity already, see
// [Service.Register].
func (s *Service) Repeat(ctx context.Context, in Submit) (_ *Result, err error) {
	t := timer{now: s.Now, last: in.ReceivedAt, outcome: Outcome{Method: in.Method}}
	defer func() { s.observe(ctx, t.outcome, err) }()
	return s.repeat(ctx, in, &t)
}

func (s *Service) repeat(ctx context.Context, in Submit, t *timer) (*Result, error) {
	t.outcome.Result = Repeated
	grant, i, err := s.Store.Grant(ctx, in.Flow.ID)
	if errors.Is(err, identity.ErrNotFound) {
		return nil, ErrFlowUsed
	}
	if err != nil {
		return nil, fmt.Errorf("repeat: %w", err)
	}
	if s.Now().Sub(grant.CreatedAt) > session.RepeatWindow {
		return nil, ErrFlowUsed
	}
	if err := s.same(ctx, grant, i, in); err != nil {
		return nil, err
	}
	t.step(&t.outcome.Check)
	plan := s.Plan(grant.Method)
	if grant.SessionID != uuid.Nil {
		plan = plan.WithoutCalls() // they were made: the session came after them
	}
	ctx = context.WithoutCancel(ctx)
	opened, err := s.openedBefore(ctx, grant, in)
	if err != nil {
		return nil, fmt.Errorf("repeat: %w", err)
	}
	return s.answer(ctx, plan, made{i, grant, opened}, in, t)
}

// same gives nil if in repeats the registration of i, which has that grant.
func (s *Service) same(ctx context.Context, g Grant, i *identity.Identity, in Submit) error {
	c, err := s.credential(in)
	if err != nil {
		return err
	}
	if g.Method != c.method() || g.Provider != in.Provider {
		return ErrFlowUsed
	}
	return c.repeats(ctx, i)
}

// made is what the commit has stored.
type made struct {
	identity     *identity.Identity
	grant        Grant
	verification *flow.Flow // nil if none was opened
}

// answer runs what may add to the answer, in the plan's order; the session
// step is the last.
func (s *Service) answer(ctx context.Context, plan hook.Plan, m made, in Submit, t *timer) (*Result, error) {
	i, g := withoutCredentials(m.identity), m.grant
	if len(plan.Waiting) > 0 {
		err := tracing.Do(ctx, "registration.waiting_hooks", func(ctx context.Context) error { return s.notify(ctx, plan, i, g, in) })
		if err != nil {
			return nil, err
		}
		t.step(&t.outcome.Wait)
	}
	result := &Result{Identity: i, ReturnTo: g.ReturnTo, FlowType: g.FlowType}
	result.show(m, plan)
	if !plan.Session.On {
		return result, nil
	}

	var err error
	result.Session, result.Token, err = s.issue(ctx, i, g, in)
	t.step(&t.outcome.Hop)
	if err == nil {
		return result, nil
	}
	t.outcome.Result = NoSession
	if s.FailWithoutSession {
		return nil, fmt.Errorf("%w: %w", ErrNoSession, err)
	}
	result.Missing = err
	refused := events.New(events.SessionRefused{IdentityID: i.ID.String(), FlowID: g.FlowID.String(), Reason: reason(err)}, s.Now(), about(in.Client, i.ID))
	if err := s.Store.Append(ctx, refused); err != nil {
		result.Missing = errors.Join(result.Missing, err)
	}
	return result, nil
}

// notify calls the hooks that the answer waits for. The first that fails is
// what the client is told; the account stays.
func (s *Service) notify(ctx context.Context, plan hook.Plan, i *identity.Identity, g Grant, in Submit) error {
	for _, step := range plan.Waiting {
		if step.Kind != hook.KindWebHook {
			continue
		}
		call := in.submission().Call(i)
		call.EventID = g.EventID.String()
		if err := s.Hooks.Notify(ctx, step.Endpoint, call); err != nil {
			return err
		}
	}
	return nil
}

// issue makes the token here and asks a worker for the session, which sees
// the digest only.
func (s *Service) issue(ctx context.Context, i *identity.Identity, g Grant, in Submit) (*session.Session, session.Token, error) {
	prefix := session.NativePrefix
	if g.FlowType == flow.Browser {
		prefix = session.BrowserPrefix
	}
	return session.Obtain(ctx, s.Sessions, prefix, s.IssueTimeout, s.Now(), session.Request{
		GrantID:     g.ID,
		FlowID:      g.FlowID,
		IdentityID:  i.ID,
		Method:      g.Method,
		Provider:    g.Provider,
		AAL:         session.AAL1,
		Epoch:       i.Epoch,
		Bypass:      g.Bypass,
		Lifespan:    s.Lifespan,
		ClientAddr:  in.Client.Addr,
		UserAgent:   in.Client.UserAgent,
		TraceParent: in.Client.TraceParent,
		HTTPRequest: in.Client.RequestID,
	})
}
