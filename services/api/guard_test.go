package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/api/apitest"
	"github.com/usher-auth/usher/services/operator"
)

// What not everybody may whom the listener knows. All else is for operators, owners
// and tokens of the scope admin alike.
var (
	// ownersRoutes hold, make, change or take secrets.
	ownersRoutes = []string{
		"POST /admin/hooks", "DELETE /admin/hooks/{name}", "POST /admin/hooks/{name}/rotate",
		"POST /admin/webhooks", "DELETE /admin/webhooks/{name}", "POST /admin/webhooks/{name}/rotate", "POST /admin/webhooks/{name}/rotate/finish",
		"GET /debug/pprof/{profile}",
	}
	eventsRoutes = []string{
		"GET /admin/events", "GET /admin/events/{id}", "GET /admin/events/stream", "GET /admin/audit/checkpoints", "GET /admin/audit/export",
	}
	metricsRoutes = []string{"GET /metrics"}
	// openRoutes tell nothing; the console knows by itself who comes.
	openRoutes = []string{
		"GET /health/alive", "GET /health/ready", "GET /health/accepting", "GET /admin/health/alive", "GET /admin/health/ready", "GET /console", "GET /console/",
	}
)

// TestScopesOfAllRoutes is who may do what: each route of the admin listener, whatever
// asks it. That the console has a table of its own lets nobody do more here.
func TestScopesOfAllRoutes(t *testing.T) {
	t.Parallel()
	mounted := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	w := newWorld(t, withHooks(&hookDesk{}), withSettings(&settingsDesk{}), func(w *world) {
		w.options.Guarded, w.options.Console, w.options.Plan, w.options.Metrics = true, mounted, mounted, mounted
		w.options.Profile = func(string) http.Handler { return mounted }
	})
	admin := w.server.Admin()
	routes := api.Routes(admin)
	for _, special := range slices.Concat(ownersRoutes, eventsRoutes, metricsRoutes, openRoutes) {
		if !slices.Contains(routes, special) {
			t.Errorf("there is no route %s", special)
		}
	}
	for _, route := range routes {
		open, owned := slices.Contains(openRoutes, route), slices.Contains(ownersRoutes, route)
		for who, may := range map[string]bool{
			"":                                open,
			"token usher_at_unknown":          open,
			"token usher_at_root":             true,
			"token usher_at_events":           open || slices.Contains(eventsRoutes, route),
			"token usher_at_metrics":          open || slices.Contains(metricsRoutes, route),
			"scope " + operator.ScopeAdmin:    true,
			"scope another":                   open,
			"scope " + operator.ScopeEvents:   open || slices.Contains(eventsRoutes, route),
			"scope " + operator.ScopeOperator: !owned,
		} {
			status := asking(t, admin, route, who)
			if refused := status == http.StatusUnauthorized || status == http.StatusForbidden; refused == may {
				t.Errorf("%s as %q = %d, want it answered: %t", route, who, status, may)
			}
		}
	}
}

// TestTheDocumentNamesOwnersRoutes, so that who reads it knows before they are refused.
func TestTheDocumentNamesOwnersRoutes(t *testing.T) {
	t.Parallel()
	if got, want := apitest.OwnersOperations(), slices.Sorted(slices.Values(ownersRoutes)); !slices.Equal(got, want) {
		t.Errorf("schemas/openapi.yaml gives owners alone %q, want %q", got, want)
	}
}

// TestOnlyOwnersSeeCredentials, whatever the method that answers with an identity.
func TestOnlyOwnersSeeCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := "/admin/identities/{id}?include_credential=password"
	for _, route := range []string{"GET " + one, "PUT " + one, "PATCH " + one, "GET /admin/identities?include_credential=password", "HEAD " + one} {
		if got := asking(t, w.server.Admin(), route, "scope "+operator.ScopeOperator); got != http.StatusForbidden {
			t.Errorf("%s as an operator = %d, want 403", route, got)
		}
		if got := asking(t, w.server.Admin(), route, "scope "+operator.ScopeAdmin); got == http.StatusForbidden {
			t.Errorf("%s as an owner = %d, want it answered", route, got)
		}
	}
}

// asking gives the status of a route to who asks: "token TEXT", "scope NAME" or nobody.
func asking(t *testing.T, h http.Handler, route, who string) (status int) {
	t.Helper()
	method, path, _ := strings.Cut(route, " ")
	path = strings.NewReplacer("{id}", uuid.NewString(), "{name}", "crm", "{hook}", "crm", "{event}", uuid.NewString()).Replace(path)
	r := httptest.NewRequest(method, path, strings.NewReader("{}"))
	r.Header.Set("Content-Type", "application/json")
	if strings.HasSuffix(path, "/stream") { // which goes on until nobody listens
		over, end := context.WithCancel(t.Context())
		end()
		r = r.WithContext(over)
	}
	switch kind, name, _ := strings.Cut(who, " "); kind {
	case "token":
		r.Header.Set("Authorization", "Bearer "+name)
	case "scope":
		r = r.WithContext(api.ActingAs(r.Context(), "admin:ann", name))
	}
	rec := httptest.NewRecorder()
	defer func() {
		status = rec.Code
		if cause := recover(); cause != nil {
			if abort, ok := cause.(error); !ok || !errors.Is(abort, http.ErrAbortHandler) { // half an answer is one
				panic(cause)
			}
		}
	}()
	h.ServeHTTP(rec, r)
	return rec.Code
}
