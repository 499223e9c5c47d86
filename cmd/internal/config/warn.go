package config

import (
	"fmt"
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
	for name, secure := range map[string]bool{"cookies.secure": c.Cookies.Secure, "session.cookie.secure": c.Session.Cookie.Secure} {
		if secure && strings.HasPrefix(c.PublicURL(), "http:") && (c.Dev || c.Serve.Public.BaseURL != "") {
			l.warn(name, fmt.Sprintf("true, and %s is plain HTTP: clients keep no such cookie, and forms are refused", c.PublicURL()))
		}
	}
	if d := c.Session.Cookie.Domain; d != "" {
		l.warn("session.cookie.domain", fmt.Sprintf("every host below %s gets the session cookie", d))
	}
}
