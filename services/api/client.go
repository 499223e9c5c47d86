package api

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/webhook"
)

const maxUserAgent = 512

// client is what the use cases know of whoever sent the request.
func (x *exchange) client() flow.Client {
	h := x.r.Header
	return flow.Client{
		Addr:        clientAddr(x.r.RemoteAddr, h["X-Forwarded-For"], x.settings.TrustedProxies),
		UserAgent:   userAgent(h.Get("User-Agent")),
		RequestID:   x.id,
		TraceParent: x.traceParent(),
	}
}

// ClientAddr is the address, without a port, of whoever sent a request that came to
// one of the listeners: the peer's, or what a trusted proxy says.
func (c *Compiled) ClientAddr(r *http.Request) string {
	addr := clientAddr(r.RemoteAddr, r.Header["X-Forwarded-For"], c.TrustedProxies)
	if ip, ok := parseAddr(addr); ok {
		return ip.String()
	}
	return addr
}

// shown is what hook bodies may see of the request.
func (x *exchange) shown() webhook.Request {
	header := make(http.Header, len(x.settings.headers))
	for _, name := range x.settings.headers {
		for _, value := range x.r.Header[name] {
			header[name] = append(header[name], strings.ToValidUTF8(value, "\uFFFD"))
		}
	}
	return webhook.Request{
		Method:  x.r.Method,
		URL:     x.url(),
		Header:  header,
		Cookies: x.foreignCookies(),
	}
}

// shownLink is [exchange.shown] of a link in a mail: without the code or token, which
// may stand in the address of the page before too.
func (x *exchange) shownLink(f *flow.Flow) webhook.Request {
	r := x.shown()
	r.URL = x.settings.public + route(f.Kind) + "?flow=" + f.ID.String()
	r.Header.Del("Referer")
	return r
}

// url is the absolute URL that was asked for, as the client knows it.
func (x *exchange) url() string {
	return x.settings.public + escapeBytes(x.r.URL.RequestURI())
}

// foreignCookies are the cookies that are not ours: ours are secrets.
func (x *exchange) foreignCookies() map[string]string {
	cookies := map[string]string{}
	for _, c := range x.r.Cookies() {
		if c.Name != x.settings.SessionCookie.Name && c.Name != x.settings.csrfCookie && c.Name != continuityCookie {
			cookies[c.Name] = strings.ToValidUTF8(c.Value, "\uFFFD")
		}
	}
	return cookies
}

// userAgent is short enough and valid enough to be stored.
func userAgent(sent string) string {
	if len(sent) > maxUserAgent {
		sent = sent[:maxUserAgent]
	}
	return strings.ToValidUTF8(sent, "")
}

// clientAddr is whom the request comes from: the peer, or, where the peer is
// a trusted proxy, the right-most hop that is not one. What a client writes
// into the header itself stands to the left of that and is never believed.
func clientAddr(peer string, forwarded []string, trusted []netip.Prefix) string {
	if len(trusted) == 0 || !trusts(trusted, peer) {
		return peer
	}
	believed := peer
	for n := len(forwarded) - 1; n >= 0; n-- {
		hops := strings.Split(forwarded[n], ",")
		for m := len(hops) - 1; m >= 0; m-- {
			hop := strings.TrimSpace(hops[m])
			addr, ok := parseAddr(hop)
			if !ok {
				return believed
			}
			believed = addr.String()
			if !trusts(trusted, hop) {
				return believed
			}
		}
	}
	return believed
}

func trusts(trusted []netip.Prefix, hop string) bool {
	addr, ok := parseAddr(hop)
	if !ok {
		return false
	}
	for _, p := range trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// parseAddr reads an address with or without a port.
func parseAddr(s string) (netip.Addr, bool) {
	if with, err := netip.ParseAddrPort(s); err == nil {
		return with.Addr().Unmap().WithZone(""), true
	}
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return addr.Unmap().WithZone(""), err == nil
}
