// Package recovery signs somebody in who cannot sign in any more, by a code or link
// that went to an address of theirs:
//
//	code entered, link opened ─▶ Recover ─▶ ONE commit: code used, address verified,
//	                                        all sessions ended, events
//	                                     ─▶ waiting hooks ─▶ session ─▶ flow has passed
//	                                     ─▶ a flow of settings, for a new way to sign in
//
// What is mailed, and to whom, is the same as for a verification, see
// [github.com/usher-auth/usher/services/verification].
package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

// Errors that the edge tells apart. Input that a person can mend is a [*flow.Invalid].
var (
	// ErrWrongCode says that the code or token is not the flow's, is over, or that its
	// person is deactivated, which is nobody's business.
	ErrWrongCode = errors.New("recovery: wrong code")
	// ErrTooManyTries says that too many codes were tried; the flow is of no use any more.
	ErrTooManyTries = errors.New("recovery: too many tries")
	// ErrDone says that the flow has passed already.
	ErrDone = errors.New("recovery: flow has passed")
	// ErrNoSession says that it was the right code but no session could be issued. The
	// same code is good for another try within [session.RepeatWindow].
	ErrNoSession = errors.New("recovery: no session could be issued")
)

// Service recovers accounts. All fields but Observe and Trouble are needed; it is safe
// for concurrent use.
type Service struct {
	Store    Store
	Sessions session.Issuer
	Hooks    Caller
	// Plan gives the hooks behind a recovery that are in force.
	Plan func() hook.AfterPlan
	// MaxTries is how many codes a flow takes.
	MaxTries int
	// Lifespan is that of sessions, IssueTimeout how long their worker has to answer.
	Lifespan, IssueTimeout time.Duration
	// SettingsLifespan is that of the flows of settings, Privileged how long a new
	// session may change how its person signs in.
	SettingsLifespan, Privileged time.Duration
	Now                          func() time.Time
	// Observe is told how each recovery went.
	Observe func(Outcome)
	// Trouble is told what broke and changed nothing of the answer, for a log.
	Trouble func(error)
}

// Store keeps flows, codes and identities.
type Store interface {
	// CreateFlow stores a flow, without waiting for the disk.
	CreateFlow(ctx context.Context, f *flow.Flow) error
	// SaveFlow keeps what has changed about a flow, without waiting for the disk.
	SaveFlow(ctx context.Context, f *flow.Flow) error
	// CountTry counts a code that is tried and gives the number so far, this one
	// included, or [flow.ErrNotFound]. It does not wait for the disk.
	CountTry(ctx context.Context, flowID uuid.UUID) (int, error)
	// Recover holds p's code against the flow's, and in one durable commit marks the
	// code as used and its address as verified, ends all sessions of the person and the
	// codes of their other flows, and stores the events and the inputs of their
	// background hooks. A code that this flow has used within [session.RepeatWindow] succeeds again, with nothing changed: the
	// former answer may be lost. Otherwise [ErrWrongCode].
	Recover(ctx context.Context, p Proof) (Recovered, error)
	// Identity gives an identity with its addresses, or [identity.ErrNotFound].
	Identity(ctx context.Context, id uuid.UUID) (*identity.Identity, error)
}

// Proof is a code or a link's token that has come back.
type Proof struct {
	FlowID  uuid.UUID
	Purpose flow.Purpose
	Code    string // a secret: never in a log, an error or an event
	At      time.Time
	// Events makes what happened: r is who was recovered, with all that the commit
	// found; sequences are taken from next.
	Events func(r Recovered, next func() int64) []events.Event
	// Due are the calls of background hooks; their event id is that of [Proof.EventID].
	Due     []webhook.Due
	EventID uuid.UUID // of recovery.completed
}

// Recovered says who was recovered.
type Recovered struct {
	IdentityID uuid.UUID
	// AddressID is the address that the code went to, zero for one that an
	// administrator has handed out; Verified says that it was verified by this.
	AddressID uuid.UUID
	Via       string
	Verified  bool
	// First says that no address of the identity was verified before.
	First bool
	// Epoch is the identity's from now on.
	Epoch int64
	// Ended are the sessions that this has ended.
	Ended []uuid.UUID
	// Again says that the same code and flow did it before.
	Again bool
}

// Caller calls the endpoints of web_hook by name.
type Caller interface {
	// Notify calls an endpoint and waits for it.
	Notify(ctx context.Context, endpoint string, c *webhook.Call) error
}

// Submit is a flow with a code, or with the token of a link.
type Submit struct {
	Flow *flow.Flow
	// Method is [flow.MethodCode] or [flow.MethodLink].
	Method           string
	Code             string
	TransientPayload json.RawMessage
	Client           flow.Client
	Request          webhook.Request
	// Type is what the session is for: that of the flow, but for a link of an app's
	// flow, which a browser opens.
	Type flow.Type
	// Sessionless says that no answer could bring the client its session: none is issued,
	// only the former ones end.
	Sessionless bool
	// CSRF is the digest of the CSRF secret that the answer leaves a browser with; the
	// flow of settings belongs to it.
	CSRF []byte
}

// Result is a recovery that succeeded.
type Result struct {
	// Identity is without its credentials.
	Identity *identity.Identity
	// Session is nil where the submit was to have none.
	Session *session.Session
	// Token must reach nobody but the client.
	Token session.Token
	// Settings is the flow in which the person chooses a new way to sign in.
	Settings *flow.Flow
}

// maxCode is how many bytes of a code are looked at: more cannot be one.
const maxCode = 64

// source is what the events of recoveries name as theirs.
const source = "/usher/recovery"

// Recover holds the code that was entered against the flow's, signs its person in and
// leaves in.Flow in its new state, [flow.PassedChallenge]. [ErrWrongCode],
// [ErrTooManyTries] and [ErrDone] say why not; each code counts before anybody looks
// at it.
//
// Once the commit is done all former sessions have ended, whatever comes after: neither
// the end of ctx nor a failing hook takes it back. Without a session in the end, unless
// none was wanted, the flow has not passed, and takes the same code again.
func (s *Service) Recover(ctx context.Context, in Submit) (_ *Result, err error) {
	result := OK
	defer func() { s.observe(Outcome{Method: in.Method, Result: result}, err) }()
	if in.Flow.State == flow.PassedChallenge {
		return nil, ErrDone
	}
	in.Code = flow.EnteredCode(in.Code)
	if in.Code == "" {
		return nil, &flow.Invalid{Form: flow.Form{Values: in.Flow.Form.Values, Messages: map[string][]flow.Message{"code": {flow.Missing("code")}}}}
	}
	tries, err := s.Store.CountTry(ctx, in.Flow.ID)
	switch {
	case err != nil:
		return nil, fmt.Errorf("count try: %w", err)
	case tries > s.MaxTries:
		return nil, ErrTooManyTries
	case len(in.Code) > maxCode:
		return nil, ErrWrongCode
	}

	plan := s.Plan()
	p, err := s.proof(plan, in)
	if err != nil {
		return nil, err
	}
	r, err := s.Store.Recover(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("recover: %w", err)
	}
	if r.Again {
		result = Repeated
	}

	// The person is recovered from here on: what follows does not end with the request.
	return s.signIn(context.WithoutCancel(ctx), plan, r, in, p.EventID)
}

// signIn calls the waiting hooks, issues the session, if any, and opens the settings.
func (s *Service) signIn(ctx context.Context, plan hook.AfterPlan, r Recovered, in Submit, eventID uuid.UUID) (*Result, error) {
	i, err := s.Store.Identity(ctx, r.IdentityID)
	if err != nil {
		return nil, fmt.Errorf("load identity: %w", err)
	}
	shown := *i
	shown.Credentials = nil
	if !r.Again { // the hooks were told before
		for _, step := range plan.Waiting {
			call := in.submission().Call(&shown)
			call.EventID = eventID.String()
			if err := s.Hooks.Notify(ctx, step.Endpoint, call); err != nil {
				return nil, err
			}
		}
	}
	result := &Result{Identity: &shown}
	signedIn := s.Now()
	if !in.Sessionless {
		if result.Session, result.Token, err = s.issue(ctx, r, in); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoSession, err)
		}
		signedIn = result.Session.AuthenticatedAt
	}
	result.Settings = s.settings(in, i, signedIn)
	if err := s.Store.CreateFlow(ctx, result.Settings); err != nil {
		return nil, fmt.Errorf("open settings: %w", err)
	}
	in.Flow.State, in.Flow.Active, in.Flow.Form = flow.PassedChallenge, in.Method, flow.Form{}
	if err := s.Store.SaveFlow(ctx, in.Flow); err != nil && s.Trouble != nil {
		s.Trouble(fmt.Errorf("save flow %s, which has passed: %w", in.Flow.ID, err))
	}
	return result, nil
}

// issue asks a worker for the session, which sees the token's digest only.
func (s *Service) issue(ctx context.Context, r Recovered, in Submit) (*session.Session, session.Token, error) {
	loginID, err := uuid.NewV7()
	if err != nil {
		return nil, session.Token{}, fmt.Errorf("event id: %w", err)
	}
	prefix := session.NativePrefix
	if in.Type == flow.Browser {
		prefix = session.BrowserPrefix
	}
	return session.Obtain(ctx, s.Sessions, prefix, s.IssueTimeout, s.Now(), session.Request{
		Login:       loginID,
		FlowID:      in.Flow.ID,
		IdentityID:  r.IdentityID,
		Method:      in.Method + "_recovery", // the contract's names
		AAL:         session.AAL1,
		Epoch:       r.Epoch,
		Lifespan:    s.Lifespan,
		ClientAddr:  in.Client.Addr,
		UserAgent:   in.Client.UserAgent,
		TraceParent: in.Client.TraceParent,
		HTTPRequest: in.Client.RequestID,
	})
}

// settings makes the flow in which the person chooses a new way to sign in.
func (s *Service) settings(in Submit, i *identity.Identity, signedIn time.Time) *flow.Flow {
	now := s.Now().UTC().Truncate(time.Microsecond) // as the store gives it back
	return &flow.Flow{
		ID:         uuid.New(),
		Kind:       flow.Settings,
		Type:       in.Type,
		State:      flow.ShowForm,
		RequestURL: in.Flow.RequestURL,
		ReturnTo:   in.Flow.ReturnTo,
		Languages:  in.Flow.Languages,
		CSRF:       in.CSRF,
		IdentityID: i.ID,
		Form:       flow.Form{Messages: map[string][]flow.Message{"": {flow.Recovered(signedIn.Add(s.Privileged))}}},
		IssuedAt:   now,
		ExpiresAt:  now.Add(s.SettingsLifespan),
	}
}

// proof is what the store is asked to hold against the flow's code.
func (s *Service) proof(plan hook.AfterPlan, in Submit) (Proof, error) {
	eventID, err := uuid.NewV7()
	if err != nil {
		return Proof{}, fmt.Errorf("event id: %w", err)
	}
	now := s.Now().UTC().Truncate(time.Microsecond) // as the store gives it back
	p := Proof{
		FlowID:  in.Flow.ID,
		Purpose: flow.RecoverByCode,
		Code:    in.Code,
		At:      now,
		EventID: eventID,
		Events: func(r Recovered, next func() int64) []events.Event {
			return happened(r, next, in, eventID, now)
		},
	}
	if in.Method == flow.MethodLink {
		p.Purpose = flow.RecoverByLink
	}
	for _, step := range plan.Background {
		p.Due = append(p.Due, webhook.Due{EventID: eventID, Endpoint: step.Endpoint, Input: in.submission().Input()})
	}
	return p, nil
}

// happened are the events of a recovery, in their order.
func happened(r Recovered, next func() int64, in Submit, eventID uuid.UUID, now time.Time) []events.Event {
	person := r.IdentityID.String()
	about := events.About{Source: source, Subject: person, Actor: "person:" + person, RequestID: in.Client.RequestID, TraceParent: in.Client.TraceParent}
	completed := events.New(events.RecoveryCompleted{
		IdentityID: person, FlowID: in.Flow.ID.String(), Method: in.Method, SessionsRevoked: len(r.Ended), Network: events.Network(in.Client.Addr),
	}, now, about)
	completed.ID = eventID.String()
	all := []events.Event{completed}
	if r.Verified {
		all = append(all, events.New(events.AddressVerified{
			IdentityID: person, AddressID: r.AddressID.String(), Via: r.Via, FlowID: in.Flow.ID.String(),
		}, now, about))
		if r.First {
			all = append(all, events.New(events.IdentityActivated{IdentityID: person}, now, about))
		}
	}
	for _, ended := range r.Ended {
		all = append(all, events.New(events.SessionRevoked{SessionID: ended.String(), IdentityID: person, Reason: "recovery"}, now, about))
	}
	for n := range all {
		all[n].Sequence = strconv.FormatInt(next(), 10)
	}
	return all
}

// submission is what hooks may see besides the identity.
func (in Submit) submission() webhook.Submission {
	return webhook.Submission{Flow: in.Flow, TransientPayload: in.TransientPayload, Request: in.Request, Client: in.Client}
}
