package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/recovery"
	"github.com/usher-auth/usher/services/verification"
)

// Recoverer signs in who cannot sign in any more, see [recovery.Service].
type Recoverer interface {
	// Recover takes a code or the token of a link.
	Recover(ctx context.Context, in recovery.Submit) (*recovery.Result, error)
}

// initRecovery begins a flow for somebody who is not signed in.
func (s *Server) initRecovery(x *exchange, t flow.Type) error {
	if err := s.signedIn(x); err != nil {
		return x.alreadySignedIn(err)
	}
	f, err := x.asked(flow.Recovery, t)
	if err != nil {
		return err
	}
	return s.begin(x, f)
}

// submitRecovery takes an address that a code or link is to go to, or a code:
//
//	flow → signed in? → over? → body → method → header rule or CSRF → use case
func (s *Server) submitRecovery(x *exchange) error {
	f, err := s.recoveryFlow(x)
	if err != nil {
		return err
	}
	if err := s.signedIn(x); err != nil {
		if errors.Is(err, errSignedIn) && x.page {
			x.redirect(http.StatusFound, x.settings.DefaultReturnURL)
			return nil
		}
		return err
	}
	if f.Expired(x.at) {
		return s.lead(x, f)
	}
	in, err := decodeSubmit(x.r, "email", "code")
	if err != nil {
		return s.mend(x, f, err, nil)
	}
	if in.method == "" && in.texts["code"] != "" {
		in.method = flow.MethodCode
	}
	if !slices.Contains(x.settings.methods(f), in.method) {
		return s.mend(x, f, noMethod(f.Kind), in.transient)
	}
	if err := s.checkRecovery(x, f, in.csrf); err != nil {
		return s.mend(x, f, err, in.transient)
	}
	if code := in.texts["code"]; code != "" && in.method == flow.MethodCode {
		if err := s.allow(x, codeTries); err != nil {
			return err
		}
		return s.recover(x, f, in.method, code, in.transient)
	}
	if ownerless(f) { // it has its code, and gives nobody else one
		return s.mend(x, f, &flow.Invalid{Form: flow.Form{Messages: map[string][]flow.Message{"code": {flow.Missing("code")}}}}, in.transient)
	}
	if err := s.allow(x, mailStarts); err != nil {
		return err
	}
	return s.sendCode(x, verification.Submit{
		Flow: f, Method: in.method, Email: in.texts["email"], TransientPayload: in.transient, Client: x.client(), Request: x.shown(),
	})
}

// checkRecovery holds a submit against the rules for its sender. A flow that is nobody's
// wants no token, but no page of others may submit it.
func (s *Server) checkRecovery(x *exchange, f *flow.Flow, token string) error {
	if !ownerless(f) {
		return s.checkSubmit(x, f, token)
	}
	if !x.fromOurPages() {
		return errCSRF
	}
	return nil
}

// ownerless tells whether no browser has begun the flow of a recovery for browsers: an
// administrator did, for whoever has its code. It can be looked at by all who know its
// id, and stays nobody's, for who looks first need not be who has the code.
func ownerless(f *flow.Flow) bool {
	return f.Kind == flow.Recovery && f.Type == flow.Browser && len(f.CSRF) == 0
}

// recoveryFlow gives the submitted flow.
func (s *Server) recoveryFlow(x *exchange) (*flow.Flow, error) {
	x.page = !jsonRequest(x.r.Header)
	if !x.settings.Recovery.Enabled {
		return nil, errDisabled
	}
	f, _, err := s.submitted(x, flow.Recovery)
	if err == nil && f.Type == flow.API {
		x.page = x.page && len(x.r.Header["Cookie"]) > 0
	}
	return f, err
}

// recover takes a code, or the token of a link, and answers with the session, or with
// what is wrong.
func (s *Server) recover(x *exchange, f *flow.Flow, method, code string, transient json.RawMessage) error {
	in := recovery.Submit{
		Flow: f, Method: method, Code: code, TransientPayload: transient, Client: x.client(), Request: x.shown(), Type: f.Type,
	}
	if method == flow.MethodLink {
		in.Type, in.Request = flow.Browser, x.shownLink(f) // a browser opens it
	}
	// An app that is led to a page gets no token there.
	in.Sessionless = in.Type == flow.API && !x.settings.ContinueWithTransitions
	next, digest := nextCSRF(in.Type)
	in.CSRF = digest
	r, err := x.Recovery.Recover(x.r.Context(), in)
	switch {
	case errors.Is(err, recovery.ErrDone):
		return s.usedUp(x, f, notAgain(f, method, flow.PassedAlready(f.Kind)))
	case errors.Is(err, recovery.ErrTooManyTries):
		return s.usedUp(x, f, notAgain(f, method, tooManyCodes()))
	case errors.Is(err, recovery.ErrWrongCode) && method == flow.MethodLink:
		return s.usedUp(x, f, flow.WrongLink(f.Kind))
	case errors.Is(err, recovery.ErrWrongCode):
		return s.wrongCode(x, f, transient)
	case err != nil:
		return s.mend(x, f, err, transient)
	}
	s.Sessions.Changed(r.Identity.ID) // all former sessions have ended
	if in.Type == flow.Browser {
		x.setCSRF(next)
		x.setSession(r.Session, r.Token)
	}
	return s.recovered(x, f, r, transient)
}

// notAgain is what is said of a flow that takes nothing any more: of a link, that it
// is of no use.
func notAgain(f *flow.Flow, method string, otherwise flow.Message) flow.Message {
	if method == flow.MethodLink {
		return flow.WrongLink(f.Kind)
	}
	return otherwise
}

// recovered leads on to the settings: a page is sent there, a script or an app is told
// to go, in the way that its SDK knows.
func (s *Server) recovered(x *exchange, f *flow.Flow, r *recovery.Result, transient json.RawMessage) error {
	to := x.settings.page(r.Settings)
	if x.page {
		x.redirect(http.StatusSeeOther, to)
		return nil
	}
	if !x.settings.ContinueWithTransitions {
		p := &problem{
			status:   http.StatusUnprocessableEntity,
			id:       "browser_location_change_required",
			reason:   "The account is recovered. Go on at redirect_browser_to.",
			redirect: to,
		}
		if f.Type == flow.API {
			p.reason = "The account is recovered. This answer cannot carry a session token: for that the server needs feature_flags.use_continue_with_transitions: true. Sign in at redirect_browser_to, or recover the account in a browser."
		}
		return p
	}
	settings := continuation{Action: "show_settings_ui", Flow: &nextFlow{ID: r.Settings.ID}}
	next := []continuation{settings}
	if f.Type == flow.API {
		next = []continuation{{Action: "set_ory_session_token", SessionToken: r.Token.Reveal()}, settings}
	} else {
		settings.Flow.URL = to
	}
	view, err := s.render(x, f, transient)
	if err != nil {
		return err
	}
	view.ContinueWith = next
	return x.encode(http.StatusOK, view)
}

// opensPage tells whether a browser asks for a page, as far as it says what for (Fetch
// Metadata, W3C): not for an image of somebody else's page, say.
func opensPage(h http.Header) bool {
	dest := h.Get("Sec-Fetch-Dest")
	return dest == "" || dest == "document"
}

// linkRecovery answers the link in a mail. That of a link's own mail signs in whoever
// opens it; that of a code fills it in, see [Server.linkVerification].
func (s *Server) linkRecovery(x *exchange) error {
	if token := x.query("token"); token != "" {
		f, err := s.recoveryFlow(x)
		if err != nil {
			return s.linkOver(x, flow.Recovery, err)
		}
		if !slices.Contains(x.settings.methods(f), flow.MethodLink) {
			return s.link(flow.Recovery, nil)(x)
		}
		x.page = true // whatever the flow's type
		err = s.signedIn(x)
		switch {
		case errors.Is(err, errSignedIn): // the session is not swapped for another one
			x.redirect(http.StatusFound, x.settings.DefaultReturnURL)
			return nil
		case err != nil:
			return err
		case x.r.Method == http.MethodHead, !opensPage(x.r.Header):
			x.redirect(http.StatusSeeOther, x.settings.page(f))
			return nil
		case f.Expired(x.at):
			return s.lead(x, f)
		}
		if err := s.allow(x, codeTries); err != nil {
			return err
		}
		return s.recover(x, f, flow.MethodLink, token, nil)
	}
	code := flow.EnteredCode(x.query("code"))
	if !codeLike(code) {
		return s.link(flow.Recovery, nil)(x)
	}
	f, err := s.recoveryFlow(x)
	if err != nil {
		return s.linkOver(x, flow.Recovery, err)
	}
	return s.fillIn(x, f, code)
}
