package config

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/store"
)

// check says what does not make sense, each at its place.
func (l *loader) check(c *Config) {
	l.checkStores(c)
	l.checkListeners(c)
	l.checkSecrets(c)
	l.checkCookies(c)
	l.checkHashers(c)
	l.checkSelfService(c)
	l.checkSchemas(c)
	l.checkHooks(c)
	l.checkWebhooks(c)
	l.checkLogin(c)
	l.checkVerification(c)
	l.checkRecovery(c)
	l.checkSettings(c)
	l.checkOIDC(c)
	l.checkCourier(c)
	l.checkRateLimits(c)
	l.checkWorkers(c)
	l.checkAudit(c)
	l.checkTracing(c)
	l.checkLocked(c)
	l.oneOf("ciphers.algorithm", c.Ciphers.Algorithm, "noop", "xchacha20-poly1305", "aes")
	l.oneOf("session.issue.on_failure", c.Session.Issue.OnFailure, OnFailureDegrade, OnFailureFail)
	l.oneOf("session.whoami.required_aal", c.Session.Whoami.RequiredAAL, "highest_available", "aal1")
	l.oneOf("log.level", c.Log.Level, "trace", "debug", "info", "warn", "error", "fatal", "panic")
	l.oneOf("log.format", c.Log.Format, "text", "json")
	l.atLeast("session.issue.timeout", c.Session.Issue.Timeout, time.Millisecond)
	l.between("session.lifespan", c.Session.Lifespan, time.Second, session.MaxLifespan)
	if d := c.Session.EarliestPossibleExtend; d < 0 {
		l.refuseKey("session.earliest_possible_extend", "want 0 or more, not %s", d)
	}
}

func (l *loader) checkStores(c *Config) {
	if err := store.CheckDSN(c.DSN.Reveal()); err != nil {
		l.refuseKey("dsn", "%w", err)
	}
	if c.DataDir == "" {
		l.refuseKey("data_dir", "want a folder")
	}
	l.checkBus(&c.Bus)
}

func (l *loader) checkListeners(c *Config) {
	l.checkPort("serve.public.port", c.Serve.Public.Port)
	l.checkPort("serve.admin.port", c.Serve.Admin.Port)
	l.checkURL("serve.public.base_url", c.Serve.Public.BaseURL, baseURL)
	l.checkURL("serve.admin.base_url", c.Serve.Admin.BaseURL, baseURL)
	for _, listener := range Listeners {
		l.checkTLS(listener, c.TLSOf(listener))
	}
	l.between("serve.drain_delay", c.Serve.DrainDelay, 0, longestDrainDelay)
	cors := c.Serve.Public.CORS
	if cors.Enabled && len(cors.AllowedOrigins) == 0 {
		l.refuseKey("serve.public.cors.allowed_origins", "want at least one, such as https://app.example.com, since cors is enabled")
	}
	if cors.Enabled && cors.AllowCredentials && slices.Contains(cors.AllowedOrigins, "*") {
		l.refuseKey("serve.public.cors.allowed_origins", `"*" cannot be had together with allow_credentials: name the origins`)
	}
}

func (l *loader) checkCookies(c *Config) {
	sites := []string{"Lax", "Strict", "None"}
	l.oneOf("cookies.same_site", string(c.Cookies.SameSite), sites...)
	l.oneOf("session.cookie.same_site", string(c.Session.Cookie.SameSite), sites...)
	if c.Cookies.SameSite == "None" && !c.Cookies.Secure {
		l.refuseKey("cookies.same_site", "browsers take None only with cookies.secure")
	}
	if c.Session.Cookie.SameSite == "None" && !c.Session.Cookie.Secure {
		l.refuseKey("session.cookie.same_site", "browsers take None only with session.cookie.secure")
	}
	if name := c.Session.Cookie.Name; name == "" || strings.ContainsFunc(name, notInToken) {
		l.refuseKey("session.cookie.name", "%q cannot be the name of a cookie", name)
	}
}

// notInToken is what RFC 9110 keeps out of tokens.
func notInToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

func (l *loader) checkSelfService(c *Config) {
	s := &c.SelfService
	r := &s.Flows.Registration
	l.oneOf(registration+".style", r.Style, styles...)
	l.atLeast(registration+".lifespan", r.Lifespan, time.Second)
	l.checkURL(registration+".ui_url", r.UIURL, pageURL)
	l.checkURL("selfservice.flows.error.ui_url", s.Flows.Error.UIURL, pageURL)
	for name, u := range map[string]string{
		"selfservice.default_browser_return_url":                    s.DefaultBrowserReturnURL,
		registration + ".after.default_browser_return_url":          r.After.DefaultBrowserReturnURL,
		registration + ".after.password.default_browser_return_url": r.After.Password.DefaultBrowserReturnURL,
		registration + ".after.oidc.default_browser_return_url":     r.After.OIDC.DefaultBrowserReturnURL,
	} {
		l.checkURL(name, u, absoluteURL)
	}
	for i, u := range s.AllowedReturnURLs {
		l.checkURL(entry("selfservice.allowed_return_urls", i), u, absoluteURL)
	}
	if s.DefaultBrowserReturnURL == "" && l.given.Exists(schemaList) {
		l.refuseKey("selfservice.default_browser_return_url", "this is needed: where do browsers go when they have registered?")
	}
	if s.MaxFlows < 1_000 || s.MaxFlows > 10_000_000 {
		l.refuseKey("selfservice.max_flows", "want 1000 to 10000000, not %d", s.MaxFlows)
	}
	if shortest := s.Methods.Password.Config.MinPasswordLength; shortest < 6 || shortest > 256 {
		l.refuseKey(passwordConfig+".min_password_length", "want 6 to 256, not %d", shortest)
	}
}

func (l *loader) checkSchemas(c *Config) {
	ids := map[string]bool{}
	for i, s := range c.Identity.Schemas {
		name := entry(schemaList, i) + ".id"
		if s.ID == "" {
			l.refuseKey(name, "this is needed")
		}
		if ids[s.ID] {
			l.refuseKey(name, "%q is the id of another schema too", s.ID)
		}
		ids[s.ID] = true
	}
	if !ids[c.Identity.DefaultSchemaID] {
		l.refuseKey("identity.default_schema_id", "there is no identity schema %q", c.Identity.DefaultSchemaID)
	}
}

func (l *loader) checkHashers(c *Config) {
	h := &c.Hashers
	l.oneOf("hashers.algorithm", h.Algorithm, Argon2, Bcrypt)
	if cost := h.Bcrypt.Cost; cost < 4 || cost > 31 {
		l.refuseKey("hashers.bcrypt.cost", "want 10 to 31, not %d", cost)
	} else if cost < 10 && !c.Dev {
		l.refuseKey("hashers.bcrypt.cost", "%d is not safe: want 10 or more (only --dev allows less)", cost)
	}
	a := &h.Argon2
	for name, v := range map[string]struct{ got, least, most int }{
		"iterations":  {a.Iterations, 1, 1 << 10},
		"parallelism": {a.Parallelism, 1, 255},
		"salt_length": {a.SaltLength, 8, 64},
		"key_length":  {a.KeyLength, 16, 64},
	} {
		if v.got < v.least || v.got > v.most {
			l.refuseKey("hashers.argon2."+name, "want %d to %d, not %d", v.least, v.most, v.got)
		}
	}
	if a.Memory < 8*KB*Size(max(1, a.Parallelism)) || a.Memory > 4*GB {
		l.refuseKey("hashers.argon2.memory", "want 8KB or more for each of parallelism and 4GB at most, not %s", a.Memory)
	} else if !c.Dev && a.Memory < leastMemory(a.Iterations) {
		l.refuseKey("hashers.argon2.memory", "%s is not safe with %d iterations: want %s or more (only --dev allows less)", a.Memory, a.Iterations, leastMemory(a.Iterations))
	}
}

// leastMemory is what OWASP asks for with so many iterations of Argon2id.
func leastMemory(iterations int) Size {
	switch {
	case iterations >= 5:
		return 7 * MB
	case iterations == 4:
		return 9 * MB
	case iterations == 3:
		return 12 * MB
	case iterations == 2:
		return 19 * MB
	default:
		return 46 * MB
	}
}

// refuseKey notes a problem at the place of the key.
func (l *loader) refuseKey(name, format string, args ...any) {
	l.refuse(l.at(name), name, format, args...)
}

func (l *loader) oneOf(name, got string, allowed ...string) {
	if slices.Contains(allowed, got) {
		return
	}
	suggestion := ""
	if near := nearest(got, allowed); near != "" {
		suggestion = "; did you mean " + near + "?"
	}
	l.refuseKey(name, "%q is not known: want %s%s", got, strings.Join(allowed, ", "), suggestion)
}

func (l *loader) atLeast(name string, got, least time.Duration) {
	if got < least {
		l.refuseKey(name, "want %s or more, not %s", least, got)
	}
}

func (l *loader) checkPort(name string, port int) {
	if port < 0 || port > 65535 {
		l.refuseKey(name, "want 0 to 65535, not %s", strconv.Itoa(port))
	}
}

// checkURL checks a URL that is set.
func (l *loader) checkURL(name, text string, check func(*url.URL) error) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	if err == nil {
		err = check(u)
	}
	if err != nil {
		l.refuseKey(name, "%w", err)
	}
}

func absoluteURL(u *url.URL) error {
	if u.Scheme == "" || u.Host == "" {
		return errors.New("want an absolute URL")
	}
	return nil
}

func pageURL(u *url.URL) error {
	if u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("want an absolute http or https URL")
	}
	return nil
}

func baseURL(u *url.URL) error {
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("want scheme, host and path only")
	}
	return pageURL(u)
}
