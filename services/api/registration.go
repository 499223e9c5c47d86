package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
)

// initNative begins a flow for an app.
func (s *Server) initNative(x *exchange) error {
	if err := s.signedIn(x); err != nil {
		return err
	}
	f, err := s.begin(x, flow.API)
	if err != nil {
		return err
	}
	return s.show(x, http.StatusOK, f, nil)
}

// initBrowser begins a flow for a browser: a page is sent to where the flow is
// drawn, a script gets the flow.
func (s *Server) initBrowser(x *exchange) error {
	x.page = !prefersJSON(x.r.Header["Accept"])
	if err := s.signedIn(x); err != nil {
		return s.alreadySignedIn(x, err)
	}
	f, err := s.begin(x, flow.Browser)
	if err != nil {
		return err
	}
	return s.show(x, http.StatusOK, f, nil)
}

// alreadySignedIn sends a page on to where its flow would have ended.
func (s *Server) alreadySignedIn(x *exchange, err error) error {
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

// returnTo judges a parameter that says where to go at the end, "" if there is none.
func (x *exchange) returnTo(parameter string) (string, error) {
	raw := x.query(parameter)
	if raw == "" {
		return "", nil
	}
	return x.settings.returns.resolve(raw)
}

// begin stores a new flow as the query describes it.
func (s *Server) begin(x *exchange, t flow.Type) (*flow.Flow, error) {
	if !x.settings.Registration.Enabled {
		return nil, errDisabled
	}
	f := s.newFlow(x, t)
	f.RequestURL = x.url()
	if len(f.RequestURL) > maxRequestURL {
		f.RequestURL, _, _ = strings.Cut(f.RequestURL, "?") // how much a flow holds is not the sender's choice
	}
	f.SchemaID = x.settings.DefaultSchema
	if id := x.query("identity_schema"); id != "" && id != f.SchemaID {
		if !slices.ContainsFunc(s.Schemas.List(), func(listed Schema) bool { return listed.Selectable && listed.ID == id }) {
			return nil, &problem{status: http.StatusBadRequest, reason: "identity_schema names no schema that can be chosen."}
		}
		f.SchemaID = id
	}
	var err error
	if f.ReturnTo, err = x.returnTo("return_to"); err != nil {
		return nil, err
	}
	if t == flow.Browser {
		if f.AfterVerificationReturnTo, err = x.returnTo("after_verification_return_to"); err != nil {
			return nil, err
		}
	}
	if err := s.Flows.CreateFlow(x.r.Context(), f); err != nil {
		return nil, fmt.Errorf("begin registration: %w", err)
	}
	return f, nil
}

// maxRequestURL leaves room for two return URLs of usual length.
const maxRequestURL = 2048

func (s *Server) newFlow(x *exchange, t flow.Type) *flow.Flow {
	now := x.at.UTC().Truncate(time.Microsecond) // as the store gives it back
	f := &flow.Flow{
		ID:        uuid.New(),
		Kind:      flow.Registration,
		Type:      t,
		State:     flow.ChooseMethod,
		IssuedAt:  now,
		ExpiresAt: now.Add(x.settings.Registration.Lifespan),
	}
	if t == flow.Browser {
		f.CSRF = x.ensureCSRF().digest()
	}
	return f
}

// show answers with a flow: a page is sent to where it is drawn.
func (s *Server) show(x *exchange, status int, f *flow.Flow, transient json.RawMessage) error {
	if x.page {
		redirect := http.StatusSeeOther
		if status == http.StatusBadRequest {
			redirect = http.StatusFound // the contract's for a submit that a person can mend
		}
		x.redirect(redirect, withQuery(x.settings.Registration.URL, "flow", f.ID.String()))
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
	schema, ok := s.Schemas.Schema(f.SchemaID)
	if !ok {
		return flow.View{}, fmt.Errorf("render flow: schema %q is not configured any more", f.SchemaID)
	}
	o := flow.Options{
		Action:   x.settings.registrationURL(f.ID.String()),
		Password: slices.Contains(x.settings.Registration.Methods, "password"),
	}
	if f.Type == flow.Browser {
		o.CSRF = s.csrf.token(f.ID, x.ensureCSRF())
	}
	view := flow.NewView(f, flow.Render(f, schema.Fields(), o))
	view.TransientPayload = transient
	return view, nil
}

// fetchRegistration shows a flow to whoever began it.
func (s *Server) fetchRegistration(x *exchange) error {
	id, err := parseID(x.query("id"))
	if err != nil {
		return flow.ErrNotFound
	}
	f, err := s.Flows.Flow(x.r.Context(), id)
	if err != nil {
		return fmt.Errorf("fetch flow: %w", err)
	}
	if f.Kind != flow.Registration {
		return flow.ErrNotFound
	}
	if f.Type == flow.Browser && !x.began(f) {
		return errCSRF
	}
	if f.Expired(x.at) {
		return x.settings.expired(f)
	}
	return s.show(x, http.StatusOK, f, nil)
}

// expired tells where a new flow can be begun instead of a dead one.
func (c *Compiled) expired(f *flow.Flow) *problem {
	p := &problem{
		status: http.StatusGone,
		id:     flowExpired,
		reason: "The flow is over. Begin a new one.",
	}
	if f.Type == flow.API {
		p.details = map[string]any{"api": c.public + routeRegistration + "/api"}
		return p
	}
	again := c.public + routeRegistration + "/browser"
	if f.ReturnTo != "" {
		again += "?" + url.Values{"return_to": {f.ReturnTo}}.Encode()
	}
	p.details = map[string]any{"redirect_to": again, "return_to": f.ReturnTo}
	return p
}

const flowExpired = "self_service_flow_expired"

// replace begins a new flow in place of one that is over and says so in it.
func (s *Server) replace(x *exchange, over *flow.Flow) error {
	f := s.newFlow(x, over.Type)
	f.SchemaID = over.SchemaID
	f.RequestURL = x.settings.public + routeRegistration + "/" + string(over.Type)
	if over.Type == flow.API || x.began(over) { // what was asked for is only its owner's business
		f.RequestURL = cmp.Or(over.RequestURL, f.RequestURL)
		f.AfterVerificationReturnTo = over.AfterVerificationReturnTo
		if to, err := x.settings.returns.resolve(over.ReturnTo); err == nil {
			f.ReturnTo = to // what is not allowed any more is left out
		}
	}
	ended := over.ExpiresAt
	if ended.IsZero() || ended.After(x.at) {
		ended = x.at // used up before its time
	}
	f.Form.Messages = map[string][]flow.Message{"": {flow.Expired(over.Kind, ended)}}
	if err := s.Flows.CreateFlow(x.r.Context(), f); err != nil {
		return fmt.Errorf("replace flow: %w", err)
	}
	if x.page {
		x.redirect(http.StatusSeeOther, withQuery(x.settings.Registration.URL, "flow", f.ID.String()))
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
