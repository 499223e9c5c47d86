package api

import (
	"net/http"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/login"
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

// welcome is the answer to a login.
type welcome struct {
	SessionToken string         `json:"session_token,omitempty"`
	Session      sessionView    `json:"session"`
	ContinueWith []continuation `json:"continue_with"`
}

// continuation tells the client what to do next.
type continuation struct {
	Action       string    `json:"action"`
	RedirectTo   string    `json:"redirect_browser_to,omitempty"`
	Flow         *nextFlow `json:"flow,omitempty"`
	SessionToken string    `json:"ory_session_token,omitempty"`
}

// nextFlow is a flow that waits for the person.
type nextFlow struct {
	ID      uuid.UUID `json:"id"`
	Address string    `json:"verifiable_address,omitempty"`
	URL     string    `json:"url,omitempty"`
}

// showVerification leads to a verification flow; an app draws it itself.
func (c *Compiled) showVerification(f *flow.Flow, address string) continuation {
	next := &nextFlow{ID: f.ID, Address: address}
	if f.Type == flow.Browser {
		next.URL = c.page(f)
	}
	return continuation{Action: "show_verification_ui", Flow: next}
}

// registered answers in the shape of the flow: a redirect with a cookie, JSON
// with a cookie, or JSON with a token.
func (s *Server) registered(x *exchange, r *registration.Result, method string) error {
	browser := r.FlowType == flow.Browser
	verify := r.ShowVerification && r.Verification != nil
	to := x.settings.after(flow.Registration, r.ReturnTo, method)
	if browser && r.Session != nil {
		x.setSession(r.Session, r.Token)
	}
	if browser && x.page {
		if verify {
			to = x.settings.page(r.Verification)
		}
		x.redirect(http.StatusSeeOther, to)
		return nil
	}
	answer := success{Identity: x.settings.viewIdentity(r.Identity)}
	if browser {
		answer.ContinueWith = append(answer.ContinueWith, continuation{Action: "redirect_browser_to", RedirectTo: to})
	}
	if verify {
		answer.ContinueWith = append(answer.ContinueWith, x.settings.showVerification(r.Verification, r.VerificationAddress))
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

// loggedIn answers in the shape of the flow, as [Server.registered] does.
func (s *Server) loggedIn(x *exchange, f *flow.Flow, r *login.Result, method string) error {
	browser := f.Type == flow.Browser
	to := x.settings.after(flow.Login, f.ReturnTo, method)
	if browser {
		x.setSession(r.Session, r.Token)
	}
	if browser && x.page {
		if r.Verification != nil {
			to = x.settings.page(r.Verification)
		}
		x.redirect(http.StatusSeeOther, to)
		return nil
	}
	answer := welcome{Session: viewSession(r.Session, x.settings.viewIdentity(r.Identity), x.at)}
	if browser {
		answer.ContinueWith = append(answer.ContinueWith, continuation{Action: "redirect_browser_to", RedirectTo: to})
	} else {
		answer.SessionToken = r.Token.Reveal()
	}
	if r.Verification != nil {
		answer.ContinueWith = append(answer.ContinueWith, x.settings.showVerification(r.Verification, r.VerificationAddress))
	}
	return x.encode(http.StatusOK, answer)
}
