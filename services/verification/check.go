package verification

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/webhook"
)

// maxCode is how many bytes of a code are looked at: more cannot be one.
const maxCode = 64

// Check holds the code that was entered against the flow's, and leaves in.Flow
// in its new state, [flow.PassedChallenge]. [ErrWrongCode], [ErrTooManyTries]
// and [ErrDone] say why not; each code counts before anybody looks at it.
//
// Once the commit is done the address is verified, whatever comes after: neither
// the end of ctx nor a failing hook takes it back, and the flow has passed.
func (s *Service) Check(ctx context.Context, in Submit) error {
	if in.Flow.State == flow.PassedChallenge {
		return ErrDone
	}
	in.Code = flow.EnteredCode(in.Code)
	if in.Code == "" {
		return invalid(in, "code", flow.Missing("code"))
	}
	tries, err := s.Store.CountTry(ctx, in.Flow.ID)
	switch {
	case err != nil:
		return fmt.Errorf("count try: %w", err)
	case tries > s.MaxTries:
		return ErrTooManyTries
	case len(in.Code) > maxCode:
		return ErrWrongCode
	}

	plan := s.Plan()
	p, err := s.proof(plan, in)
	if err != nil {
		return err
	}
	v, err := s.Store.Verify(ctx, p)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}

	// The address is verified from here on: what follows does not end with the request.
	ctx = context.WithoutCancel(ctx)
	pass(in.Flow, in.Method)
	if err := s.Store.SaveFlow(ctx, in.Flow); err != nil && s.Trouble != nil {
		s.Trouble(fmt.Errorf("save flow %s, which has passed: %w", in.Flow.ID, err))
	}
	if v.Again { // the hooks were told before
		return nil
	}
	return s.notify(ctx, plan, v, in, p.EventID)
}

// Holds tells whether a code of a purpose is the flow's and still good, without
// doing anything with it. It counts the try before it looks, as [Service.Check] does, and takes
// that back for the right one: a link is opened more than once, by programs too.
func (s *Service) Holds(ctx context.Context, flowID uuid.UUID, p flow.Purpose, code string) (bool, error) {
	tries, err := s.Store.CountTry(ctx, flowID)
	if err != nil {
		return false, fmt.Errorf("count try: %w", err)
	}
	if tries > s.MaxTries || len(code) > maxCode {
		return false, nil
	}
	switch err := s.Store.HoldsCode(ctx, Proof{FlowID: flowID, Purpose: p, Code: code, At: s.Now()}); {
	case errors.Is(err, ErrWrongCode):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at code: %w", err)
	}
	if err := s.Store.ForgiveTry(ctx, flowID); err != nil {
		return false, fmt.Errorf("forgive try: %w", err)
	}
	return true, nil
}

// purpose is what was sent by a method.
func purpose(method string) flow.Purpose {
	if method == flow.MethodLink {
		return flow.VerifyByLink
	}
	return flow.VerifyByCode
}

// pass puts f into its last state. The code that a link may have filled in is
// of no use any more.
func pass(f *flow.Flow, method string) {
	f.State, f.Active = flow.PassedChallenge, method
	f.Form = flow.Form{Values: maps.Clone(f.Form.Values)}
	delete(f.Form.Values, "code")
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
		Purpose: purpose(in.Method),
		Code:    in.Code,
		At:      now,
		EventID: eventID,
		Events: func(v Verified, first bool, next func() int64) []events.Event {
			return happened(v, first, next, in, eventID, now)
		},
	}
	for _, step := range plan.Background {
		p.Due = append(p.Due, webhook.Due{EventID: eventID, Endpoint: step.Endpoint, Input: in.submission().Input()})
	}
	return p, nil
}

// happened are the events of a verification, in their order.
func happened(v Verified, first bool, next func() int64, in Submit, eventID uuid.UUID, now time.Time) []events.Event {
	about := about(in.Client, v.IdentityID)
	verified := events.New(events.AddressVerified{
		IdentityID: v.IdentityID.String(),
		AddressID:  v.AddressID.String(),
		Via:        v.Via,
		FlowID:     in.Flow.ID.String(),
	}, now, about)
	verified.ID, verified.Sequence = eventID.String(), strconv.FormatInt(next(), 10)
	if !first {
		return []events.Event{verified}
	}
	activated := events.New(events.IdentityActivated{IdentityID: v.IdentityID.String()}, now, about)
	activated.Sequence = strconv.FormatInt(next(), 10)
	return []events.Event{verified, activated}
}

// notify calls the hooks that the answer waits for. The first that fails is
// what the client is told; the address stays verified.
func (s *Service) notify(ctx context.Context, plan hook.AfterPlan, v Verified, in Submit, eventID uuid.UUID) error {
	if len(plan.Waiting) == 0 {
		return nil
	}
	i, err := s.Store.Identity(ctx, v.IdentityID)
	if errors.Is(err, identity.ErrNotFound) {
		return nil // erased meanwhile: nobody is told any more
	}
	if err != nil {
		return fmt.Errorf("load identity: %w", err)
	}
	shown := *i
	shown.Credentials = nil
	for _, step := range plan.Waiting {
		call := in.submission().Call(&shown)
		call.EventID = eventID.String()
		if err := s.Hooks.Notify(ctx, step.Endpoint, call); err != nil {
			return err
		}
	}
	return nil
}

// submission is what hooks may see besides the identity.
func (in Submit) submission() webhook.Submission {
	return webhook.Submission{Flow: in.Flow, TransientPayload: in.TransientPayload, Request: in.Request, Client: in.Client}
}
