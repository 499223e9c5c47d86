package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/registration"
)

// initRegistration begins a flow for somebody who is not signed in.
func (s *Server) initRegistration(x *exchange, t flow.Type) error {
	if err := s.signedIn(x); err != nil {
		return x.alreadySignedIn(err)
	}
	f, err := x.asked(flow.Registration, t)
	if err != nil {
		return err
	}
	if err := s.chooseSchema(x, f); err != nil {
		return err
	}
	if t == flow.Browser {
		if f.AfterVerificationReturnTo, err = x.returnTo("after_verification_return_to"); err != nil {
			return err
		}
	}
	return s.begin(x, f)
}

// alreadySignedIn sends a page on to where its flow would have ended.
func (x *exchange) alreadySignedIn(err error) error {
	if !errors.Is(err, errSignedIn) || !x.page {
		return err
	}
	to, err := x.returnTo("return_to")
	if err != nil {
		return err
	}
	if to == "" {
		to = x.settings.DefaultReturnURL
	}
	x.redirect(http.StatusSeeOther, to)
	return nil
}

// submitRegistration is the way of a submit, in the contract's order:
//
//	flow → signed in? → over? → body → method → header rule or CSRF → provider: attempt
//	                                                                → profile:  next step
//	                                                                → password: use case
func (s *Server) submitRegistration(x *exchange) error {
	x.page = !jsonRequest(x.r.Header)
	f, granted, err := s.registrationFlow(x)
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
		return s.lead(x, f)
	}
	in, err := s.read(x, f, "screen")
	counted := registrations
	if err == nil && in.method == methodProfile {
		counted = flowCreations // it costs what that does
	}
	if err := s.allow(x, counted); err != nil {
		return err
	}
	if err != nil {
		return s.mend(x, f, err, in.transient)
	}
	switch in.method {
	case identity.MethodOIDC:
		return s.startAttempt(x, f, in)
	case methodProfile:
		return s.step(x, f, granted, in)
	}
	waited, done, err := s.submits.take(x.r.Context(), f.ID)
	if err != nil {
		return err
	}
	defer done()
	if waited { // the one before may have completed the flow
		if f, granted, err = s.registrationFlow(x); err != nil {
			return err
		}
	}
	next, digest := nextCSRF(f.Type)
	result, err := s.register(x, f, granted, in, digest)
	if errors.Is(err, registration.ErrFlowUsed) {
		return s.lead(x, f)
	}
	if err != nil {
		f.Active = in.method
		return s.mend(x, f, err, in.transient)
	}
	s.warnOfMissing(x, result)
	return s.greet(x, result, in.method, next)
}

// greet answers a registration and leaves a browser its next secret.
func (s *Server) greet(x *exchange, r *registration.Result, method string, next csrfSecret) error {
	if r.FlowType == flow.Browser {
		if err := s.leaveCSRF(x, r, next); err != nil {
			return err
		}
	}
	return s.registered(x, r, method)
}

// leaveCSRF gives the browser its next secret. Without the session that was planned
// it keeps the one that it has, so that the same form can be sent again for it, and
// the verification that was opened for the next secret belongs to that one.
func (s *Server) leaveCSRF(x *exchange, r *registration.Result, next csrfSecret) error {
	now, ok := x.csrf()
	if r.Missing == nil || !ok {
		x.setCSRF(next)
		return nil
	}
	if r.Verification == nil {
		return nil
	}
	err := flow.Change(x.r.Context(), s.Flows, r.Verification, func(f *flow.Flow) error {
		f.CSRF = now.digest()
		return nil
	})
	if err != nil {
		return fmt.Errorf("give the verification to the browser: %w", err)
	}
	return nil
}

// warnOfMissing logs that an answer lacks the session that was planned: to the
// client it is a success, so nothing else says it.
func (s *Server) warnOfMissing(x *exchange, r *registration.Result) {
	if r.Missing == nil {
		return
	}
	s.Log.LogAttrs(x.r.Context(), slog.LevelWarn, "registered without a session",
		slog.String("reason", r.MissingReason()),
		slog.String("identity_id", r.Identity.ID.String()),
		slog.String("request_id", x.id),
		slog.String("trace_id", traceID(x.traceParent())),
		slog.Any("error", r.Missing),
	)
}

// registrationFlow gives the flow that the query names. A completed flow whose
// row is gone is made up from what the request shows; its grant knows the rest.
func (s *Server) registrationFlow(x *exchange) (f *flow.Flow, granted bool, err error) {
	f, granted, err = s.submitted(x, flow.Registration)
	if err == nil && f == nil {
		id := uuid.MustParse(x.query("flow")) // or there were no grant
		f = &flow.Flow{ID: id, Kind: flow.Registration, Type: flow.Browser, State: flow.ChooseMethod, SchemaID: x.settings.DefaultSchema}
		if checkNativeSubmit(x.r) == nil {
			f.Type = flow.API
		}
	}
	return f, granted, err
}

// traits are those of a submit, whatever it came as.
func (x *exchange) traits(f *flow.Flow, in submission) (json.RawMessage, error) {
	if in.form == nil {
		return in.traits, nil
	}
	return x.coerced(f.SchemaID, in)
}

// coerced are the traits of a submit that came as a form.
func (x *exchange) coerced(schemaID string, in submission) (json.RawMessage, error) {
	schema, ok := x.Schemas.Schema(schemaID)
	if !ok {
		return nil, fmt.Errorf("submit: schema %q is not configured any more", schemaID)
	}
	traits, err := schema.Coerce(in.form)
	if err != nil {
		return nil, refuse("%v", err)
	}
	return traits, nil
}

// register asks the use case.
func (s *Server) register(x *exchange, f *flow.Flow, granted bool, in submission, csrf []byte) (*registration.Result, error) {
	traits, err := x.traits(f, in)
	if err != nil {
		return nil, err
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
		CSRF:             csrf,
	}
	if !granted {
		return x.Registration.Register(x.r.Context(), submit)
	}
	result, err := x.Registration.Repeat(x.r.Context(), submit)
	if err == nil && result.FlowType != f.Type {
		return nil, registration.ErrFlowUsed // the gate of the other kind of client was passed
	}
	return result, err
}
