package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/verification"
)

// initVerification begins a flow for anybody, signed in or not.
func (s *Server) initVerification(x *exchange, t flow.Type) error {
	f, err := x.asked(flow.Verification, t)
	if err != nil {
		return err
	}
	return s.begin(x, f)
}

// submitVerification takes an address that a code is to go to, or a code:
//
//	flow → over? → body → method → code:    use case
//	                             → address: header rule or CSRF → use case
//
// Whoever has the code needs nothing else: it may be entered where the mail is read.
func (s *Server) submitVerification(x *exchange) error {
	f, err := s.verificationFlow(x)
	if err != nil {
		return err
	}
	if f.Expired(x.at) {
		return s.lead(x, f)
	}
	in, err := decodeSubmit(x.r, "email", "code")
	if err != nil {
		return s.mend(x, f, err, nil)
	}
	code := in.texts["code"]
	if in.method == "" && code != "" {
		in.method = flow.MethodCode
	}
	submit := verification.Submit{
		Flow:             f,
		Method:           in.method,
		Email:            in.texts["email"],
		TransientPayload: in.transient,
		Client:           x.client(),
		Request:          x.shown(),
	}
	switch {
	case !slices.Contains(x.settings.Verification.Methods, in.method):
		return s.mend(x, f, noMethod(f.Kind), in.transient)
	case code != "" && in.method == flow.MethodCode:
		if err := s.allow(x, codeTries); err != nil {
			return err
		}
		submit.Email, submit.Code = "", code
		return s.checkCode(x, submit)
	}
	if err := s.checkSubmit(x, f, in.csrf); err != nil {
		return s.mend(x, f, err, in.transient)
	}
	if err := s.allow(x, mailStarts); err != nil {
		return err
	}
	return s.sendCode(x, submit)
}

// verificationFlow gives the submitted flow. The link in a mail leads browsers to
// flows of apps too: a page is whoever sends cookies and wants no JSON.
func (s *Server) verificationFlow(x *exchange) (*flow.Flow, error) {
	x.page = !jsonRequest(x.r.Header)
	if !x.settings.Verification.Enabled {
		return nil, errDisabled
	}
	f, _, err := s.submitted(x, flow.Verification)
	if err == nil && f.Type == flow.API {
		x.page = x.page && len(x.r.Header["Cookie"]) > 0
	}
	return f, err
}

func (s *Server) sendCode(x *exchange, in verification.Submit) error {
	err := x.Verification.Send(x.r.Context(), in)
	switch {
	case errors.Is(err, verification.ErrDone):
		return s.usedUp(x, in.Flow, flow.PassedAlready(in.Flow.Kind))
	case errors.Is(err, verification.ErrTooManyTries):
		return s.usedUp(x, in.Flow, tooManyCodes())
	case err != nil:
		in.Flow.Active = in.Method
		return s.mend(x, in.Flow, err, in.TransientPayload)
	}
	return s.show(x, http.StatusOK, in.Flow, in.TransientPayload)
}

func (s *Server) checkCode(x *exchange, in verification.Submit) error {
	f := in.Flow
	err := x.Verification.Check(x.r.Context(), in)
	switch {
	case errors.Is(err, verification.ErrDone):
		return s.usedUp(x, f, flow.PassedAlready(flow.Verification))
	case errors.Is(err, verification.ErrTooManyTries):
		return s.usedUp(x, f, tooManyCodes())
	case errors.Is(err, verification.ErrWrongCode):
		return s.wrongCode(x, f, in.TransientPayload)
	case err != nil:
		return s.mend(x, f, err, in.TransientPayload)
	}
	if err := s.bind(x, f); err != nil {
		return err
	}
	return s.show(x, http.StatusOK, f, in.TransientPayload)
}

// wrongCode says in a flow of a verification or recovery that its code is wrong.
func (s *Server) wrongCode(x *exchange, f *flow.Flow, transient json.RawMessage) error {
	err := s.tell(x, f, func(f *flow.Flow) {
		f.Active = flow.MethodCode
		f.Form.Messages = said(flow.WrongCode(f.Kind)).Messages
		delete(f.Form.Values, "code")
	})
	if errors.Is(err, errPassed) {
		return s.usedUp(x, f, flow.PassedAlready(f.Kind))
	}
	if err != nil {
		return err
	}
	return s.show(x, http.StatusOK, x.veiled(f), transient)
}

func tooManyCodes() flow.Message {
	return flow.Generic("Too many codes were tried. Please ask for a new one.")
}

// bind gives a browser's flow to the browser that has entered the right code, if
// it is another's: else that one could not see that it is done.
func (s *Server) bind(x *exchange, f *flow.Flow) error {
	if f.Type != flow.Browser || x.began(f) {
		return nil
	}
	f.CSRF = x.ensureCSRF().digest()
	if err := s.Flows.SaveFlow(x.r.Context(), f); err != nil {
		return fmt.Errorf("bind flow: %w", err)
	}
	return nil
}

// usedUp answers a submit of a flow that takes nothing any more with a new one.
func (s *Server) usedUp(x *exchange, over *flow.Flow, why flow.Message) error {
	f, err := s.replace(x, over, why)
	switch {
	case err != nil:
		return err
	case x.page:
		x.redirect(http.StatusSeeOther, x.settings.page(f))
		return nil
	}
	return &problem{
		status:  http.StatusGone,
		id:      "self_service_flow_replaced",
		reason:  "The flow takes nothing any more. Go on with the one that use_flow_id names.",
		useFlow: f.ID,
	}
}

// linkVerification answers the link in a mail, of which there are two. That of a link's
// own mail does its work, see [Server.openLink]. That of a code verifies nothing, for
// programs open links too: it fills the code in and leads the browser to the flow, which
// is that browser's from now on. Only the right code does that, and a wrong one
// counts as a try: otherwise who knows a flow's id could take it over.
func (s *Server) linkVerification(x *exchange) error {
	code, token := flow.EnteredCode(x.query("code")), x.query("token")
	if token != "" && slices.Contains(x.settings.Verification.Methods, flow.MethodLink) {
		return s.openLink(x, token)
	}
	if !codeLike(code) {
		return s.link(flow.Verification, nil)(x)
	}
	f, err := s.verificationFlow(x)
	if err != nil {
		return s.linkOver(x, flow.Verification, err)
	}
	return s.fillIn(x, f, code)
}

// linkOver leads a browser that opens the link of a flow which is not kept any more to a
// new one that says so. Other errors go on their way.
func (s *Server) linkOver(x *exchange, k flow.Kind, err error) error {
	if !errors.Is(err, flow.ErrNotFound) || !x.page || x.r.Method == http.MethodHead || !opensPage(x.r.Header) {
		return err
	}
	return s.ofNoUse(x, &flow.Flow{Kind: k, Type: flow.Browser})
}

// ofNoUse leads a browser that opens a link which does nothing any more to a new flow that
// says so. Who is signed in recovers nothing, and is led to where they are.
func (s *Server) ofNoUse(x *exchange, f *flow.Flow) error {
	x.page = true
	if f.Kind == flow.Recovery {
		if err := s.signedIn(x); err != nil {
			return x.alreadySignedIn(err)
		}
	}
	return s.usedUp(x, f, flow.WrongLink(f.Kind))
}

// fillIn fills a code into its flow, if it is the right one, and leads the browser there.
// One that has not begun the flow, and could not see it, is told in a new one that the
// link is of no use.
func (s *Server) fillIn(x *exchange, f *flow.Flow, code string) error {
	if f.Expired(x.at) {
		x.page = true
		return s.lead(x, f)
	}
	var err error
	// Whoever began an app's flow can fetch it by its id: they may have entered
	// somebody else's address, and must not be shown the code of its mail.
	fills := f.Type == flow.Browser && f.State == flow.SentEmail && x.r.Method != http.MethodHead
	if fills {
		if fills, err = x.Verification.Holds(x.r.Context(), f.ID, f.Purpose(), code); err != nil {
			return fmt.Errorf("follow link: %w", err)
		}
	}
	if fills {
		digest := x.renewCSRF().digest()
		err := s.tell(x, f, func(f *flow.Flow) {
			f.CSRF = digest
			f.Form = flow.Form{Values: map[string]any{"code": code, "email": f.Form.Values["email"]}}
		})
		if err != nil && !errors.Is(err, errPassed) {
			return fmt.Errorf("follow link: %w", err)
		}
	}
	if f.Type == flow.Browser && !fills && !x.began(f) && !ownerless(f) && x.r.Method != http.MethodHead && opensPage(x.r.Header) {
		return s.ofNoUse(x, f)
	}
	x.redirect(http.StatusSeeOther, x.settings.page(f))
	return nil
}

// openLink verifies by the token of a link, and leads the browser to the flow, or to a
// new one that says that the link is of no use.
func (s *Server) openLink(x *exchange, token string) error {
	f, err := s.verificationFlow(x)
	if err != nil {
		return s.linkOver(x, flow.Verification, err)
	}
	x.page = true // whatever the flow's type
	switch {
	case x.r.Method == http.MethodHead:
		x.redirect(http.StatusSeeOther, x.settings.page(f))
		return nil
	case f.Expired(x.at):
		return s.lead(x, f)
	}
	if err := s.allow(x, codeTries); err != nil {
		return err
	}
	err = x.Verification.Check(x.r.Context(), verification.Submit{Flow: f, Method: flow.MethodLink, Code: token, Client: x.client(), Request: x.shownLink(f)})
	switch {
	case errors.Is(err, verification.ErrWrongCode), errors.Is(err, verification.ErrTooManyTries), errors.Is(err, verification.ErrDone):
		return s.usedUp(x, f, flow.WrongLink(f.Kind))
	case err != nil:
		return err
	}
	if err := s.bind(x, f); err != nil {
		return err
	}
	return s.show(x, http.StatusOK, f, nil)
}

// codeLike tells whether a text could be a code; other texts are not stored.
func codeLike(text string) bool {
	return text != "" && len(text) <= maxCode && !slices.ContainsFunc([]byte(text), func(c byte) bool { return c < '0' || c > '9' })
}

const maxCode = 16
