package api

import (
	"cmp"
	"errors"
	"net/http"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/login"
)

// initLogin begins a flow for somebody who is not signed in, or who is to
// confirm that it is them.
func (s *Server) initLogin(x *exchange, t flow.Type) error {
	who, err := s.whoIfAny(x)
	if err != nil {
		return err
	}
	refresh := who != nil && x.query("refresh") == "true"
	switch aal := x.query("aal"); {
	case aal == "aal2" && who == nil:
		return errNoFirstFactor
	case aal == "aal2":
		return &problem{status: http.StatusBadRequest, reason: "There is no second factor to sign in with."}
	case aal != "" && aal != "aal1":
		return &problem{status: http.StatusBadRequest, reason: "aal is not a level that this server knows."}
	case who != nil && !refresh:
		return x.alreadySignedIn(errSignedIn)
	}
	f, err := x.asked(flow.Login, t)
	if err != nil {
		return err
	}
	if err := s.chooseSchema(x, f); err != nil {
		return err
	}
	if refresh {
		f.Refresh = true
		f.Form.Values = x.identifier(who)
	}
	return s.begin(x, f)
}

// identifier is what a person signs in with, as a login's form has it.
func (x *exchange) identifier(who *Who) map[string]any {
	schema, ok := x.Schemas.Schema(who.Identity.SchemaID)
	if !ok {
		return nil
	}
	_, identifiers := schema.Extract(who.Identity.Traits)
	if len(identifiers) == 0 {
		return nil
	}
	return map[string]any{"identifier": identifiers[0]}
}

// submitLogin is the way of a submit, in the contract's order:
//
//	flow → signed in? → over? → body → method → header rule or CSRF → use case
func (s *Server) submitLogin(x *exchange) error {
	page := !jsonRequest(x.r.Header)
	x.page = page
	f, _, err := s.submitted(x, flow.Login)
	if err != nil {
		return err
	}
	if f.Type == flow.API {
		x.page = false
	}
	current, err := s.current(x)
	switch {
	case err != nil:
		return err
	case current != nil && !f.Refresh:
		return s.stillSignedIn(x, f)
	case f.Expired(x.at):
		return s.lead(x, f)
	}
	in, err := s.read(x, f, "identifier", "password_identifier")
	if err != nil {
		return s.mend(x, f, err, in.transient)
	}
	if err := s.allowed(x, failedLogins); err != nil {
		return err
	}
	if in.method == identity.MethodOIDC {
		return s.startAttempt(x, f, in)
	}
	next, digest := nextCSRF(f.Type)
	result, err := x.Login.Login(x.r.Context(), login.Submit{
		Flow:             f,
		Method:           in.method,
		Identifier:       cmp.Or(in.texts["identifier"], in.texts["password_identifier"]),
		Password:         in.password,
		TransientPayload: in.transient,
		Client:           x.client(),
		Request:          x.shown(),
		ReceivedAt:       x.at,
		Current:          current,
		CSRF:             digest,
	})
	var gate *login.Unverified
	if f.Type == flow.Browser && (err == nil || errors.As(err, &gate)) {
		x.setCSRF(next)
	}
	switch {
	case errors.As(err, &gate):
		s.owe(x, mailStarts)
		return x.unverified(gate, page)
	case err != nil:
		if x.mistaken(err) {
			s.owe(x, failedLogins)
		}
		f.Active = in.method
		return s.mend(x, f, err, in.transient)
	}
	if current != nil {
		s.Sessions.Changed(current.Session.ID) // it was made fresh or has ended, and is known as it was before
	}
	return s.loggedIn(x, f, result, in.method)
}

// mistaken tells whether a login failed by what was sent, not by a part of this
// system: an outage must not use up what people may try. Whoever does not wait
// for the answer has tried too.
func (x *exchange) mistaken(err error) bool {
	var invalid *flow.Invalid
	return errors.As(err, &invalid) || x.r.Context().Err() != nil
}

// current is the session that a request came with, nil if there is none.
func (s *Server) current(x *exchange) (*login.Current, error) {
	who, err := s.whoIfAny(x)
	if who == nil {
		return nil, err
	}
	token, err := x.credential()
	return &login.Current{Session: who.Session, Token: token}, err
}

// stillSignedIn answers the submit of somebody who needs no login. The flow says
// so, and stays as it is.
func (s *Server) stillSignedIn(x *exchange, f *flow.Flow) error {
	if x.page {
		x.redirect(http.StatusSeeOther, x.settings.DefaultReturnURL)
		return nil
	}
	shown := *x.veiled(f)
	shown.Form.Messages = said(flow.Generic(classify(errSignedIn).reason)).Messages
	return s.show(x, http.StatusBadRequest, &shown, nil)
}

// unverified answers a login that the gate has refused. Only here an app's
// request that is not recognised as JSON is taken for a page's, and only here an
// app is told where the flow is drawn.
func (x *exchange) unverified(gate *login.Unverified, page bool) error {
	to := x.settings.page(gate.Flow)
	if page {
		x.redirect(http.StatusSeeOther, to)
		return nil
	}
	item := continuation{Action: "show_verification_ui", Flow: &nextFlow{ID: gate.Flow.ID, Address: gate.Address, URL: to}}
	return &problem{
		status:  http.StatusForbidden,
		code:    http.StatusBadRequest,
		id:      "session_verified_address_required",
		reason:  "The account can be used once one of its addresses is verified. A mail is on its way.",
		details: map[string]any{"continue_with": []continuation{item}},
	}
}
