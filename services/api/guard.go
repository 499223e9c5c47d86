package api

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/usher-auth/usher/services/operator"
)

// AdminTokenPrefix begins every token of an administrator.
const AdminTokenPrefix = operator.TokenPrefix

const (
	maxAdminToken = 128
	localActor    = "admin:local"
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
	if by, ok := x.r.Context().Value(actorKey{}).(acting); ok {
		x.actor = by.actor
		return covers(by.scope, k, x.r)
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
	x.actor = "admin:" + name
	return covers(scope, k, x.r)
}

type actorKey struct{}

// acting is who asks from within this process, and for what.
type acting struct{ actor, scope string }

// ActingAs gives a context whose requests to [Server.Admin] are those of an actor
// that this process knows, such as an operator of the console, with what their scope
// covers: see [operator.Session.Scope]. It stands for a token.
func ActingAs(ctx context.Context, actor, scope string) context.Context {
	return context.WithValue(ctx, actorKey{}, acting{actor, scope})
}

// covers refuses what a scope does not cover.
func covers(scope string, k kind, r *http.Request) error {
	covered := false
	switch scope {
	case operator.ScopeAdmin:
		covered = true
	case operator.ScopeOperator:
		if ownersOnly(k, r) {
			return errOwner
		}
		covered = true
	case operator.ScopeEvents:
		covered = k&readsEvents != 0
	case operator.ScopeMetrics:
		covered = k&readsMetrics != 0
	}
	if !covered {
		return errScope
	}
	return nil
}

// ownersOnly tells what an operator may not: to make, change or take secrets and what
// holds them, to see credentials, and to look into the process.
func ownersOnly(k kind, r *http.Request) bool {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	return k&owned != 0 && (!reads || k&acts != 0) || k&secretive != 0 && r.URL.Query().Has(includeCredential)
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
