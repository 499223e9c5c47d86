package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
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
	in, err := s.decode(x, append(names, "provider"))
	if err != nil {
		return in, err
	}
	if in.method == "" && cmp.Or(in.texts["provider"], in.texts["link"], in.texts["unlink"]) != "" {
		in.method = identity.MethodOIDC
	}
	if in.method == "" && in.texts["screen"] != "" {
		in.method = methodProfile
	}
	if !slices.Contains(x.settings.of(f.Kind).Methods, in.method) {
		return in, noMethod(f.Kind)
	}
	return in, s.checkSubmit(x, f, in.csrf)
}

// decode reads a submit from its body, or from the query of a link.
func (s *Server) decode(x *exchange, names []string) (submission, error) {
	if x.r.Method == http.MethodGet {
		return fromForm(x.r.URL.Query(), names)
	}
	return decodeSubmit(x.r, names...)
}

// checkSubmit keeps the two kinds of client apart, and other people's pages out.
func (s *Server) checkSubmit(x *exchange, f *flow.Flow, token string) error {
	if f.Type == flow.API {
		return checkNativeSubmit(x.r)
	}
	if _, ok := bearer(x.r.Header); ok || x.r.Header.Get(headerSessionToken) != "" {
		return refuse("a flow of a browser cannot be submitted with a session token in a header")
	}
	if x.r.Method == http.MethodGet { // a link, which only whoever began the flow can know
		if !x.began(f) {
			return errCSRF
		}
		return nil
	}
	return s.checkBrowserSubmit(x, f, token)
}

// link answers a GET of a submit. Only a sign-in at a provider can begin by a link,
// where submit is given; for all else nothing is stored.
func (s *Server) link(k flow.Kind, submit action) action {
	return func(x *exchange) error {
		if submit != nil && x.r.Method == http.MethodGet && x.query("provider") != "" && cmp.Or(x.query("method"), identity.MethodOIDC) == identity.MethodOIDC {
			return submit(x)
		}
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
	var form flow.Form
	switch {
	case errors.As(err, &invalid):
		form = invalid.Form
	case errors.As(err, &bad):
		form = said(flow.Generic(bad.reason))
	default:
		return err
	}
	if f.Type == flow.Browser && !x.began(f) && !ownerless(f) {
		return errCSRF // what is wrong is said only to whoever began the flow
	}
	if f.Kind == flow.Registration {
		s.catchUp(x, f)
	}
	err = s.tell(x, f, func(f *flow.Flow) {
		entered := f.Form.Values
		if f.Form = form; form.Values == nil {
			f.Form.Values = entered // nothing else was read
		}
		f.Turn()
	})
	if errors.Is(err, errPassed) {
		return s.usedUp(x, f, flow.PassedAlready(f.Kind))
	}
	if err != nil {
		return err
	}
	return s.show(x, http.StatusBadRequest, f, transient)
}

// errPassed says that a flow has passed while its submit was looked at.
var errPassed = errors.New("flow has passed meanwhile")

// tell saves what f says about a submit that was not taken. Another request may
// have changed the flow meanwhile: that stays, and errPassed says that nothing
// is to be said any more.
func (s *Server) tell(x *exchange, f *flow.Flow, change func(f *flow.Flow)) error {
	before := f.State
	return flow.Change(x.r.Context(), s.Flows, f, func(f *flow.Flow) error {
		if f.State == flow.PassedChallenge && f.State != before {
			return errPassed
		}
		if f.State == flow.Success {
			f.State = flow.ShowForm
		}
		change(f)
		return nil
	})
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
