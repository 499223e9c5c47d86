package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
)

// route is where the flows of a kind are.
func route(k flow.Kind) string { return "/self-service/" + string(k) }

// of gives the settings of a kind of flow.
func (c *Compiled) of(k flow.Kind) *FlowSettings {
	switch k {
	case flow.Login:
		return &c.Login
	case flow.Verification:
		return &c.Verification
	case flow.Recovery:
		return &c.Recovery
	case flow.Settings:
		return &c.SettingsFlow
	default:
		return &c.Registration
	}
}

// methods are those of a kind of flow. That of a recovery which was begun with another,
// by an administrator or before that was changed, is good to its end.
func (c *Compiled) methods(f *flow.Flow) []string {
	all := c.of(f.Kind).Methods
	if f.Kind == flow.Recovery && f.State != flow.ChooseMethod && !slices.Contains(all, f.Active) {
		return append(slices.Clone(all), f.Active)
	}
	return all
}

// page is where people are shown f.
func (c *Compiled) page(f *flow.Flow) string {
	return withQuery(c.of(f.Kind).URL, "flow", f.ID.String())
}

// addFlow adds the routes of a kind of flow.
func (rt *router) addFlow(k flow.Kind, begin func(*exchange, flow.Type) error, submit, link action) {
	native := func(x *exchange) error { return begin(x, flow.API) }
	browser := func(x *exchange) error {
		x.page = !prefersJSON(x.r.Header["Accept"])
		return begin(x, flow.Browser)
	}
	fetch := func(x *exchange) error { return rt.server.fetch(x, k) }
	rt.add(route(k)+"/api", get(native), public)
	rt.add(route(k)+"/browser", get(browser), public|withCSRF)
	rt.add(route(k)+"/flows", get(fetch), public|withCSRF)
	rt.add(route(k), methods{http.MethodGet: link, http.MethodPost: submit}, public)
}

// returnTo judges a parameter that says where to go at the end, "" if there is none.
func (x *exchange) returnTo(parameter string) (string, error) {
	raw := x.query(parameter)
	if raw == "" {
		return "", nil
	}
	return x.settings.returns.resolve(raw)
}

// asked makes a flow as the query describes it.
func (x *exchange) asked(k flow.Kind, t flow.Type) (*flow.Flow, error) {
	if !x.settings.of(k).Enabled {
		return nil, errDisabled
	}
	f := x.newFlow(k, t)
	signsIn := k == flow.Registration || k == flow.Login
	if t == flow.API && signsIn && x.query("return_session_token_exchange_code") == "true" {
		x.exchangeCode = newCode()
		f.Exchange = digest(x.exchangeCode)
	}
	f.RequestURL = x.url()
	if len(f.RequestURL) > maxRequestURL {
		f.RequestURL, _, _ = strings.Cut(f.RequestURL, "?") // how much a flow holds is not the sender's choice
	}
	var err error
	f.ReturnTo, err = x.returnTo("return_to")
	return f, err
}

// maxRequestURL leaves room for two return URLs of usual length.
const maxRequestURL = 2048

func (x *exchange) newFlow(k flow.Kind, t flow.Type) *flow.Flow {
	now := x.at.UTC().Truncate(time.Microsecond) // as the store gives it back
	f := &flow.Flow{
		ID:        uuid.New(),
		Kind:      k,
		Type:      t,
		State:     flow.ChooseMethod,
		Languages: flow.Languages(x.r.Header.Get("Accept-Language")),
		IssuedAt:  now,
		ExpiresAt: now.Add(x.settings.of(k).Lifespan),
	}
	if k == flow.Settings {
		f.State = flow.ShowForm
	}
	if t == flow.Browser {
		f.CSRF = x.ensureCSRF().digest()
	}
	return f
}

// chooseSchema gives f the schema that the query names, or the default one.
func (s *Server) chooseSchema(x *exchange, f *flow.Flow) error {
	f.SchemaID = x.settings.DefaultSchema
	if id := x.query("identity_schema"); id != "" && id != f.SchemaID {
		if !slices.ContainsFunc(x.Schemas.List(), func(listed Schema) bool { return listed.Selectable && listed.ID == id }) {
			return &problem{status: http.StatusBadRequest, reason: "identity_schema names no schema that can be chosen."}
		}
		f.SchemaID = id
	}
	return nil
}

// begin stores a new flow and answers with it: a page is sent to where the flow
// is drawn, a script or an app gets the flow.
func (s *Server) begin(x *exchange, f *flow.Flow) error {
	if err := s.allow(x, flowCreations); err != nil {
		return err
	}
	if err := s.Flows.CreateFlow(x.r.Context(), f); err != nil {
		return fmt.Errorf("begin %s: %w", f.Kind, err)
	}
	if x.exchangeCode != "" {
		view, err := s.render(x, f, nil)
		if err != nil {
			return err
		}
		view.ExchangeCode = x.exchangeCode
		return x.encode(http.StatusOK, view)
	}
	return s.show(x, http.StatusOK, f, nil)
}

// show answers with a flow: a page is sent to where it is drawn.
func (s *Server) show(x *exchange, status int, f *flow.Flow, transient json.RawMessage) error {
	if x.page {
		redirect := http.StatusSeeOther
		if status == http.StatusBadRequest && f.Kind == flow.Registration {
			redirect = http.StatusFound // the contract's for a submit that a person can mend
		}
		x.redirect(redirect, x.settings.page(f))
		return nil
	}
	view, err := s.render(x, f, transient)
	if err != nil {
		return err
	}
	return x.encode(status, view)
}

// render makes what clients get of a flow.
func (s *Server) render(x *exchange, f *flow.Flow, transient json.RawMessage) (flow.View, error) {
	fields, err := x.fields(f)
	if err != nil {
		return flow.View{}, err
	}
	methods := x.settings.methods(f)
	o := flow.Options{
		Action:   x.settings.public + route(f.Kind) + "?flow=" + f.ID.String(),
		Password: slices.Contains(methods, "password"),
		Code:     slices.Contains(methods, flow.MethodCode),
		Link:     slices.Contains(methods, flow.MethodLink),
		Profile:  slices.Contains(methods, methodProfile),
		NewLogin: x.settings.public + route(flow.Login) + "/" + string(f.Type),
	}
	if slices.Contains(methods, identity.MethodOIDC) {
		o.Providers = x.providers()
	}
	if f.State == flow.PassedChallenge {
		o.Continue = x.settings.after(f.Kind, f.ReturnTo, f.Active)
	}
	if f.Type == flow.Browser {
		o.CSRF = s.csrf.token(f.ID, x.ensureCSRF())
	}
	var whose *flow.SettingsView
	if f.Kind == flow.Settings {
		i, err := s.Identities.Identity(x.r.Context(), f.IdentityID)
		if err != nil {
			return flow.View{}, fmt.Errorf("whose settings: %w", err)
		}
		s.accounts(x, f, i, &o)
		fields = x.profile(i, &o)
		whose = &flow.SettingsView{Identity: x.settings.viewIdentity(i)}
	}
	view := flow.NewView(f, flow.Render(f, fields, o))
	view.SettingsView = whose
	view.TransientPayload = transient
	return view, nil
}

// fields are those of a flow's schema. A login takes from them only what it calls
// its identifier, so it can do without a schema that is not configured any more.
func (x *exchange) fields(f *flow.Flow) ([]identity.Field, error) {
	if f.Kind == flow.Verification || f.Kind == flow.Recovery || f.Kind == flow.Settings {
		return nil, nil
	}
	schema, ok := x.Schemas.Schema(f.SchemaID)
	switch {
	case ok:
		return schema.Fields(), nil
	case f.Kind == flow.Login:
		return nil, nil
	}
	return nil, fmt.Errorf("render flow: schema %q is not configured any more", f.SchemaID)
}

// fetch shows a flow to whoever began it, and settings only to their person.
func (s *Server) fetch(x *exchange, k flow.Kind) error {
	if !x.settings.of(k).Enabled {
		return errDisabled
	}
	var current *session.Session
	if k == flow.Settings {
		var err error
		if current, err = s.signedInNow(x); err != nil {
			return err
		}
	}
	id, err := parseID(x.query("id"))
	if err != nil {
		return flow.ErrNotFound
	}
	f, err := s.Flows.Flow(x.r.Context(), id)
	if err != nil {
		return fmt.Errorf("fetch flow: %w", err)
	}
	if f.Kind != k {
		return flow.ErrNotFound
	}
	if current != nil {
		if err := theirs(f, current); err != nil {
			return err
		}
	}
	if f.Type == flow.Browser && !x.began(f) && !ownerless(f) {
		return errCSRF
	}
	if f.Expired(x.at) {
		return x.settings.expired(f)
	}
	return s.show(x, http.StatusOK, f, nil)
}

const flowExpired = "self_service_flow_expired"

// expired tells where a new flow can be begun instead of a dead one.
func (c *Compiled) expired(f *flow.Flow) *problem {
	p := &problem{
		status: http.StatusGone,
		id:     flowExpired,
		reason: "The flow is over. Begin a new one.",
	}
	if f.Kind == flow.Verification || f.Kind == flow.Recovery || f.Kind == flow.Settings {
		p.id = "" // the contract's
	}
	if f.Type == flow.API {
		p.details = map[string]any{"api": c.public + route(f.Kind) + "/api"}
		return p
	}
	again := c.public + route(f.Kind) + "/browser"
	if f.ReturnTo != "" {
		again += "?" + url.Values{"return_to": {f.ReturnTo}}.Encode()
	}
	p.details = map[string]any{"redirect_to": again, "return_to": f.ReturnTo}
	return p
}

// replace begins a new flow in place of one that is over and says why in it.
func (s *Server) replace(x *exchange, over *flow.Flow, why flow.Message) (*flow.Flow, error) {
	if err := s.allow(x, flowCreations); err != nil {
		return nil, err
	}
	f := x.newFlow(over.Kind, over.Type)
	f.SchemaID, f.IdentityID = over.SchemaID, over.IdentityID
	f.RequestURL = x.settings.begins(over)
	if over.Type == flow.API || x.began(over) { // what was asked for is only its owner's business
		f.RequestURL = cmp.Or(over.RequestURL, f.RequestURL)
		f.Refresh = over.Refresh
		f.AfterVerificationReturnTo = over.AfterVerificationReturnTo
		if over.Refresh {
			f.Form.Values = over.Form.Values // the identifier, which cannot be entered
		}
		if to, err := x.settings.returns.resolve(over.ReturnTo); err == nil {
			f.ReturnTo = to // what is not allowed any more is left out
		}
	}
	f.Form.Messages = map[string][]flow.Message{"": {why}}
	if err := s.Flows.CreateFlow(x.r.Context(), f); err != nil {
		return nil, fmt.Errorf("replace flow: %w", err)
	}
	return f, nil
}

// begins is where flows such as f are begun.
func (c *Compiled) begins(f *flow.Flow) string {
	return c.public + route(f.Kind) + "/" + string(f.Type)
}

// lead answers the submit of a flow that is over in time with a new one.
func (s *Server) lead(x *exchange, over *flow.Flow) error {
	ended := over.ExpiresAt
	if ended.IsZero() || ended.After(x.at) {
		ended = x.at // used up before its time
	}
	f, err := s.replace(x, over, flow.Expired(over.Kind, ended))
	switch {
	case err != nil:
		return err
	case x.page:
		x.redirect(http.StatusSeeOther, x.settings.page(f))
		return nil
	case f.Kind == flow.Verification, f.Kind == flow.Recovery: // older than the others
		x.redirect(http.StatusSeeOther, x.settings.public+route(f.Kind)+"/flows?id="+f.ID.String())
		return nil
	}
	return &problem{
		status:    http.StatusGone,
		id:        flowExpired,
		reason:    "The flow is over. Go on with the one that use_flow_id names.",
		useFlow:   f.ID,
		expiredAt: ended,
		since:     x.at.Sub(ended),
	}
}

// after is where a browser goes at the end: where the flow asked for, if that is
// still allowed, else where the most particular setting says.
func (c *Compiled) after(k flow.Kind, returnTo, method string) string {
	return cmp.Or(c.asked(k, returnTo, method), c.DefaultReturnURL)
}

// asked is [Compiled.after] without the general default, which may be "".
func (c *Compiled) asked(k flow.Kind, returnTo, method string) string {
	if returnTo != "" {
		if to, err := c.returns.resolve(returnTo); err == nil {
			return to
		}
	}
	settings := c.of(k)
	return cmp.Or(settings.MethodReturnURLs[method], settings.ReturnURL)
}
