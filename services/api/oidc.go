package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/oidc"
)

// Providers are those that people may sign in with, see [oidc.Client].
type Providers interface {
	// Provider gives one by its id, false if there is none.
	Provider(id string) (*oidc.Provider, bool)
	// Providers gives all of them in the order of the configuration.
	Providers() []*oidc.Provider
}

// Attempts keeps what flows know of sign-ins at providers.
type Attempts interface {
	// BeginAttempt gives a flow its attempt in place of a former one, or gives
	// [flow.ErrNotFound].
	BeginAttempt(ctx context.Context, flowID uuid.UUID, a flow.Attempt) error
	// TakeAttempt gives a flow with the attempt of this digest and takes that out.
	// Of many callers one gets it, the others [flow.ErrNotFound].
	// It tells whether the flow has made an identity already.
	TakeAttempt(ctx context.Context, flowID uuid.UUID, digest []byte) (f *flow.Flow, granted bool, err error)
	// SaveExchange keeps what an app's flow has come to, by the digest of the half of
	// the code that the browser brings: a sealed proof, or nil.
	SaveExchange(ctx context.Context, flowID uuid.UUID, returnDigest, sealed []byte) error
	// TakeExchange gives the flow that both digests belong to, and once the sealed
	// proof, or [flow.ErrNotFound].
	TakeExchange(ctx context.Context, initDigest, returnDigest []byte) (f *flow.Flow, sealed []byte, err error)
}

// provider finds one by its id.
func (x *exchange) provider(id string) (*oidc.Provider, error) {
	if x.Providers != nil {
		if p, ok := x.Providers.Provider(id); ok {
			return p, nil
		}
	}
	return nil, errNoProvider
}

// providers are what forms show of them.
func (x *exchange) providers() (shown []flow.Provider) {
	if x.Providers == nil {
		return nil
	}
	for _, p := range x.Providers.Providers() {
		shown = append(shown, flow.Provider{ID: p.ID(), Label: p.Label()})
	}
	return shown
}

// startAttempt sends a person to the provider that a submit names. What was
// submitted with it waits in the flow until they are back.
func (s *Server) startAttempt(x *exchange, f *flow.Flow, in submission) error {
	if in.texts["provider"] == "" {
		return s.mend(x, f, &flow.Invalid{Form: said(flow.Missing("provider"))}, in.transient)
	}
	p, err := x.provider(in.texts["provider"])
	if err != nil {
		return err
	}
	begun := flow.Attempt{Provider: p.ID(), Transient: in.transient}
	if f.Kind == flow.Registration {
		if begun.Traits, err = x.traits(f, in.filled()); err != nil {
			return s.mend(x, f, err, in.transient)
		}
	}
	if len(begun.Traits)+len(begun.Transient) > maxWaiting {
		return s.mend(x, f, refuse("traits and transient_payload are larger than %d bytes, which is too much to wait for the provider", maxWaiting), in.transient)
	}
	client := oidc.Browser
	if f.Type == flow.API {
		client = oidc.Native
	}
	to, attempt, err := p.Start(x.r.Context(), oidc.Request{
		Flow:        f.ID.String(),
		FlowType:    string(f.Kind),
		Client:      client,
		RedirectURL: x.settings.callback(p.ID()),
		Upstream:    in.upstream,
	})
	s.observeProvider(p, "started", err)
	if err != nil {
		return s.mend(x, f, s.mendable(x, p, err), in.transient)
	}
	begun.Digest = digest(attempt.ID)
	switch err := s.Flows.BeginAttempt(x.r.Context(), f.ID, begun); {
	case errors.Is(err, flow.ErrNotFound):
		return s.lead(x, f) // completed, and gone since
	case err != nil:
		return fmt.Errorf("begin attempt: %w", err)
	}
	if f.Type == flow.Browser {
		x.setContinuity(attempt)
	}
	if x.page {
		x.redirect(http.StatusSeeOther, to)
		return nil
	}
	return &problem{
		status:   http.StatusUnprocessableEntity,
		id:       "browser_location_change_required",
		reason:   "The browser has to go to redirect_browser_to, to sign in there.",
		redirect: to,
	}
}

// maxWaiting bounds what a flow holds while somebody is at a provider: how much that
// is, times the flows there are, is not the sender's choice.
const maxWaiting = 16 << 10

// filled is in without the fields of a form that nobody has filled in: they must
// not count over what the provider gives.
func (in submission) filled() submission {
	form := url.Values{}
	for name, values := range in.form {
		if !strings.HasPrefix(name, "traits.") || slices.ContainsFunc(values, func(v string) bool { return v != "" }) {
			form[name] = values
		}
	}
	if in.form != nil {
		in.form = form
	}
	return in
}

// callback is the URL that a provider sends people back to.
func (c *Compiled) callback(provider string) string {
	return c.callbacks + routeCallback + "/" + provider
}

// mendable turns what went wrong at a provider into what the person can be told:
// they can begin again. Other errors stay as they are.
func (s *Server) mendable(x *exchange, p *oidc.Provider, err error) error {
	var denied *oidc.Denied
	var failed *oidc.Failed
	switch {
	case errors.As(err, &denied):
		return &flow.Invalid{Form: said(flow.Generic("The sign-in at " + p.Label() + " did not take place (" + denied.Code + ")."))}
	case errors.Is(err, identity.ErrOtherIssuer):
		s.warnOf(x, p, "the provider's issuer has changed since this account was linked")
		return &flow.Invalid{Form: said(flow.Generic("This account at " + p.Label() + " is not the one that was linked here. Sign in another way."))}
	case errors.As(err, &failed):
		s.warnOf(x, p, "sign-in at a provider failed", slog.String("step", failed.Step), slog.String("reason", failed.Reason))
		text := "The sign-in at " + p.Label() + " did not work. Try it again, or another way."
		if errors.Is(err, oidc.ErrUnavailable) {
			text = p.Label() + " does not answer at the moment. Try again shortly, or another way."
		}
		return &flow.Invalid{Form: said(flow.Generic(text))}
	}
	return err
}

// warnOf logs what is wrong with a provider.
func (s *Server) warnOf(x *exchange, p *oidc.Provider, what string, why ...slog.Attr) {
	s.Log.LogAttrs(x.r.Context(), slog.LevelWarn, what, append([]slog.Attr{
		slog.String("provider", p.ID()),
		slog.String("request_id", x.id),
		slog.String("trace_id", traceID(x.traceParent())),
	}, why...)...)
}

// observeProvider tells what became of an attempt: what went well, or what is wrong.
func (s *Server) observeProvider(p *oidc.Provider, well string, err error) {
	if s.ObserveProvider == nil {
		return
	}
	result := "error"
	var denied *oidc.Denied
	switch {
	case errors.Is(err, context.Canceled):
		return // nobody waits for it any more
	case err == nil:
		result = well
	case errors.As(err, &denied):
		result = "denied"
	case errors.Is(err, oidc.ErrUnavailable):
		result = "unavailable"
	case errors.Is(err, oidc.ErrRefused), errors.Is(err, oidc.ErrMapper):
		result = "refused"
	case errors.Is(err, oidc.ErrState):
		result = "stray"
	}
	s.ObserveProvider(p.ID(), result)
}

// digest is what is stored of a secret that a client holds.
func digest(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

const (
	continuityCookie  = "ory_kratos_continuity"
	continuityPurpose = "usher/cookie/continuity/1"
)

// continuity is how the cookie is set that ties a browser to its attempt: the
// provider's redirect comes from another site, so it cannot be strict.
func (c *Compiled) continuity() Cookie {
	cookie := c.CSRFCookie
	cookie.Name, cookie.Persistent = continuityCookie, true
	if cookie.SameSite == http.SameSiteStrictMode {
		cookie.SameSite = http.SameSiteLaxMode
	}
	return cookie
}

func (x *exchange) setContinuity(a oidc.Attempt) {
	value := x.settings.Cookies.sealText(continuityPurpose, a.ID, a.Expires)
	x.setCookie(x.settings.continuity(), value, a.Expires.Sub(x.at))
}

// continues tells whether this browser began the attempt.
func (x *exchange) continues(a oidc.Attempt) bool {
	cookie, err := x.r.Cookie(continuityCookie)
	if err != nil {
		return false
	}
	id, ok := x.settings.Cookies.openText(continuityPurpose, cookie.Value, x.at)
	return ok && subtle.ConstantTimeCompare([]byte(id), []byte(a.ID)) == 1
}

// merged lays submitted traits over those that a provider gave (RFC 7396).
func merged(given, submitted json.RawMessage) (json.RawMessage, error) {
	given, submitted = orEmpty(given), orEmpty(submitted)
	traits, err := jsonpatch.MergePatch(given, submitted)
	if err != nil {
		return nil, fmt.Errorf("merge traits: %w", err)
	}
	return traits, nil
}

func orEmpty(object json.RawMessage) json.RawMessage {
	if trimmed := bytes.TrimSpace(object); len(trimmed) == 0 || bytes.Equal(trimmed, []byte("null")) {
		return json.RawMessage("{}")
	}
	return object
}
