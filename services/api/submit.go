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
		if !granted {
			return nil, false, flow.ErrNotFound
		}
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
	return &flow.Invalid{Form: flow.Form{Messages: map[string][]flow.Message{"": {flow.NoStrategy()}}}}
}

// success is the answer to a submit that made a person. The order of the
// fields is the order of the answer.
type success struct {
	SessionToken string         `json:"session_token,omitempty"`
	Session      *sessionView   `json:"session,omitempty"`
	Identity     identityView   `json:"identity"`
	ContinueWith []continuation `json:"continue_with"`
}

// continuation tells the client what to do next.
type continuation struct {
	Action       string `json:"action"`
	RedirectTo   string `json:"redirect_browser_to,omitempty"`
	SessionToken string `json:"ory_session_token,omitempty"`
}

// succeed answers in the shape of the flow: a redirect with a cookie, JSON
// with a cookie, or JSON with a token.
func (s *Server) succeed(x *exchange, r *registration.Result, method string) error {
	browser := r.FlowType == flow.Browser
	to := x.settings.afterRegistration(r.ReturnTo, method)
	if browser && r.Session != nil {
		x.setSession(r.Session, r.Token)
		x.renewCSRF()
	}
	if browser && x.page {
		x.redirect(http.StatusSeeOther, to)
		return nil
	}
	answer := success{Identity: x.settings.viewIdentity(r.Identity)}
	if browser {
		answer.ContinueWith = append(answer.ContinueWith, continuation{Action: "redirect_browser_to", RedirectTo: to})
	}
	if r.Session != nil {
		view := viewSession(r.Session, answer.Identity, x.at)
		answer.Session = &view
	}
	if r.Session != nil && !browser {
		answer.SessionToken = r.Token.Reveal()
		answer.ContinueWith = append(answer.ContinueWith, continuation{Action: "set_ory_session_token", SessionToken: answer.SessionToken})
	}
	return x.encode(http.StatusOK, answer)
}

// afterRegistration is where a browser goes at the end: where the flow asked
// for, if that is still allowed, else where the most particular setting says.
func (c *Compiled) afterRegistration(returnTo, method string) string {
	if returnTo != "" {
		if to, err := c.returns.resolve(returnTo); err == nil {
			return to
		}
	}
	for _, to := range []string{c.Registration.MethodReturnURLs[method], c.Registration.ReturnURL} {
		if to != "" {
			return to
		}
	}
	return c.DefaultReturnURL
}
