package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/api/apitest"
)

// TestEveryRouteIsDescribed compares what the listeners have with the document,
// both ways.
func TestEveryRouteIsDescribed(t *testing.T) {
	t.Parallel()
	mounted := http.NotFoundHandler()
	w := newWorld(t, withHooks(&hookDesk{}), withSettings(&settingsDesk{}), func(w *world) {
		w.options.Pages, w.options.Plan, w.options.Metrics = mounted, mounted, mounted
		w.options.Profile = func(string) http.Handler { return mounted }
	})
	missing := map[string]bool{}
	for l, h := range map[apitest.Listener]http.Handler{apitest.Public: w.server.Public(), apitest.Admin: w.server.Admin()} {
		built := map[string]bool{}
		for _, r := range api.Routes(h) {
			if strings.HasSuffix(r, "/") {
				r += "{page}" // what is below
			}
			if !strings.HasPrefix(r, http.MethodHead) { // is GET
				built[r] = true
			}
		}
		described := apitest.Operations(l)
		for _, d := range described {
			missing[d] = missing[d] || !built[d]
		}
		for r := range built {
			if !slices.Contains(described, r) {
				t.Errorf("schemas/openapi.yaml does not describe %s", r)
			}
		}
	}
	for d, is := range missing {
		if is {
			t.Errorf("schemas/openapi.yaml describes %s, which no listener has", d)
		}
	}
}
