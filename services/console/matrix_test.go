package console_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/console"
	"github.com/usher-auth/usher/services/operator"
)

// may says what a route answers to nobody, to an operator and to an owner.
type may struct{ nobody, operator, owner int }

var (
	// public may be used by those who are not signed in, with the same answer to all.
	public = func(status int) may { return may{status, status, status} }
	// operators and owners are what is theirs alone; nobody is led to the sign-in.
	operators = func(status int) may { return may{http.StatusSeeOther, status, status} }
	owners    = func(status int) may { return may{http.StatusSeeOther, http.StatusForbidden, status} }
)

// matrix is who may do what: each route of the console has a row. The admin API
// behind it knows nothing, and there is an operator "x".
var matrix = map[string]may{
	"GET /console/{$}": operators(http.StatusOK),

	"GET /console/sign-in":   {http.StatusOK, http.StatusSeeOther, http.StatusSeeOther},
	"POST /console/sign-in":  public(http.StatusUnauthorized),
	"POST /console/sign-out": public(http.StatusSeeOther),
	"GET /console/set-up":    public(http.StatusGone),
	"POST /console/set-up":   public(http.StatusGone),

	"GET /console/password":  operators(http.StatusOK),
	"POST /console/password": operators(http.StatusBadRequest),

	"GET /console/operators":                owners(http.StatusOK),
	"POST /console/operators":               owners(http.StatusBadRequest),
	"GET /console/operators/{name}":         owners(http.StatusOK),
	"POST /console/operators/{name}/role":   owners(http.StatusBadRequest),
	"POST /console/operators/{name}/reset":  owners(http.StatusOK),
	"POST /console/operators/{name}/remove": owners(http.StatusSeeOther),
	"POST /console/tokens":                  owners(http.StatusBadRequest),
	"POST /console/tokens/remove":           owners(http.StatusNotFound),

	"GET /console/audit":                                      operators(http.StatusOK),
	"GET /console/audit/checkpoints":                          operators(http.StatusOK),
	"GET /console/audit/events/{event}":                       operators(http.StatusNotFound),
	"GET /console/audit/export":                               operators(http.StatusNotFound),
	"GET /console/audit/tail":                                 operators(http.StatusOK),
	"GET /console/audit/verify":                               operators(http.StatusSeeOther),
	"POST /console/audit/verify":                              operators(http.StatusNotFound),
	"GET /console/dead-letters":                               operators(http.StatusNotFound),
	"POST /console/dead-letters/discard":                      operators(http.StatusBadRequest),
	"POST /console/dead-letters/redeliver":                    operators(http.StatusBadRequest),
	"GET /console/dead-letters/{hook}/{event}":                operators(http.StatusNotFound),
	"GET /console/identities":                                 operators(http.StatusOK),
	"POST /console/identities/search":                         operators(http.StatusBadRequest),
	"GET /console/identities/{id}":                            operators(http.StatusNotFound),
	"POST /console/identities/{id}/delete":                    operators(http.StatusNotFound),
	"GET /console/identities/{id}/delete":                     operators(http.StatusNotFound),
	"POST /console/identities/{id}/disable":                   operators(http.StatusNotFound),
	"POST /console/identities/{id}/enable":                    operators(http.StatusNotFound),
	"POST /console/identities/{id}/recover":                   operators(http.StatusNotFound),
	"POST /console/identities/{id}/sessions/revoke":           operators(http.StatusNotFound),
	"POST /console/identities/{id}/sessions/{session}/revoke": operators(http.StatusNotFound),
	"GET /console/registrations":                              operators(http.StatusOK),
	"POST /console/registrations":                             operators(http.StatusSeeOther),
	"GET /console/registrations/stream":                       {http.StatusUnauthorized, http.StatusOK, http.StatusOK},
	"GET /console/registrations/{id}":                         operators(http.StatusNotFound),
	"GET /console/mail":                                       operators(http.StatusNotFound),
	"POST /console/mail":                                      operators(http.StatusNotFound),
	"GET /console/mail/{id}":                                  operators(http.StatusNotFound),
	"GET /console/overview.json":                              operators(http.StatusNotFound),
	"GET /console/sessions":                                   operators(http.StatusOK),
	"POST /console/sessions/{session}/revoke":                 operators(http.StatusNotFound),
	"POST /console/settings":                                  operators(http.StatusNotFound),
	"GET /console/settings":                                   operators(http.StatusOK),
	"GET /console/settings/compare":                           operators(http.StatusNotFound),
	"GET /console/settings/history":                           operators(http.StatusNotFound),
	"POST /console/settings/preview":                          operators(http.StatusNotFound),
	"GET /console/settings/preview":                           operators(http.StatusOK),
	"POST /console/settings/revert":                           operators(http.StatusNotFound),
	"GET /console/settings/revert":                            operators(http.StatusNotFound),
	"GET /console/workers":                                    operators(http.StatusOK),
	"POST /console/workers/new":                               owners(http.StatusNotFound),
	"GET /console/workers/new":                                owners(http.StatusOK),
	"GET /console/workers/{name}":                             operators(http.StatusNotFound),
	"POST /console/workers/{name}/check":                      operators(http.StatusNotFound),
	"POST /console/workers/{name}/credential":                 owners(http.StatusBadRequest),
	"POST /console/workers/{name}/enable":                     operators(http.StatusNotFound),
	"POST /console/workers/{name}/pause":                      operators(http.StatusNotFound),
	"POST /console/workers/{name}/remove":                     owners(http.StatusNotFound),
	"GET /console/workers/{name}/remove":                      owners(http.StatusNotFound),
	"POST /console/workers/{name}/replay":                     operators(http.StatusNotFound),
	"GET /console/workers/{name}/replay":                      operators(http.StatusOK),
	"POST /console/workers/{name}/resume":                     operators(http.StatusNotFound),
	"POST /console/workers/{name}/rotate":                     owners(http.StatusNotFound),
	"POST /console/workers/{name}/rotate/finish":              owners(http.StatusNotFound),
	"POST /console/workers/{name}/test":                       operators(http.StatusNotFound),
}

// request asks for a route, with x for whatever it leaves open.
func request(pattern string) *http.Request {
	method, path, _ := strings.Cut(pattern, " ")
	path = strings.ReplaceAll(path, "{$}", "")
	for strings.Contains(path, "{") {
		from, to := strings.Index(path, "{"), strings.Index(path, "}")
		path = path[:from] + "x" + path[to+1:]
	}
	r := httptest.NewRequest(method, path, nil)
	if method != http.MethodGet {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	return r
}

func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, pattern := range console.Patterns() {
		known[pattern] = true
		t.Run(pattern, func(t *testing.T) {
			t.Parallel()
			want, ok := matrix[pattern]
			if !ok {
				t.Error("the route has no row in the matrix: say who may do this")
			}
			over := make(chan struct{})
			close(over) // what moves by itself ends with the first answer
			w := newWorld(t, func(w *world) { w.options.Draining = over })
			p := w.real()
			signedIn := map[string]*browser{
				"nobody": w.browser(), "operator": w.signedIn(p, "bob", operator.RoleOperator), "owner": w.owner(p),
			}
			w.invite(p, "x", operator.RoleOperator)
			for _, c := range []struct {
				who  string
				want int
			}{{"nobody", want.nobody}, {"operator", want.operator}, {"owner", want.owner}} {
				w.asked = nil
				got := signedIn[c.who].do(request(pattern))
				if got.StatusCode != c.want {
					t.Errorf("%s: status = %d, want %d", c.who, got.StatusCode, c.want)
				}
				turnedAway := got.StatusCode == http.StatusForbidden || strings.HasPrefix(got.Header.Get("Location"), "/console/sign-in")
				if turnedAway && len(w.asked) > 0 {
					t.Errorf("%s: was turned away, but the admin API was asked %q", c.who, w.asked)
				}
			}
		})
	}
	for pattern := range matrix {
		if !known[pattern] {
			t.Errorf("the matrix has a row of %q, which is no route", pattern)
		}
	}
}

// TestForgedPosts: no post of another site, or of a browser that says nothing of
// where it comes from but another origin, does anything in the name of an owner.
func TestForgedPosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.real()
	owner := w.owner(p)
	w.invite(p, "x", operator.RoleOperator)
	owner.get("/console/") // takes the notice
	before := owner.get("/console/operators").text
	w.asked = nil
	for _, pattern := range console.Patterns() {
		if strings.HasPrefix(pattern, "GET ") {
			continue
		}
		for name, header := range map[string][2]string{
			"cross-site": {"Sec-Fetch-Site", "cross-site"}, "same-site": {"Sec-Fetch-Site", "same-site"},
			"another origin": {"Origin", "https://evil.example"}, "no origin": {"Origin", "null"}, "another port": {"Origin", "https://admin.example:8443"},
		} {
			r := request(pattern)
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Set(header[0], header[1])
			if got := owner.do(r); got.StatusCode != http.StatusForbidden {
				t.Errorf("%s from %s = %d, want %d", pattern, name, got.StatusCode, http.StatusForbidden)
			}
		}
	}
	if len(w.asked) > 0 {
		t.Errorf("the admin API was asked %q", w.asked)
	}
	if owner.get("/console/operators").text != before {
		t.Error("a forged post has changed who has access")
	}
}

// TestStalePosts: a form that was open for longer than the session does nothing, and
// its answer leads to the sign-in.
func TestStalePosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.real()
	owner := w.owner(p)
	w.invite(p, "x", operator.RoleOperator)
	w.now = w.now.Add(operator.SessionLife)
	for _, pattern := range console.Patterns() {
		if strings.HasPrefix(pattern, "GET ") || matrix[pattern].nobody != http.StatusSeeOther || pattern == "POST /console/sign-out" {
			continue
		}
		owner.do(request(pattern)).leads(t, "/console/sign-in")
		r := request(pattern)
		r.Header.Set("HX-Request", "true")
		if got := owner.do(r); got.StatusCode != http.StatusNoContent || got.Header.Get("HX-Redirect") != "/console/sign-in" {
			t.Errorf("%s of htmx = %d, want to be led to the sign-in", pattern, got.StatusCode)
		}
	}
	if len(w.asked) > 0 {
		t.Errorf("the admin API was asked %q", w.asked)
	}
	if all, err := p.List(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("operators = %+v, %v, want both", all, err)
	}
}

// TestLongForms: what is longer than any form is not read.
func TestLongForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.real()
	began := time.Now()
	w.browser().post("/console/sign-in", url.Values{"name": {strings.Repeat("a", 1<<20)}, "password": {"x"}}).wants(t, http.StatusUnauthorized)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a long form took %s", took)
	}
	for n := range 3 {
		w.browser().post("/console/sign-in", url.Values{"name": {fmt.Sprint(n)}, "password": {strings.Repeat("a", 100_000)}}).wants(t, http.StatusUnauthorized)
	}
}
