package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/usher-auth/usher/services/hook"
)

// warnAll notes what does not stop the start and should be known.
func (l *loader) warnAll(c *Config) {
	if names := l.idle.ignored; len(names) > 0 {
		l.warn("", "without effect here, only in the reference server: "+strings.Join(names, ", "))
	}
	if names := l.idle.pending; len(names) > 0 {
		l.warn("", "without effect until their feature is built: "+strings.Join(names, ", "))
	}
	if !l.given.Exists(mitigate) {
		l.warn(mitigate, "not set, so it is false: protected mode is not built yet; write false to accept that")
	}
	if !c.SelfService.Flows.Verification.Enabled {
		for _, list := range c.hookLists() {
			for i, h := range list.hooks {
				if h.Kind == hook.KindShowVerification || h.Kind == hook.KindVerification {
					l.warn(entry(list.key, i)+".hook", h.Kind+" has no effect: "+verification+".enabled is false")
				}
			}
		}
	}
	if c.Bus.URL != "" && !c.onPostgreSQL() {
		l.warn("bus.url", "only one 'usher serve' with all parts can use it: 'usher serve api' and the others need dsn: postgres://… too")
	}
	l.warnOIDC(c)
	l.warnTracing(c)
	if c.Serve.Public.BaseURL == "" && !c.Dev {
		l.warn("serve.public.base_url", fmt.Sprintf("not set: all links lead to %s", c.PublicURL()))
	}
	for _, listener := range Listeners {
		name := "serve." + listener + ".base_url"
		if c.TLSOf(listener).On() && strings.HasPrefix(l.given.String(name), "http:") {
			l.warn(name, "this says http, and the listener speaks TLS: links lead to where nothing answers them")
		}
	}
	l.warnSecure(c)
	if d := c.Session.Cookie.Domain; d != "" {
		l.warn("session.cookie.domain", fmt.Sprintf("every host below %s gets the session cookie", d))
	}
}

// warnSecure warns, once, of cookies with Secure over plain HTTP.
func (l *loader) warnSecure(c *Config) {
	name := "cookies.secure"
	if !c.Cookies.Secure {
		name = "session.cookie.secure"
	}
	base, err := url.Parse(c.PublicURL())
	if !c.Cookies.Secure && !c.Session.Cookie.Secure || err != nil || base.Scheme != "http" || !c.Dev && c.Serve.Public.BaseURL == "" {
		return
	}
	what, mend := "clients keep no such cookie, and forms are refused", "serve https, or use --dev for a trial"
	if Loopback(base.Hostname()) {
		what = "most browsers keep such a cookie of a loopback host, other clients may not, and their forms are refused"
	}
	if c.Dev {
		mend = "leave it out, or serve https"
	}
	l.warn(name, fmt.Sprintf("true, and %s is plain HTTP: %s; %s", c.PublicURL(), what, mend))
}

// Loopback tells whether only this machine can reach a host; an empty one is all
// addresses.
func Loopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}
