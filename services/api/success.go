package api

import (
	"net/http"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/registration"
)

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
