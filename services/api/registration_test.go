package api_test

import (
	"bytes"
	"crypto/sha256"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/identity"
)

func sortByID(all []identity.Identity) {
	slices.SortFunc(all, func(a, b identity.Identity) int { return bytes.Compare(a.ID[:], b.ID[:]) })
}

var adminTokens = map[[32]byte]string{
	sha256.Sum256([]byte("usher_at_root")):    "admin",
	sha256.Sum256([]byte("usher_at_events")):  "events:read",
	sha256.Sum256([]byte("usher_at_metrics")): "metrics",
}

func TestInit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const ui = "http://127.0.0.1:4455/registration?flow="
	for _, tt := range []struct {
		path, accept string
		status       int
	}{
		{"/api", "", 200},
		{"/api", "*/*", 200},
		{"/api", "text/html", 200},
		{"/api", "application/json", 200},
		{"/browser", "", 303},
		{"/browser", "*/*", 303},
		{"/browser", "text/html", 303},
		{"/browser", "application/json", 200},
	} {
		c := w.app()
		g := c.get(routeRegistration+tt.path, "Accept", tt.accept)
		cookies := strings.Join(g.header.Values("Set-Cookie"), "\n")
		if g.status != tt.status {
			t.Errorf("init %s with Accept %q = %d, want %d", tt.path, tt.accept, g.status, tt.status)
		}
		if browser := tt.path == "/browser"; strings.Contains(cookies, "csrf_token_") != browser {
			t.Errorf("init %s sets cookies %q, want a CSRF cookie: %v", tt.path, cookies, browser)
		}
		if location := g.header.Get("Location"); tt.status == 303 && !strings.HasPrefix(location, ui) {
			t.Errorf("init %s leads to %q, want %s", tt.path, location, ui)
		}
	}
}

func TestInitShowsTheFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.browser().browserFlow("?return_to=http://127.0.0.1:4455/x&aal=&organization=")
	if f.Type != "browser" || f.ReturnTo != "http://127.0.0.1:4455/x" || f.UI.Action != strings.TrimSuffix(publicURL, "/")+f.submit() || f.csrf() == "" {
		t.Errorf("browser flow = %+v, want type, return_to, action and CSRF token", f)
	}
	a := w.app().nativeFlow()
	if a.Type != "api" || a.csrf() != "" || len(a.messages()) != 0 {
		t.Errorf("native flow = %+v, want type api and an empty CSRF node", a)
	}
}

func TestInitRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		query, id string
		change    func(*world)
	}{
		{"?return_to=https://evil.example/", "self_service_flow_return_to_forbidden", nil},
		{"?after_verification_return_to=//evil.example/", "self_service_flow_return_to_forbidden", nil},
		{"?identity_schema=other", "", nil},
		{"", "self_service_flow_disabled", func(w *world) { w.settings.Registration.Enabled = false }},
	} {
		change := tt.change
		if change == nil {
			change = func(*world) {}
		}
		w := newWorld(t, change)
		c := w.browser()
		g := c.get(routeRegistration+"/browser"+tt.query, "Accept", "application/json")
		if s := g.shown(t); g.status != 400 || s.Error.ID != tt.id || s.Error.Code != 400 {
			t.Errorf("init %s = %d %s, want 400 %s", tt.query, g.status, g.body, tt.id)
		}
		g = c.get(routeRegistration+"/browser"+tt.query, "Accept", "text/html")
		id, ok := strings.CutPrefix(g.header.Get("Location"), "http://127.0.0.1:4455/error?id=")
		if g.status != 303 || !ok {
			t.Fatalf("init %s for a page = %d to %q, want the error page", tt.query, g.status, g.header.Get("Location"))
		}
		if g = c.get("/self-service/errors?id=" + id); g.status != 200 || g.shown(t).Error.ID != tt.id {
			t.Errorf("saved error = %d %s, want %s", g.status, g.body, tt.id)
		}
	}
}

func TestSchemaCanBeChosenIfItIsSelectable(t *testing.T) {
	t.Parallel()
	other, err := identity.Compile("other", []byte(personSchema))
	if err != nil {
		t.Fatal(err)
	}
	for _, selectable := range []bool{true, false} {
		w := newWorld(t, func(w *world) {
			list := w.inForce.Schemas.(schemas)
			w.inForce.Schemas = append(list, configured{other, api.Schema{ID: "other", Raw: other.Raw(), Selectable: selectable}})
		})
		want := 400
		if selectable {
			want = 200
		}
		if g := w.app().get(routeRegistration + "/api?identity_schema=other"); g.status != want {
			t.Errorf("init with a schema, selectable %v = %d, want %d", selectable, g.status, want)
		}
		if g := w.app().get(routeRegistration + "/api?identity_schema=person"); g.status != 200 {
			t.Errorf("init with the default schema = %d, want 200", g.status)
		}
	}
}

func TestFetch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser()
	f := c.browserFlow("?return_to=http://127.0.0.1:4455/x")
	path := routeRegistration + "/flows?id="
	g := c.get(path + f.ID)
	if again := g.shown(t); g.status != 200 || again.ID != f.ID || again.csrf() == f.csrf() {
		t.Errorf("fetch = %d %s, want the flow with another text of the token", g.status, g.body)
	}
	if g := w.browser().get(path + f.ID); g.status != 403 || g.shown(t).Error.ID != "security_csrf_violation" {
		t.Errorf("fetch by somebody else = %d %s, want 403", g.status, g.body)
	}
	for _, id := range []string{uuid.NewString(), "x", ""} {
		if g := c.get(path + id); g.status != 404 {
			t.Errorf("fetch of %q = %d, want 404", id, g.status)
		}
	}
	native := w.app().nativeFlow()
	if g := w.app().get(path + native.ID); g.status != 200 {
		t.Errorf("fetch of a native flow = %d, want 200", g.status)
	}

	w.expire(f.ID)
	w.expire(native.ID)
	g = c.get(path + f.ID)
	s := g.shown(t)
	again := publicURL + "self-service/registration/browser?return_to=" + url.QueryEscape("http://127.0.0.1:4455/x")
	if g.status != 410 || s.Error.ID != "self_service_flow_expired" || s.Error.Details["redirect_to"] != again || s.Error.Details["return_to"] != "http://127.0.0.1:4455/x" {
		t.Errorf("fetch of a dead flow = %d %s, want 410 with redirect_to %s", g.status, g.body, again)
	}
	if g := w.app().get(path + native.ID); g.status != 410 || g.shown(t).Error.Details["api"] != publicURL+"self-service/registration/api" {
		t.Errorf("fetch of a dead native flow = %d %s, want 410 with api", g.status, g.body)
	}
}

func (w *world) expire(id string) {
	defer w.lock()()
	f := w.flows[uuid.MustParse(id)]
	f.ExpiresAt = time.Now().Add(-time.Minute).UTC()
	w.flows[f.ID] = f
}
