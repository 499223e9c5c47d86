package api

import (
	"net/http"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/settings"
)

// methodProfile enters traits. A registration has it where it takes two steps.
const methodProfile = settings.MethodProfile

// step goes from one step of a registration to the other: with traits that are in
// order to the second, back to the first with traits however they are. Nothing is
// stored of it but the flow.
func (s *Server) step(x *exchange, f *flow.Flow, granted bool, in submission) error {
	if granted {
		return s.lead(x, f)
	}
	traits, err := x.traits(f, in)
	to := flow.ChooseMethod
	if in.texts["screen"] != "previous" {
		to = flow.ChooseCredential
		if err == nil {
			err = x.Registration.Judge(registration.Submit{Flow: f, Traits: traits})
		}
	}
	f.Active = in.method
	if err != nil {
		return s.mend(x, f, err, in.transient)
	}
	values := flow.Entered(traits)
	if to == flow.ChooseMethod && len(values) == 0 { // back, and nothing else
		s.catchUp(x, f)
		values = f.Form.Values
	}
	err = s.tell(x, f, func(f *flow.Flow) {
		f.Active = in.method
		f.Step(to, values)
	})
	if err != nil {
		return err
	}
	if x.page {
		x.redirect(http.StatusSeeOther, x.settings.page(f))
		return nil
	}
	return s.show(x, http.StatusBadRequest, f, in.transient)
}

// catchUp gives f the form and the step that are stored: where this process has begun
// it, FlowAndGrant may give it as it was then, and another has saved it since.
func (s *Server) catchUp(x *exchange, f *flow.Flow) {
	if now, err := s.Flows.Flow(x.r.Context(), f.ID); err == nil {
		f.State, f.Form = now.State, now.Form
	}
}
