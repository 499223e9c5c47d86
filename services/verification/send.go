package verification

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
)

const (
	// source is what the events of verifications name as theirs.
	source = "/usher/verification"
	// via is how codes go out.
	via = "email"
	// maxShown is how many bytes of an address are shown again; none that is
	// longer can be one.
	maxShown = 254
)

// Send asks for a mail with a code or link to the address that was entered, for a
// verification or a recovery, and leaves in.Flow in its new state, [flow.SentEmail];
// where it fails, as it was. Codes that went out before die with the new one. The answer
// and the work are the same whoever the address belongs to.
//
// A flow that has passed gives [ErrDone], one that takes no further code
// [ErrTooManyTries]: a new code gives no new tries.
func (s *Service) Send(ctx context.Context, in Submit) error {
	if in.Flow.State == flow.PassedChallenge {
		return ErrDone
	}
	if in.Email == "" {
		return invalid(in, "email", flow.Missing("email"))
	}
	address, err := identity.Canonical(in.Email)
	if err != nil {
		return invalid(in, "email", flow.FromViolation(identity.Violation{
			Node: "email", Rule: "email", Context: map[string]any{"value": bounded(in.Email)},
		}))
	}
	f := *in.Flow
	err = flow.Change(ctx, s.Store, &f, func(f *flow.Flow) error {
		switch {
		case f.State == flow.PassedChallenge:
			return ErrDone
		case f.Tries >= s.MaxTries: // no code would pass
			return ErrTooManyTries
		}
		f.State, f.Active = flow.SentEmail, in.Method
		f.Form = flow.Form{Values: map[string]any{"email": address}}
		return nil
	})
	if err != nil {
		return err
	}
	// The flow knows the address by now: the courier reads it from there.
	event := requested(&f, uuid.Nil, uuid.Nil, in.Client, s.Now())
	if err := s.Store.Append(ctx, event); err != nil {
		return fmt.Errorf("ask for code: %w", err)
	}
	*in.Flow = f
	return nil
}

// Open stores the flow of o and asks for its code.
func (s *Service) Open(ctx context.Context, o Opening) (*flow.Flow, error) {
	now := s.Now()
	f := o.Flow(now, s.Lifespan, s.Method)
	if err := s.Store.CreateFlow(ctx, f); err != nil {
		return nil, fmt.Errorf("create flow: %w", err)
	}
	if err := s.Store.Append(ctx, o.Event(f, now)); err != nil {
		return nil, fmt.Errorf("ask for code: %w", err)
	}
	return f, nil
}

// Flow makes the flow of o, see [flow.NewVerification].
func (o Opening) Flow(now time.Time, lifespan time.Duration, method string) *flow.Flow {
	from := flow.Flow{Type: o.Type, RequestURL: o.RequestURL, ReturnTo: o.ReturnTo, Languages: o.Languages, CSRF: o.CSRF}
	return flow.NewVerification(from, o.Address.Value, method, now, lifespan)
}

// Event makes verification.requested of the flow of o.
func (o Opening) Event(f *flow.Flow, now time.Time) events.Event {
	return requested(f, o.Identity.ID, o.Address.ID, o.Client, now)
}

// requested makes verification.requested, or recovery.requested for such a flow; the
// ids are zero where nobody has looked whose the address is.
func requested(f *flow.Flow, identityID, addressID uuid.UUID, c flow.Client, now time.Time) events.Event {
	data := events.VerificationRequested{FlowID: f.ID.String(), Via: via}
	if identityID != uuid.Nil {
		data.IdentityID, data.AddressID = identityID.String(), addressID.String()
	}
	if f.Kind == flow.Recovery {
		a := about(c, identityID)
		a.Source = "/usher/recovery"
		return events.New(events.RecoveryRequested(data), now, a)
	}
	return events.New(data, now, about(c, identityID))
}

// about is what all events of a request carry.
func about(c flow.Client, identityID uuid.UUID) events.About {
	a := events.About{Source: source, Actor: "client", RequestID: c.RequestID, TraceParent: c.TraceParent}
	if identityID != uuid.Nil {
		a.Subject, a.Actor = identityID.String(), "person:"+identityID.String()
	}
	return a
}

func invalid(in Submit, node string, m flow.Message) error {
	form := flow.Form{Messages: map[string][]flow.Message{node: {m}}}
	switch {
	case in.Email != "":
		form.Values = map[string]any{"email": bounded(in.Email)}
	default:
		form.Values = in.Flow.Form.Values // what was entered before
	}
	return &flow.Invalid{Form: form}
}

func bounded(entered string) string {
	return strings.ToValidUTF8(entered[:min(len(entered), maxShown)], "")
}
