package api

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// AdminTokenPrefix begins every token of an administrator.
const AdminTokenPrefix = "usher_at_"

const (
	maxAdminToken = 128

	scopeAdmin   = "admin"
	scopeEvents  = "events:read"
	scopeMetrics = "metrics"

	localActor = "admin:local"
)

// guard keeps the admin listener. Beyond loopback every guarded route wants a
// bearer token. On loopback everybody may ask, but not the pages of browsers:
// neither from another origin nor by a name that somebody else points here.
func (s *Server) guard(x *exchange, k kind) error {
	if k&operators != 0 && !s.Guarded && !local(x.r.Host, x.settings.adminHost) {
		return errHost
	}
	if k&guarded == 0 {
		return nil
	}
	if actor, ok := x.r.Context().Value(actorKey{}).(string); ok {
		x.actor = actor
		return nil
	}
	var origins http.CrossOriginProtection
	if origins.Check(x.r) != nil {
		return errHost
	}
	if !s.Guarded {
		x.actor = localActor
		if !local(x.r.Host, x.settings.adminHost) {
			return errHost
		}
		return nil
	}
	text, ok := bearer(x.r.Header)
	if !ok || !strings.HasPrefix(text, AdminTokenPrefix) || len(text) > maxAdminToken {
		return errNoToken
	}
	name, scope, ok, err := s.Tokens.AdminToken(x.r.Context(), sha256.Sum256([]byte(text)))
	if err != nil {
		return fmt.Errorf("admin token: %w", err)
	}
	if !ok {
		return errNoToken
	}
	if !covers(scope, k) {
		return errScope
	}
	x.actor = "admin:" + name
	return nil
}

type actorKey struct{}

// ActingAs gives a context whose requests to [Server.Admin] are those of an actor
// that this process knows, such as an operator of the console. It stands for a token.
func ActingAs(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

func covers(scope string, k kind) bool {
	switch scope {
	case scopeAdmin:
		return true
	case scopeEvents:
		return k&readsEvents != 0
	case scopeMetrics:
		return k&readsMetrics != 0
	}
	return false
}

// local tells whether a Host header is one that only somebody on this machine
// would use: an address, localhost, or what the admin base URL says.
func local(host, configured string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	_, err := netip.ParseAddr(name)
	return err == nil || name == "" || name == "localhost" || name == strings.ToLower(configured)
}
