package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/settings"
)

// Changer changes settings of a person, see [settings.Service].
type Changer interface {
	// Profile puts traits in the place of those that are stored, or gives
	// [settings.ErrNotFresh].
	Profile(ctx context.Context, in settings.Submit, traits json.RawMessage) (*settings.Result, error)
	// SetPassword puts a password in the place of the one that is stored, if any.
	SetPassword(ctx context.Context, in settings.Submit, p password.Plain) (*settings.Result, error)
	// Link adds an account that its provider has proven.
	Link(ctx context.Context, in settings.Submit, a identity.Account) error
	// Unlink removes the accounts at a provider, or gives [settings.ErrNotLinked].
	Unlink(ctx context.Context, in settings.Submit, w settings.Ways) error
}

// initSettings begins a flow for who is signed in.
func (s *Server) initSettings(x *exchange, t flow.Type) error {
	current, err := s.signedInNow(x)
	if err != nil {
		return x.signInFirst(nil, err)
	}
	f, err := x.asked(flow.Settings, t)
	if err != nil {
		return err
	}
	f.IdentityID = current.IdentityID
	return s.begin(x, f)
}

// leadToSettings leads managers of passwords to where one changes it ("A Well-Known
// URL for Changing Passwords", W3C).
func (s *Server) leadToSettings(x *exchange) error {
	x.redirect(http.StatusSeeOther, x.settings.SettingsFlow.URL)
	return nil
}

// submitSettings is the way of a submit, in the contract's order:
//
//	flow → signed in? → theirs? → over? → body → method → header rule or CSRF
//	→ profile: use case, which says what needs a fresh session
//	→ fresh? → link: to the provider
//	         → unlink, password: use case
func (s *Server) submitSettings(x *exchange) error {
	f, current, err := s.settingsFlow(x)
	if err != nil {
		return x.signInFirst(f, err)
	}
	if f.Expired(x.at) {
		return s.lead(x, f)
	}
	in, err := s.read(x, f, "link", "unlink")
	if err == nil {
		err = settable(f, in)
	}
	if err != nil {
		return s.mend(x, f, err, in.transient)
	}
	if in.method == settings.MethodProfile {
		return s.changeProfile(x, f, current, in)
	}
	if !x.fresh(current) {
		return x.refreshFirst(f)
	}
	if in.method == identity.MethodPassword {
		return s.changePassword(x, f, current, in)
	}
	if link := in.texts["link"]; link != "" {
		in.put("provider", link)
		return s.startAttempt(x, f, in)
	}
	return s.unlink(x, f, current, in)
}

// fresh tells whether a session is young enough to change how one signs in.
func (x *exchange) fresh(current *session.Session) bool {
	return x.at.Sub(current.AuthenticatedAt) <= x.settings.PrivilegedSessionMaxAge
}

// changeProfile asks the use case. Who has entered what needs a fresh session finds it
// in the form when they are back.
func (s *Server) changeProfile(x *exchange, f *flow.Flow, current *session.Session, in submission) error {
	traits := in.traits
	if in.form != nil {
		i, err := s.Identities.Identity(x.r.Context(), f.IdentityID)
		if err == nil {
			traits, err = x.coerced(i.SchemaID, in)
		}
		if err != nil {
			return s.mend(x, f, err, in.transient)
		}
	}
	if err := s.allowed(x, mailStarts); err != nil {
		return err
	}
	r, err := x.Changes.Profile(x.r.Context(), s.change(x, f, current, in), traits)
	if errors.Is(err, settings.ErrNotFresh) {
		err := s.tell(x, f, func(f *flow.Flow) { f.Form = flow.Form{Values: flow.Entered(traits)} })
		if err != nil {
			return err
		}
		return x.refreshFirst(f)
	}
	if r != nil {
		for range r.Opened {
			s.owe(x, mailStarts)
		}
	}
	return s.changed(x, f, in, r, err)
}

// changePassword asks the use case. Who enters the present password counts as a failed
// login: it may be the guess of somebody who has found the session.
func (s *Server) changePassword(x *exchange, f *flow.Flow, current *session.Session, in submission) error {
	if err := s.allowed(x, failedLogins); err != nil {
		return err
	}
	r, err := x.Changes.SetPassword(x.r.Context(), s.change(x, f, current, in), in.password)
	if errors.Is(err, settings.ErrSamePassword) {
		s.owe(x, failedLogins)
	}
	return s.changed(x, f, in, r, err)
}

// openSettings leads a browser to its flow, such as from the login that has made
// its session fresh, which has given it another CSRF cookie: the flow is that
// one's from now on, for its person is who is signed in.
func (s *Server) openSettings(x *exchange) error {
	f, _, err := s.settingsFlow(x)
	switch {
	case err != nil:
		return x.signInFirst(f, err)
	case x.page:
		if x.r.Method != http.MethodHead {
			if err := s.bind(x, f); err != nil {
				return err
			}
		}
		x.redirect(http.StatusSeeOther, x.settings.page(f))
		return nil
	case f.Type == flow.Browser && !x.began(f):
		return errCSRF
	}
	f.Form.Messages = noMethod(f.Kind).Form.Messages
	return s.show(x, http.StatusBadRequest, f, nil)
}

// settingsFlow gives the submitted flow and the session of its person.
func (s *Server) settingsFlow(x *exchange) (*flow.Flow, *session.Session, error) {
	x.page = !jsonRequest(x.r.Header)
	f, _, missing := s.submitted(x, flow.Settings)
	if f != nil && f.Type == flow.API {
		x.page = false
	}
	current, err := s.signedInNow(x)
	if err == nil {
		err = missing
	}
	if err == nil {
		err = theirs(f, current)
	}
	return f, current, err
}

// ownerOf gives the session of the person of a flow of settings.
func (s *Server) ownerOf(x *exchange, f *flow.Flow) (*session.Session, error) {
	current, err := s.signedInNow(x)
	if err == nil {
		err = theirs(f, current)
	}
	return current, err
}

// theirs tells whether a flow of settings is of who is signed in.
func theirs(f *flow.Flow, current *session.Session) error {
	if f.IdentityID != current.IdentityID {
		return errNotTheirs
	}
	return nil
}

// signedInNow gives the valid session of a request as the store has it, or
// errInactive: what is kept in memory may be some seconds old, and a session that
// has ended changes nothing.
func (s *Server) signedInNow(x *exchange) (*session.Session, error) {
	token, err := x.credential()
	if err == nil {
		var i *identity.Identity
		var found *session.Session
		found, i, err = s.Finder.SessionByDigest(x.r.Context(), token.Digest())
		if err == nil && found.Active(x.at) && found.Epoch == i.Epoch && i.State == identity.Active {
			return found, nil
		}
	}
	if err == nil || classify(err).status == http.StatusUnauthorized {
		return nil, errInactive
	}
	return nil, fmt.Errorf("who is signed in: %w", err)
}

// signInFirst sends a page of nobody to the login, which leads on to where the flow
// was to lead, or else back to settings. Other errors go on their way.
func (x *exchange) signInFirst(f *flow.Flow, err error) error {
	if !x.page || !errors.Is(err, errInactive) {
		return err
	}
	to := x.query("return_to")
	if f != nil && x.began(f) {
		to = f.ReturnTo
	}
	to = cmp.Or(to, x.settings.public+route(flow.Settings)+"/browser")
	x.redirect(http.StatusSeeOther, x.settings.public+route(flow.Login)+"/browser?"+url.Values{"return_to": {to}}.Encode())
	return nil
}

// refreshFirst asks for a login that makes the session fresh and leads back to f.
func (x *exchange) refreshFirst(f *flow.Flow) error {
	back := x.settings.public + route(f.Kind) + "?flow=" + f.ID.String()
	to := x.settings.public + route(flow.Login) + "/browser?" + url.Values{"refresh": {"true"}, "return_to": {back}}.Encode()
	if x.page {
		x.redirect(http.StatusSeeOther, to)
		return nil
	}
	return &problem{
		status:   http.StatusForbidden,
		id:       "session_refresh_required",
		reason:   "The session is too old for this change. Sign in again, at redirect_browser_to.",
		redirect: to,
	}
}

// settable judges what is asked for. An app cannot link: the browser that would
// come back from the provider has no session, and whoever was sent there by
// somebody else would link their account to that one's.
func settable(f *flow.Flow, in submission) error {
	link, unlink := in.texts["link"] != "", in.texts["unlink"] != ""
	switch {
	case in.method != identity.MethodOIDC:
		return nil
	case link && unlink:
		return &flow.Invalid{Form: said(flow.Generic("Accounts are linked and unlinked one by one."))}
	case link && f.Type == flow.API:
		return &flow.Invalid{Form: said(flow.Generic("Accounts are linked in a browser, where you are signed in too. Open the settings there."))}
	case !link && !unlink:
		return noMethod(f.Kind)
	}
	return nil
}

func (s *Server) unlink(x *exchange, f *flow.Flow, current *session.Session, in submission) error {
	id := in.texts["unlink"]
	change := s.change(x, f, current, in)
	change.Provider = x.labelled(id)
	err := x.Changes.Unlink(x.r.Context(), change, s.ways(x))
	if errors.Is(err, settings.ErrNotLinked) { // as it should be, if there is such a provider
		_, err = x.provider(id)
	}
	return s.changed(x, f, in, &settings.Result{}, err)
}

// linkBack links the account of who is back from its provider.
func (s *Server) linkBack(x *exchange, b back) error {
	in := submission{method: identity.MethodOIDC, transient: b.flow.Attempt.Transient}
	change := s.change(x, b.flow, b.owner, in)
	change.Provider, change.Request = x.labelled(b.provider.ID()), x.shownBack(b)
	err := x.Changes.Link(x.r.Context(), change, b.account.Account)
	if err != nil {
		s.Sessions.Changed(b.flow.IdentityID) // it may be made all the same
		return s.goBack(x, b, inactive(err))
	}
	in.transient = nil // it was of another request
	return s.changed(x, b.flow, in, &settings.Result{}, nil)
}

// change is what a person asks for.
func (s *Server) change(x *exchange, f *flow.Flow, current *session.Session, in submission) settings.Submit {
	return settings.Submit{
		Flow: f, Session: current, Fresh: x.fresh(current),
		TransientPayload: in.transient, Client: x.client(), Request: x.shown(),
	}
}

// inactive says of a session that has ended meanwhile what is said of any other.
func inactive(err error) error {
	if errors.Is(err, session.ErrIdentityInactive) {
		return errInactive
	}
	return err
}

// changed answers a change that was made: the flow says so, and takes others. One that
// was not is shown with what is wrong.
func (s *Server) changed(x *exchange, f *flow.Flow, in submission, r *settings.Result, err error) error {
	s.Sessions.Changed(f.IdentityID) // it is shown with the session; an error may come from behind the change
	if err != nil {
		f.Active = in.method
		return s.mend(x, f, inactive(err), in.transient)
	}
	err = flow.Change(x.r.Context(), s.Flows, f, func(f *flow.Flow) error {
		f.State, f.Active, f.Form = flow.Success, in.method, flow.Form{}
		return nil
	})
	if err != nil {
		return err
	}
	to := cmp.Or(x.settings.asked(f.Kind, f.ReturnTo, f.Active), x.settings.page(f))
	if x.page {
		if r.ShowVerification && len(r.Verifications) > 0 {
			to = x.settings.page(r.Verifications[0].Flow)
		}
		x.redirect(http.StatusSeeOther, to)
		return nil
	}
	view, err := s.render(x, f, in.transient)
	if err != nil {
		return err
	}
	var next []continuation
	if f.Type == flow.Browser {
		next = append(next, continuation{Action: "redirect_browser_to", RedirectTo: to})
	}
	for _, v := range r.Verifications {
		next = append(next, x.settings.showVerification(v.Flow, v.Address))
	}
	if len(next) > 0 {
		view.ContinueWith = next
	}
	return x.encode(http.StatusOK, view)
}

// ways are what people can sign in with.
func (s *Server) ways(x *exchange) (w settings.Ways) {
	w.Password = slices.Contains(x.settings.Login.Methods, identity.MethodPassword)
	if slices.Contains(x.settings.Login.Methods, identity.MethodOIDC) {
		for _, p := range x.providers() {
			w.Providers = append(w.Providers, p.ID)
		}
	}
	return w
}

// accounts shows in o which accounts whoever a flow is of may link and remove, of
// the providers that are there.
func (s *Server) accounts(x *exchange, f *flow.Flow, i *identity.Identity, o *flow.Options) {
	offered := o.Providers
	o.Providers = nil
	if !slices.Contains(x.settings.of(f.Kind).Methods, identity.MethodOIDC) {
		return
	}
	linked := settings.Linked(i)
	for _, p := range offered {
		if f.Type == flow.Browser && !slices.Contains(linked, p.ID) {
			o.Providers = append(o.Providers, p)
		}
	}
	for _, id := range s.ways(x).Removable(i) {
		o.Linked = append(o.Linked, x.labelled(id))
	}
}

// labelled is a provider as forms show it; one that is not configured any more is
// called by its id.
func (x *exchange) labelled(id string) flow.Provider {
	if p, err := x.provider(id); err == nil {
		return flow.Provider{ID: p.ID(), Label: p.Label()}
	}
	return flow.Provider{ID: id, Label: id}
}

// profile shows in o what the traits of an identity are, and gives their fields. By a
// schema that is not configured any more they cannot be changed, and nobody knows what
// one signs in with beside a password.
func (x *exchange) profile(i *identity.Identity, o *flow.Options) []identity.Field {
	schema, ok := x.Schemas.Schema(i.SchemaID)
	o.Profile, o.Password = o.Profile && ok, o.Password && ok
	if !o.Profile {
		return nil
	}
	o.Traits = flow.Entered(i.Traits)
	return schema.Fields()
}
