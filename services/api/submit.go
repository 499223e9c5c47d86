package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/registration"
)

// submitRegistration is the way of a submit, in the contract's order:
//
//	flow → signed in? → over? → body → method → header rule or CSRF → use case
func (s *Server) submitRegistration(x *exchange) error {
	x.page = !jsonRequest(x.r.Header)
	f, granted, err := s.submittedFlow(x)
	if err != nil {
		return err
	}
	if f.Type == flow.API {
		x.page = false
	}
	if err := s.signedIn(x); err != nil {
		if errors.Is(err, errSignedIn) && x.page {
			x.redirect(http.StatusFound, x.settings.DefaultReturnURL)
			return nil
		}
		return err
	}
	if !granted && f.Expired(x.at) {
		return s.replace(x, f)
	}
	in, err := decodeSubmit(x.r)
	if err != nil {
		return s.mend(x, f, err, nil)
	}
	if !slices.Contains(x.settings.Registration.Methods, in.method) {
		return s.mend(x, f, noMethod(), in.transient)
	}
	if err := s.checkSubmit(x, f, in.csrf); err != nil {
		return s.mend(x, f, err, in.transient)
	}
	waited, done, err := s.submits.take(x.r.Context(), f.ID)
	if err != nil {
		return err
	}
	defer done()
	if waited { // the one before may have completed the flow
		if f, granted, err = s.submittedFlow(x); err != nil {
			return err
		}
	}
	result, err := s.register(x, f, granted, in)
	if errors.Is(err, registration.ErrFlowUsed) {
		return s.replace(x, f)
	}
	if err != nil {
		f.Active = in.method
		return s.mend(x, f, err, in.transient)
	}
	return s.succeed(x, result, in.method)
}

// linkRegistration answers a GET: no method that is built can be used by a
// link. Nothing is stored.
func (s *Server) linkRegistration(x *exchange) error {
	x.page = !jsonRequest(x.r.Header)
	f, _, err := s.submittedFlow(x)
	if err != nil {
		return err
	}
	if f.Type == flow.API {
		x.page = false
	} else if !x.began(f) {
		return errCSRF
	}
	f.Form = noMethod().Form
	return s.show(x, http.StatusBadRequest, f, nil)
}

// submittedFlow gives the flow that the query names. A completed flow whose
// row is gone is made up from what the request shows; its grant knows the rest.
func (s *Server) submittedFlow(x *exchange) (f *flow.Flow, granted bool, err error) {
	id, err := parseID(x.query("flow"))
	if err != nil {
		return nil, false, errFlowID
	}
	f, granted, err = s.Flows.FlowAndGrant(x.r.Context(), id)
	if err != nil {
		return nil, false, fmt.Errorf("submitted flow: %w", err)
	}
	if f == nil {
		f = &flow.Flow{ID: id, Kind: flow.Registration, Type: flow.Browser, State: flow.ChooseMethod, SchemaID: x.settings.DefaultSchema}
		if checkNativeSubmit(x.r) == nil {
			f.Type = flow.API
		}
	}
	if f.Kind != flow.Registration {
		return nil, false, flow.ErrNotFound
	}
	return f, granted, nil
}

// checkSubmit keeps the two kinds of client apart, and other people's pages out.
func (s *Server) checkSubmit(x *exchange, f *flow.Flow, token string) error {
	if f.Type == flow.API {
		return checkNativeSubmit(x.r)
	}
	if _, ok := bearer(x.r.Header); ok || x.r.Header.Get(headerSessionToken) != "" {
		return refuse("a flow of a browser cannot be submitted with a session token in a header")
	}
	return s.checkBrowserSubmit(x, f, token)
}

// register asks the use case.
func (s *Server) register(x *exchange, f *flow.Flow, granted bool, in submission) (*registration.Result, error) {
	traits := in.traits
	if in.form != nil {
		schema, ok := s.Schemas.Schema(f.SchemaID)
		if !ok {
			return nil, fmt.Errorf("submit: schema %q is not configured any more", f.SchemaID)
		}
		var err error
		if traits, err = schema.Coerce(in.form); err != nil {
			return nil, refuse("%v", err)
		}
	}
	submit := registration.Submit{
		Flow:             f,
		Method:           in.method,
		Traits:           traits,
		Password:         in.password,
		TransientPayload: in.transient,
		Client:           x.client(),
		Request:          x.shown(),
		ReceivedAt:       x.at,
	}
	if !granted {
		return s.Registration.Register(x.r.Context(), submit)
	}
	result, err := s.Registration.Repeat(x.r.Context(), submit)
	if err == nil && result.FlowType != f.Type {
		return nil, registration.ErrFlowUsed // the gate of the other kind of client was passed
	}
	return result, err
}

// mend shows the flow again with what is wrong, if a person can mend it.
// Other errors go on their way.
func (s *Server) mend(x *exchange, f *flow.Flow, err error, transient json.RawMessage) error {
	var invalid *flow.Invalid
	var bad *undecodable
	switch {
	case errors.As(err, &invalid):
		f.Form = invalid.Form
	case errors.As(err, &bad):
		f.Form = flow.Form{Messages: map[string][]flow.Message{"": {flow.Generic(bad.reason)}}}
	default:
		return err
	}
	if f.Type == flow.Browser && !x.began(f) {
		return errCSRF // what is wrong is said only to whoever began the flow
	}
	if err := s.Flows.SaveForm(x.r.Context(), f.ID, f.Active, f.Form); err != nil {
		return fmt.Errorf("save form: %w", err)
	}
	return s.show(x, http.StatusBadRequest, f, transient)
}

func noMethod() *flow.Invalid {
	return &flow.Invalid{Form: flow.Form{Messages: map[string][]flow.Message{"": {flow.NoStrategy(flow.Registration)}}}}
}
