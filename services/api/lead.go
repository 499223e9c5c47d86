package api

import (
	"fmt"
	"net/http"
	"strings"
)

// Clients that take one listener for the other are led to it by 307, which keeps method
// and body: only to the base URL that is configured, and only where both have an
// endpoint for the method. What is asked for is not looked at here.

const (
	adminPrefix      = "/admin"
	routeSelfService = "/self-service/"
)

// leadToPublic leads from the admin listener to a self-service path.
func (s *Server) leadToPublic(x *exchange) error {
	return x.leadTo(x.settings.public, strings.TrimPrefix(x.r.URL.EscapedPath(), adminPrefix))
}

// leadToAdmin leads from the public listener to the admin one, if all the world may
// know where that is; else nothing is there.
func (s *Server) leadToAdmin(x *exchange) error {
	if !x.settings.TellAdminURL {
		return errUnknownRoute
	}
	return x.leadTo(x.settings.admin, x.r.URL.EscapedPath())
}

// leadTo leads to a path, which begins with a slash, below a base URL.
func (x *exchange) leadTo(base, path string) error {
	to := base + path
	if query := x.r.URL.RawQuery; query != "" {
		to += "?" + escaped(query)
	}
	x.redirect(http.StatusTemporaryRedirect, to)
	return nil
}

// escaped is a query as it was sent, but for what may stand in no URL.
func escaped(query string) string {
	var b strings.Builder
	for _, c := range []byte(query) {
		if c <= ' ' || c > '~' || strings.IndexByte("\"<>\\^`{|}#", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
