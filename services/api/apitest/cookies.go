package apitest

import (
	"net/http"
	"regexp"
	"strings"
)

// cookieRules are about each cookie that is set.
var cookieRules = []rule{
	{"cookie http only", each(func(_ *exchange, c *http.Cookie) string {
		if !c.HttpOnly {
			return "scripts can read it"
		}
		return ""
	})},
	{"cookie same site", each(func(_ *exchange, c *http.Cookie) string {
		if c.SameSite == http.SameSiteLaxMode || c.SameSite == http.SameSiteStrictMode || c.SameSite == http.SameSiteNoneMode && c.Secure {
			return ""
		}
		return "SameSite is missing, or None without Secure"
	})},
	{"cookie path", each(func(_ *exchange, c *http.Cookie) string {
		if !strings.HasPrefix(c.Path, "/") {
			return "there is no Path"
		}
		return ""
	})},
	{"cookie prefix", each(func(_ *exchange, c *http.Cookie) string {
		host, secure := strings.HasPrefix(c.Name, "__Host-"), strings.HasPrefix(c.Name, "__Secure-")
		if (host || secure) && !c.Secure || host && (c.Path != "/" || c.Domain != "") {
			return "it is not what its name promises"
		}
		return ""
	})},
	{"cookie value", each(func(_ *exchange, c *http.Cookie) string {
		if !opaque.MatchString(c.Value) {
			return "its value is not sealed"
		}
		return ""
	})},
	{"cookie life", each(func(_ *exchange, c *http.Cookie) string {
		const year = 365 * 24 * 60 * 60
		if c.MaxAge > year || c.Value == "" && c.MaxAge >= 0 {
			return "it lives too long"
		}
		return ""
	})},
	{"cookie once", func(x *exchange) string {
		seen := map[string]bool{}
		for _, c := range x.cookies() {
			if seen[c.Name] {
				return c.Name + " is set twice"
			}
			seen[c.Name] = true
		}
		return ""
	}},
	{"cookie place", func(x *exchange) string {
		native := strings.HasPrefix(x.URL.Path, "/self-service/") && strings.HasSuffix(x.URL.Path, "/api")
		if x.path == nil {
			return "" // nothing is known of it
		}
		if native || x.Listener == Admin || x.below("/sessions", "/health", "/admin", "/metrics", "/version", "/debug") {
			return present(x, "Set-Cookie")
		}
		return ""
	}},
}

// opaque values are base64url: nothing can be read in them.
var opaque = regexp.MustCompile(`^[\w-]*$`)

func (x *exchange) cookies() []*http.Cookie {
	return (&http.Response{Header: x.Header}).Cookies()
}

// each makes a rule for all cookies out of one for a cookie.
func each(broken func(*exchange, *http.Cookie) string) func(*exchange) string {
	return func(x *exchange) string {
		for _, c := range x.cookies() {
			if wrong := broken(x, c); wrong != "" {
				return c.Name + ": " + wrong
			}
		}
		return ""
	}
}
