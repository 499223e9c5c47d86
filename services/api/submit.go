package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/usher-auth/usher/services/flow"
)

// submitted gives the flow of a kind that the query names, nil if only the
// grant of a completed registration is left of it.
func (s *Server) submitted(x *exchange, k flow.Kind) (f *flow.Flow, granted bool, err error) {
	id, err := parseID(x.query("flow"))
	if err != nil {
		return nil, false, errFlowID
	}
	f, granted, err = s.Flows.FlowAndGrant(x.r.Context(), id)
	if err != nil {
		return nil, false, fmt.Errorf("submitted flow: %w", err)
	}
	if f != nil && f.Kind != k || f == nil && k != flow.Registration {
		return nil, false, flow.ErrNotFound
	}
	return f, granted, nil
}

// read decodes a submit, with the texts of these names, and holds it against the
// methods of its kind and the rules for its sender.
func (s *Server) read(x *exchange, f *flow.Flow, names ...string) (submission, error) {
	in, err := decodeSubmit(x.r, names...)
	if err != nil {
		return in, err
	}
	if !slices.Contains(x.settings.of(f.Kind).Methods, in.method) {
		return in, noMethod(f.Kind)
	}
	return in, s.checkSubmit(x, f, in.csrf)
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

// link answers a GET of a submit: no method that is built can be used by a link.
// Nothing is stored.
func (s *Server) link(k flow.Kind) action {
	return func(x *exchange) error {
		x.page = !jsonRequest(x.r.Header)
		f, _, err := s.submitted(x, k)
		switch {
		case err != nil:
			return err
		case f == nil:
			return flow.ErrNotFound
		case f.Type == flow.API:
			x.page = false
		case !x.began(f):
			return errCSRF
		}
		f.Form.Messages = noMethod(k).Form.Messages
		return s.show(x, http.StatusBadRequest, f, nil)
	}
}

// mend shows the flow again with what is wrong, if a person can mend it.
// Other errors go on their way.
func (s *Server) mend(x *exchange, f *flow.Flow, err error, transient json.RawMessage) error {
	var invalid *flow.Invalid
	var bad *undecodable
	entered := f.Form.Values
	switch {
	case errors.As(err, &invalid):
		f.Form = invalid.Form
	case errors.As(err, &bad):
		f.Form = said(flow.Generic(bad.reason))
	default:
		return err
	}
	if f.Type == flow.Browser && !x.began(f) {
		return errCSRF // what is wrong is said only to whoever began the flow
	}
	if f.Form.Values == nil {
		f.Form.Values = entered // nothing else was read
	}
	if err := s.Flows.SaveFlow(x.r.Context(), f); err != nil {
		return fmt.Errorf("save flow: %w", err)
	}
	return s.show(x, http.StatusBadRequest, f, transient)
}

// said is the form of a flow that has one thing to say.
func said(m flow.Message) flow.Form {
	return flow.Form{Messages: map[string][]flow.Message{"": {m}}}
}

func noMethod(k flow.Kind) *flow.Invalid { return &flow.Invalid{Form: said(flow.NoStrategy(k))} }

// veiled is f as somebody sees it who may not have begun it: without what was
// asked for and entered.
func (x *exchange) veiled(f *flow.Flow) *flow.Flow {
	if f.Type == flow.API || x.began(f) {
		return f
	}
	v := *f
	v.Form.Values, v.ReturnTo, v.RequestURL = nil, "", x.settings.begins(f)
	return &v
}
