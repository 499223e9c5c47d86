package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
)

// adminRoutes are all that take an id: {identity}, {session} or {message}. Status
// is the answer for the right kind of id, none that for an id of nothing.
var adminRoutes = []struct {
	method, path, body string
	status, none       int
}{
	{"GET", "/admin/identities/{identity}", "", 200, 404},
	{"PUT", "/admin/identities/{identity}", `{"traits":{"email":"anna@example.org"}}`, 200, 404},
	{"PATCH", "/admin/identities/{identity}", `[{"op":"add","path":"/metadata_public","value":1}]`, 200, 404},
	{"GET", "/admin/identities/{identity}/sessions", "", 200, 200},
	{"GET", "/admin/identities/{identity}/grants", "", 200, 404},
	{"GET", "/admin/identities/{identity}/timeline", "", 200, 404},
	{"GET", "/admin/sessions/{session}", "", 200, 404},
	{"PATCH", "/admin/sessions/{session}/extend", "", 200, 404},
	{"GET", "/admin/courier/messages/{message}", "", 200, 404},
	{"DELETE", "/admin/sessions/{session}", "", 204, 404},
	{"DELETE", "/admin/identities/{identity}/credentials/password", "", 400, 404}, // the last one
	{"DELETE", "/admin/identities/{identity}/sessions", "", 204, 404},
	{"DELETE", "/admin/identities/{identity}", "", 204, 404},
}

// TestAdminIDMatrix gives every route every kind of id. An id of another kind of
// thing is one of nothing, a malformed one too, and neither changes anything.
func TestAdminIDMatrix(t *testing.T) {
	t.Parallel()
	w := newWorld(t, atNoon, withMails)
	c := w.admin()
	_, anna := annas(t, c)
	ids := map[string]string{
		"{identity}": anna, "{session}": w.newSession(uuid.MustParse(anna), 0, false).String(), "{message}": w.mails[0].ID.String(),
		"unknown": uuid.NewString(), "zero": uuid.Nil.String(),
	}
	malformed := []string{"x", "0", anna + "0", anna[1:], "{" + anna + "}", "urn:uuid:" + anna, strings.ReplaceAll(anna, "-", ""), anna[:35] + "g", "%00", "..%2f" + anna, "*", "null", strings.Repeat("a", 2000)}
	for _, route := range adminRoutes {
		start := strings.Index(route.path, "{")
		own := route.path[start : strings.Index(route.path, "}")+1]
		for kind, id := range ids {
			if kind == own {
				continue
			}
			checkAdmin(t, c, route.method, strings.Replace(route.path, own, id, 1), route.body, route.none)
		}
		for _, id := range malformed {
			checkAdmin(t, c, route.method, strings.Replace(route.path, own, id, 1), route.body, 404)
		}
	}
	if g := c.get("/admin/identities/" + anna); g.status != 200 || strings.Contains(g.body, `"metadata_public":1`) || len(w.told)+len(w.ledger.told) != 0 {
		t.Errorf("ids of others have changed %s, events %v", g.body, w.told)
	}
	for _, route := range adminRoutes {
		path := route.path
		for kind, id := range ids {
			path = strings.Replace(path, kind, id, 1)
		}
		checkAdmin(t, c, route.method, path, route.body, route.status)
	}
}

func checkAdmin(t *testing.T, c *client, method, path, body string, want int) {
	t.Helper()
	if g := c.do(method, path, body, "Content-Type", "application/json"); g.status != want {
		t.Errorf("%s %.120s = %d %s, want %d", method, path, g.status, g.body, want)
	}
}

// TestAdminGuardEverywhere: every route that administrators have wants their
// scope where the listener can be reached, and none is on the public listener.
func TestAdminGuardEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withSettings(&settingsDesk{}), func(w *world) { w.options.Guarded = true })
	c, public := w.admin(), w.app()
	for _, route := range append(adminRoutes, []struct {
		method, path, body string
		status, none       int
	}{
		{method: "GET", path: "/admin/identities"},
		{method: "POST", path: "/admin/identities", body: `{"traits":{"email":"a@b.example"}}`},
		{method: "PATCH", path: "/admin/identities", body: `{"identities":[]}`},
		{method: "GET", path: "/admin/identities/by/external/crm-7"},
		{method: "GET", path: "/admin/sessions"},
		{method: "GET", path: "/admin/courier/messages"},
		{method: "GET", path: "/admin/settings"},
		{method: "PATCH", path: "/admin/settings", body: `{"revision":0,"set":{"sign_in_after_registration":false}}`},
		{method: "POST", path: "/admin/settings/preview", body: `{"set":{"sign_in_after_registration":false}}`},
		{method: "GET", path: "/admin/settings/history"},
		{method: "POST", path: "/admin/settings/revert", body: `{"revision":1,"to":0}`},
		{method: "GET", path: "/admin/webhooks"},
		{method: "POST", path: "/admin/webhooks", body: wantedWebhook},
		{method: "GET", path: "/admin/webhooks/crm"},
		{method: "POST", path: "/admin/webhooks/crm/test"},
		{method: "POST", path: "/admin/webhooks/crm/rotate"},
		{method: "POST", path: "/admin/webhooks/crm/rotate/finish"},
		{method: "POST", path: "/admin/webhooks/crm/enable"},
		{method: "DELETE", path: "/admin/webhooks/crm"},
	}...) {
		path := strings.NewReplacer("{identity}", uuid.NewString(), "{session}", uuid.NewString(), "{message}", uuid.NewString()).Replace(route.path)
		for token, want := range map[string]int{"": 401, "usher_at_unknown": 401, "usher_at_events": 403, "usher_at_metrics": 403} {
			if g := c.do(route.method, path, route.body, "Content-Type", "application/json", "Authorization", "Bearer "+token); g.status != want {
				t.Errorf("%s %s with %q = %d, want %d", route.method, route.path, token, g.status, want)
			}
		}
		if g := c.do(route.method, path, route.body, "Content-Type", "application/json", "Authorization", "Bearer usher_at_root"); g.status == 401 || g.status == 403 {
			t.Errorf("%s %s with the right token = %d, want it answered", route.method, route.path, g.status)
		}
		if g := public.do(route.method, path, route.body, "Content-Type", "application/json", "Authorization", "Bearer usher_at_root"); g.status != http.StatusNotFound {
			t.Errorf("%s %s on the public listener = %d, want 404", route.method, route.path, g.status)
		}
	}
	if len(w.identities) != 1 {
		t.Errorf("%d identities, want the one of the right token", len(w.identities))
	}
}

// TestAdminByteForByte: what administrators are shown.
func TestAdminByteForByte(t *testing.T) {
	t.Parallel()
	w := newWorld(t, atNoon, withMails)
	c := w.admin()
	result, _ := settled{true}.Register(t.Context(), registration.Submit{Flow: &flow.Flow{Type: flow.API}})
	i := *result.Identity
	i.Credentials[0].Config = []byte(`{"hashed_password":"$2a$12$x"}`)
	i.Credentials[0].CreatedAt, i.Credentials[0].UpdatedAt = noon, noon
	w.identities[i.ID] = &i
	w.ledger.all = []session.Session{*result.Session}
	w.mails = w.mails[:1]
	w.mails[0].ID = uuid.MustParse("5b4e28ba-2fa1-41d2-883f-0016d3cca427")
	identities, sessions := "/admin/identities", "/admin/sessions"
	one, its := identities+"/"+i.ID.String(), sessions+"/"+result.Session.ID.String()
	for name, g := range map[string]got{
		"identity":            c.get(one, "X-Request-Id", "golden"),
		"identity_secrets":    c.get(one+"?include_credential=password", "X-Request-Id", "golden"),
		"identities":          c.get(identities, "X-Request-Id", "golden"),
		"identities_numbered": c.get(identities+"?page=1&per_page=1", "X-Request-Id", "golden"),
		"identity_unknown":    c.get(identities+"/x", "X-Request-Id", "golden"),
		"sessions":            c.get(sessions, "X-Request-Id", "golden"),
		"sessions_of":         c.get(one+"/sessions", "X-Request-Id", "golden"),
		"session":             c.get(its+"?expand=identity&expand=devices", "X-Request-Id", "golden"),
		"session_unknown":     c.get(sessions+"/x", "X-Request-Id", "golden"),
		"session_revoked":     c.do("DELETE", its, "", "X-Request-Id", "golden"),
		"messages":            c.get("/admin/courier/messages", "X-Request-Id", "golden"),
	} {
		compareGolden(t, "testdata/admin_"+name+".golden", written(g))
	}
}
