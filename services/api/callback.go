package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/oidc"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

// back is somebody who is back from a provider, with what belongs to them.
type back struct {
	flow     *flow.Flow // with the attempt
	granted  bool       // that it has made an identity already
	provider *oidc.Provider
	account  *oidc.Account    // nil until the provider has proven it
	current  *login.Current   // of a browser that is signed in
	next     csrfSecret       // of the cookie that a sign-in leaves the browser with
	csrf     []byte           // its digest
	owner    *session.Session // of who changes settings; nil for other kinds of flows
}

// callback is the way of somebody who comes back from a provider:
//
//	state → this browser? → this attempt, once → code exchange, claims, mapper
//	→ of settings: link → of an app: the rest waits for the app, with what is proven
//	→ subject known: login → unknown: registration → address taken: login that links
func (s *Server) callback(x *exchange) error {
	x.page = !jsonRequest(x.r.Header)
	p, err := x.provider(x.r.PathValue("provider"))
	if err != nil {
		return err
	}
	attempt, b, err := s.attempted(x, p)
	if err != nil {
		s.observeProvider(p, "", err)
		return err
	}
	if b.flow.Kind == flow.Settings {
		if b.owner, err = s.ownerOf(x, b.flow); err != nil {
			return x.signInFirst(b.flow, err)
		}
	}
	switch {
	case b.flow.Type == flow.API && len(b.flow.Exchange) == 0:
		return errNoCode
	case b.current != nil && b.owner == nil && !b.flow.Refresh:
		x.redirect(http.StatusSeeOther, x.settings.after(b.flow.Kind, b.flow.ReturnTo, identity.MethodOIDC))
		return nil
	case b.flow.Expired(x.at):
		return s.past(x, b)
	}
	if b.flow.Kind == flow.Login {
		if err := s.allowed(x, failedLogins); err != nil {
			return err
		}
	}
	b.account, err = p.Finish(x.r.Context(), attempt, oidc.Callback{
		Code:   x.query("code"),
		Issuer: x.query("iss"),
		Error:  x.query("error"),
	})
	s.observeProvider(p, "proven", err)
	switch {
	case err != nil:
		if b.flow.Kind == flow.Login && !errors.Is(err, oidc.ErrUnavailable) { // an outage is nobody's failure
			s.owe(x, failedLogins)
		}
		return s.goBack(x, b, s.mendable(x, p, err))
	case b.owner != nil:
		return s.linkBack(x, b)
	case b.flow.Type == flow.API:
		return s.handOver(x, b)
	}
	return s.enter(x, b)
}

// postedCallback turns the form of a provider that posts into a GET: only that
// comes with the browser's cookies.
func (s *Server) postedCallback(x *exchange) error {
	x.page = !prefersJSON(x.r.Header["Accept"])
	p, err := x.provider(x.r.PathValue("provider"))
	if err != nil {
		return err
	}
	in, err := decodeSubmit(x.r)
	if err != nil {
		return err
	}
	to := x.settings.callback(p.ID())
	for _, name := range []string{"state", "code", "iss", "error"} {
		if value := in.form.Get(name); value != "" {
			to = withQuery(to, name, value)
		}
	}
	x.redirect(http.StatusSeeOther, to)
	return nil
}

// attempted opens the attempt that this browser is back from, and takes it out of
// its flow, so that it comes back once.
func (s *Server) attempted(x *exchange, p *oidc.Provider) (a oidc.Attempt, b back, err error) {
	if a, err = p.Open(x.query("state")); err != nil {
		return a, b, err
	}
	if a.Client == oidc.Browser {
		if !x.continues(a) {
			return a, b, oidc.ErrState
		}
		x.setCookie(x.settings.continuity(), "", -1)
	}
	b, err = s.take(x, a)
	b.provider = p
	return a, b, err
}

// take takes an attempt out of its flow.
func (s *Server) take(x *exchange, a oidc.Attempt) (back, error) {
	id, err := parseID(a.Flow)
	if err != nil {
		return back{}, oidc.ErrState
	}
	f, granted, err := s.Flows.TakeAttempt(x.r.Context(), id, digest(a.ID))
	if errors.Is(err, flow.ErrNotFound) || err == nil && (f.Attempt.Provider != a.Provider || string(f.Kind) != a.FlowType) {
		return back{}, oidc.ErrState
	}
	if err != nil {
		return back{}, fmt.Errorf("take attempt: %w", err)
	}
	b := back{flow: f, granted: granted}
	b.next, b.csrf = nextCSRF(f.Type)
	if f.Type == flow.Browser {
		b.current, err = s.current(x)
	}
	return b, err
}

// enter signs in whoever the provider's account belongs to, and registers whom it
// belongs to nobody yet. Whoever has just been registered by this flow, and did not
// see the answer, is in the registration still: its session bypasses the gate.
func (s *Server) enter(x *exchange, b back) error {
	if b.granted {
		result, err := x.Registration.Repeat(x.r.Context(), x.joining(b, nil))
		if !errors.Is(err, registration.ErrFlowUsed) {
			return s.joined(x, b, result, err)
		}
	}
	result, err := x.Login.LoginProven(x.r.Context(), x.returning(b), b.account.Account)
	if !errors.Is(err, identity.ErrNotFound) {
		return s.entered(x, b, result, err)
	}
	switch {
	case b.flow.Link != nil:
		return s.goBack(x, b, &flow.Invalid{Form: said(flow.LinkMismatch())})
	case b.flow.Refresh:
		return s.goBack(x, b, &flow.Invalid{Form: said(flow.Generic("Nobody here signs in with this account at " + b.provider.Label() + "."))})
	}
	return s.join(x, b)
}

// returning is the login of somebody who is back.
func (x *exchange) returning(b back) login.Submit {
	return login.Submit{
		Flow:             b.flow,
		Method:           identity.MethodOIDC,
		Provider:         b.provider.ID(),
		TransientPayload: b.flow.Attempt.Transient,
		Client:           x.client(),
		Request:          x.shownBack(b),
		ReceivedAt:       x.at,
		Current:          b.current,
		CSRF:             b.csrf,
	}
}

// shownBack is what hook bodies may see of a callback: not the code and the state,
// which may stand in the address of the page before too.
func (x *exchange) shownBack(b back) webhook.Request {
	r := x.shown()
	r.URL = x.settings.callback(b.provider.ID())
	r.Header.Del("Referer")
	return r
}

// entered answers a login, or shows why there is none.
func (s *Server) entered(x *exchange, b back, result *login.Result, err error) error {
	var gate *login.Unverified
	if b.flow.Type == flow.Browser && (err == nil || errors.As(err, &gate)) {
		x.setCSRF(b.next)
	}
	switch {
	case errors.As(err, &gate):
		s.owe(x, mailStarts)
		return x.unverified(gate, b.flow.Type == flow.Browser)
	case err != nil:
		return s.goBack(x, b, s.mendable(x, b.provider, err))
	}
	if b.current != nil {
		s.Sessions.Changed(b.current.Session.ID) // as after any login
	}
	if b.flow.Type == flow.API {
		return s.exchanged(x, result.Session, result.Identity, result.Token)
	}
	return s.loggedIn(x, b.flow, result, identity.MethodOIDC)
}

// join registers whoever the provider has named.
func (s *Server) join(x *exchange, b back) error {
	if !x.settings.Registration.Enabled {
		return errDisabled
	}
	if b.flow.Kind == flow.Login { // a registration was counted when it began
		if err := s.allow(x, registrations); err != nil {
			return err
		}
	}
	traits, err := merged(b.account.Identity.Traits, b.flow.Attempt.Traits)
	if err != nil {
		return err
	}
	result, err := x.Registration.Register(x.r.Context(), x.joining(b, traits))
	if errors.Is(err, identity.ErrExists) {
		return s.taken(x, b, traits, err)
	}
	return s.joined(x, b, result, err)
}

// joining is the registration of somebody who is back.
func (x *exchange) joining(b back, traits json.RawMessage) registration.Submit {
	return registration.Submit{
		Flow:     b.flow, // of a login too: its id makes one person at most
		Method:   identity.MethodOIDC,
		Provider: b.provider.ID(),
		Traits:   traits,
		External: &registration.External{
			Account:           b.account.Account,
			VerifiedAddresses: vouched(b.account),
			MetadataPublic:    b.account.Identity.MetadataPublic,
			MetadataAdmin:     b.account.Identity.MetadataAdmin,
		},
		TransientPayload: b.flow.Attempt.Transient,
		Client:           x.client(),
		Request:          x.shownBack(b),
		ReceivedAt:       x.at,
		CSRF:             b.csrf,
	}
}

// joined answers a registration, or shows why there is none.
func (s *Server) joined(x *exchange, b back, result *registration.Result, err error) error {
	switch {
	case errors.Is(err, registration.ErrFlowUsed):
		return s.past(x, b)
	case err != nil:
		return s.unregistered(x, b, err)
	}
	s.warnOfMissing(x, result)
	return s.greetProven(x, b.flow.Type, result, b.next)
}

// greetProven answers a registration that began at a provider: an app comes for its
// session, and there is nothing else for it.
func (s *Server) greetProven(x *exchange, t flow.Type, r *registration.Result, next csrfSecret) error {
	switch {
	case t == flow.Browser:
		return s.greet(x, r, identity.MethodOIDC, next)
	case r.Session == nil:
		return errOnlyRegistered
	}
	return s.exchanged(x, r.Session, r.Identity, r.Token)
}

// vouched are the addresses that the provider's word verifies, canonical.
func vouched(a *oidc.Account) (values []string) {
	for _, address := range a.Identity.VerifiedAddresses {
		if canonical, err := identity.Canonical(address.Value); err == nil {
			values = append(values, canonical)
		}
	}
	return values
}

// unregistered shows what keeps somebody from being registered, if they can mend
// it: in the registration that they began, or in the one that a login has become.
func (s *Server) unregistered(x *exchange, b back, err error) error {
	var invalid *flow.Invalid
	if !errors.As(err, &invalid) {
		return err
	}
	if invalid.Form.Values != nil { // the form goes on with this provider
		invalid.Form.Values["provider"] = b.provider.ID()
	}
	if b.flow.Kind == flow.Login {
		return s.goOn(x, b, invalid)
	}
	return s.goBack(x, b, err)
}

// goOn begins the registration that a login has become, with what is missing.
func (s *Server) goOn(x *exchange, b back, why *flow.Invalid) error {
	f := x.newFlow(flow.Registration, b.flow.Type)
	f.RequestURL = x.settings.begins(f)
	f.ReturnTo, f.SchemaID, f.Exchange = b.flow.ReturnTo, b.flow.SchemaID, b.flow.Exchange
	f.Active, f.Form = identity.MethodOIDC, why.Form
	if err := s.Flows.CreateFlow(x.r.Context(), f); err != nil {
		return fmt.Errorf("begin registration: %w", err)
	}
	return s.show(x, refusedStatus(f), f, nil)
}

// refusedStatus is that of an answer with a flow which says what is missing or wrong.
func refusedStatus(f *flow.Flow) int {
	if f.Type == flow.API {
		return http.StatusUnprocessableEntity // of the app's code
	}
	return http.StatusBadRequest
}

// past answers for a flow that is over: a browser gets a new one, an app the old
// one, which says so.
func (s *Server) past(x *exchange, b back) error {
	if b.flow.Type == flow.API {
		return s.goBack(x, b, &flow.Invalid{Form: said(flow.Expired(b.flow.Kind, x.at))})
	}
	return s.lead(x, b.flow)
}

// goBack shows the flow again with what is wrong, if a person can mend it. Other
// errors go on their way.
func (s *Server) goBack(x *exchange, b back, err error) error {
	f := b.flow
	var invalid *flow.Invalid
	if !errors.As(err, &invalid) {
		return err
	}
	f.Active = identity.MethodOIDC
	err = s.tell(x, f, func(f *flow.Flow) {
		entered := f.Form.Values
		f.Active = identity.MethodOIDC
		if f.Form = invalid.Form; invalid.Form.Values == nil {
			f.Form.Values = entered
		}
	})
	if err != nil {
		return err
	}
	if f.Type == flow.API && b.account == nil { // its browser is here, the app is not
		return s.returnCode(x, f, nil)
	}
	return s.show(x, refusedStatus(f), f, nil)
}
