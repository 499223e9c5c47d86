package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/operator"
)

// TestConsoleIsMounted is S88: the console answers on the admin listener alone. It
// knows by itself who comes, so it wants no token; on loopback it wants a host that
// only somebody on this machine would use.
func TestConsoleIsMounted(t *testing.T) {
	t.Parallel()
	for _, guarded := range []bool{false, true} {
		w := newWorld(t, func(w *world) {
			w.options.Guarded = guarded
			w.options.Console = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusTeapot) })
		})
		s := api.New(w.options)
		beyond := http.StatusMisdirectedRequest
		if guarded {
			beyond = http.StatusTeapot
		}
		for _, path := range []string{"/console", "/console/", "/console/sign-in", "/console/assets/x.css"} {
			for host, want := range map[string]int{"127.0.0.1:4434": http.StatusTeapot, "localhost": http.StatusTeapot, "[::1]:4434": http.StatusTeapot, "rebound.example": beyond} {
				if got := answer(s.Admin(), path, host); got != want {
					t.Errorf("guarded %t: GET %s of %s = %d, want %d", guarded, path, host, got, want)
				}
			}
			for _, host := range []string{"127.0.0.1:4433", "localhost", "id.example"} {
				if got := answer(s.Public(), path, host); got != http.StatusNotFound {
					t.Errorf("guarded %t: GET %s of the public listener = %d, want %d", guarded, path, got, http.StatusNotFound)
				}
			}
		}
	}
}

// TestAnOperatorActsWithoutAToken: what the console asks for is done in the
// operator's name, and only this process can say so.
func TestAnOperatorActsWithoutAToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.options.Guarded = true })
	admin := w.server.Admin()
	r := httptest.NewRequest(http.MethodGet, "/admin/identities", nil)
	rec := httptest.NewRecorder()
	admin.ServeHTTP(rec, r.WithContext(api.ActingAs(t.Context(), "admin:ann", operator.ScopeOperator)))
	if rec.Code != http.StatusOK {
		t.Errorf("GET as an operator = %d, want 200: %s", rec.Code, rec.Body)
	}
	if acts := w.journal.acts(); len(acts) != 1 || !strings.HasPrefix(acts[0], "admin:ann ") {
		t.Errorf("events = %q, want one of admin:ann", acts)
	}
	if got := answer(admin, "/admin/identities", "127.0.0.1:4434"); got != http.StatusUnauthorized {
		t.Errorf("GET without either = %d, want 401", got)
	}
}

// TestWhatIsMountedSharesTheServer: what was asked by the console, or by anybody else,
// is told of once, as the server remembers it.
func TestWhatIsMountedSharesTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, ann := annas(t, w.admin())
	timeline := "/admin/identities/" + ann + "/timeline"
	asked := w.server.Admin()
	w.server.Mount(nil, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.URL.Path = timeline
		asked.ServeHTTP(rw, r)
	}))
	for _, path := range []string{"/console/", timeline, "/console/"} {
		if got := answer(w.server.Admin(), path, "127.0.0.1:4434"); got != http.StatusOK {
			t.Errorf("GET %s = %d, want 200", path, got)
		}
	}
	if acts := w.journal.acts(); len(acts) != 1 {
		t.Errorf("events = %q, want one of what the server was asked by all", acts)
	}
}

func answer(h http.Handler, path, host string) int {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = host
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec.Code
}
