package api

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Settings are the values that may change while the server runs.
type Settings struct {
	// PublicURL and AdminURL are the base URLs of the listeners. Every URL that
	// is handed out begins with one of them.
	PublicURL, AdminURL string
	// TellAdminURL lets the public listener lead who asks it for identities to AdminURL,
	// which tells that to all the world.
	TellAdminURL bool
	// DefaultReturnURL is where browsers go at the end when nothing was asked for.
	DefaultReturnURL string
	// OIDCRedirectBase begins the callback URLs that providers know; empty is PublicURL.
	OIDCRedirectBase string
	// AllowedReturnURLs are where a return_to may lead: scheme, host (it may begin
	// with "*.") and path prefix.
	AllowedReturnURLs []string
	// ErrorURL is the page that shows an error, by its id in the query.
	ErrorURL                          string
	Registration, Login, Verification FlowSettings
	Recovery                          FlowSettings
	// SettingsFlow is the flow in which people change their identity.
	SettingsFlow FlowSettings
	// ContinueWithTransitions answers a recovery with what comes next, in place of 422.
	ContinueWithTransitions bool
	// ExtendWithoutSession answers an administrator who extends a session with 204, not
	// with the session.
	ExtendWithoutSession bool
	// PrivilegedSessionMaxAge is how long after a login a session may change how its
	// person signs in.
	PrivilegedSessionMaxAge time.Duration
	Logout                  Logout
	// DefaultSchema is the identity schema of a flow that names none.
	DefaultSchema string
	// SessionCookie and CSRFCookie say how cookies are set; the name of the
	// second is the contract's.
	SessionCookie, CSRFCookie Cookie
	// Cookies seals what the session cookie holds.
	Cookies *Sealer
	CORS    CORS
	// TrustedProxies are believed when they say whom they speak for.
	TrustedProxies []netip.Prefix
	// HeaderAllowlist names the request headers that hooks may see.
	HeaderAllowlist []string
	Limits          Limits
}

// FlowSettings are what is configured for one kind of flow.
type FlowSettings struct {
	Enabled  bool
	Lifespan time.Duration
	// URL is the page that shows the flow, by its id in the query.
	URL string
	// Methods are the enabled ones.
	Methods []string
	// ReturnURL and MethodReturnURLs take precedence over the general default.
	ReturnURL        string
	MethodReturnURLs map[string]string
}

// Logout is what is configured for the end of a browser's session.
type Logout struct {
	// ReturnURL takes precedence over the general default.
	ReturnURL string
	// ClearBrowserData asks the browser to forget what it keeps of this site. It
	// does so over TLS only.
	ClearBrowserData bool
}

// Cookie is how a cookie is set.
type Cookie struct {
	Name       string
	Domain     string
	Path       string
	SameSite   http.SameSite
	Secure     bool
	Persistent bool // keeps for its life, otherwise until the browser ends
}

// CORS says which pages of other origins may use the public listener.
type CORS struct {
	Enabled     bool
	Origins     []string // exact ones, or "*" without Credentials
	Methods     []string
	Headers     []string
	Exposed     []string
	Credentials bool
}

// Compiled are settings that were checked and made ready. They never change.
type Compiled struct {
	Settings
	public     string // base URL without a slash at the end
	callbacks  string // base URL that providers send people back to
	admin      string
	adminHost  string
	csrfCookie string
	returns    *returnURLs
	origins    map[string]bool // whose pages may submit browser flows
	cors       corsHeaders
	headers    []string // HeaderAllowlist, canonical
	secure     bool     // the public listener is reached by TLS
	limiter    *limiter // nil limits nothing
}

// KeepLimits goes on counting where former was, in each class whose limit is the
// same. It is called before c is in force.
func (c *Compiled) KeepLimits(former *Compiled) {
	if former != nil {
		c.limiter.keep(former.limiter)
	}
}

// Compile checks s. What it refuses would be unsafe or could never work.
func (s Settings) Compile() (*Compiled, error) {
	c := &Compiled{Settings: s}
	public, err := baseURL(s.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("public base URL: %w", err)
	}
	admin, err := baseURL(s.AdminURL)
	if err != nil {
		return nil, fmt.Errorf("admin base URL: %w", err)
	}
	c.public, c.admin, c.adminHost = strings.TrimRight(public.String(), "/"), strings.TrimRight(admin.String(), "/"), admin.Hostname()
	c.callbacks = c.public
	if s.OIDCRedirectBase != "" {
		base, err := baseURL(s.OIDCRedirectBase)
		if err != nil {
			return nil, fmt.Errorf("base URL of callbacks: %w", err)
		}
		c.callbacks = strings.TrimRight(base.String(), "/")
	}
	c.secure = public.Scheme == "https"
	if c.limiter, err = newLimiter(s.Limits); err != nil {
		return nil, err
	}
	c.csrfCookie = csrfCookieName(s.PublicURL)
	if c.returns, err = newReturnURLs(c.public, s.DefaultReturnURL, s.AllowedReturnURLs); err != nil {
		return nil, err
	}
	if s.Cookies == nil {
		return nil, errors.New("no secret for cookies")
	}
	if s.SessionCookie.Name == "" {
		return nil, errors.New("the session cookie has no name")
	}
	if c.headers, err = allowedHeaders(s.HeaderAllowlist); err != nil {
		return nil, err
	}
	if c.cors, err = s.CORS.compile(); err != nil {
		return nil, err
	}
	if err := c.listOrigins(public); err != nil {
		return nil, err
	}
	return c, nil
}

// listOrigins collects the origins whose pages may submit browser flows.
func (c *Compiled) listOrigins(public *url.URL) error {
	c.origins = map[string]bool{origin(public): true}
	pages := []string{c.ErrorURL, c.DefaultReturnURL, c.Logout.ReturnURL}
	for _, f := range []*FlowSettings{&c.Registration, &c.Login, &c.Verification, &c.Recovery, &c.SettingsFlow} {
		pages = append(pages, f.URL, f.ReturnURL)
		pages = slices.AppendSeq(pages, maps.Values(f.MethodReturnURLs))
	}
	for _, raw := range pages {
		if raw == "" {
			continue
		}
		u, err := url.Parse(raw)
		if err != nil || u.Scheme == "" {
			return fmt.Errorf("%q is not an absolute URL", raw)
		}
		c.origins[origin(u)] = true
	}
	for _, o := range c.CORS.Origins {
		c.origins[o] = c.CORS.Enabled && o != "*"
	}
	return nil
}

func baseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, fmt.Errorf("%q is not an http or https URL", raw)
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return nil, fmt.Errorf("%q has more than scheme, host and path", raw)
	}
	return u, nil
}

// origin is the URL's origin as browsers write it.
func origin(u *url.URL) string {
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	return scheme + "://" + withoutDefaultPort(scheme, host)
}

// csrfCookieName is the contract's: clients find the cookie by it.
func csrfCookieName(publicURL string) string {
	sum := sha256.Sum256([]byte(publicURL))
	return "csrf_token_" + hex.EncodeToString(sum[:])
}

// secretHeaders are never shown to a hook.
var secretHeaders = []string{"Authorization", "Cookie", "Proxy-Authorization", headerCSRF, headerSessionToken}

func allowedHeaders(names []string) ([]string, error) {
	canonical := make([]string, len(names))
	for n, name := range names {
		canonical[n] = http.CanonicalHeaderKey(name)
		if slices.Contains(secretHeaders, canonical[n]) {
			return nil, fmt.Errorf("header %s holds a secret and cannot be shown to hooks", canonical[n])
		}
	}
	return canonical, nil
}
