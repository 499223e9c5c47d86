package registration

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
)

// openVerification makes the flow that verifies the person's address. The
// commit that makes the person also asks for its code, so neither is there
// without the other.
func (s *Service) openVerification(i *identity.Identity, a identity.Address, in Submit) *Verification {
	from := flow.Flow{Type: in.Flow.Type, RequestURL: in.Flow.RequestURL, ReturnTo: in.Flow.AfterVerificationReturnTo, Languages: in.Flow.Languages, CSRF: in.CSRF}
	f := flow.NewVerification(from, a.Value, s.VerificationMethod, i.CreatedAt, s.VerificationLifespan)
	return &Verification{Flow: f, Event: events.New(events.VerificationRequested{
		FlowID:     f.ID.String(),
		Via:        a.Via,
		IdentityID: i.ID.String(),
		AddressID:  a.ID.String(),
	}, i.CreatedAt, about(in.Client, i.ID))}
}

// openedBefore gives the verification flow of a registration that is repeated,
// for the browser that repeats it: nil if there was none or it is gone.
func (s *Service) openedBefore(ctx context.Context, g Grant, in Submit) (*flow.Flow, error) {
	if g.VerificationFlowID == uuid.Nil {
		return nil, nil
	}
	f, err := s.Store.Flow(ctx, g.VerificationFlowID)
	if errors.Is(err, flow.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return f, flow.Change(ctx, s.Store, f, func(f *flow.Flow) error {
		f.CSRF = in.CSRF
		return nil
	})
}

// show says which verification flow was opened, and whether the answer leads there.
func (r *Result) show(m made, plan hook.Plan) {
	if m.verification == nil {
		return
	}
	r.Verification = m.verification
	r.VerificationAddress, _ = m.verification.Form.Values["email"].(string)
	r.ShowVerification = plan.ShowsVerification()
}
