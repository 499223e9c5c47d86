package api_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/api"
)

// gated are the submits that the gates stand before, each with one that passes.
var gated = map[string]func(token string) string{
	routeRegistration: func(token string) string { return submitBody(token, uuid.NewString()+"@example.org", goodPassword) },
	routeLogin:        func(token string) string { return loginBody(token, "known@example.org", goodPassword) },
	routeVerification: func(token string) string { return emailBody(token, "known@example.org") },
}

// TestBrowserGates is S58: what the browser says of the page, and the token.
func TestBrowserGates(t *testing.T) {
	t.Parallel()
	for route, body := range gated {
		t.Run(route, func(t *testing.T) {
			t.Parallel()
			testBrowserGates(t, route, body)
		})
	}
}

func testBrowserGates(t *testing.T, route string, body func(token string) string) {
	w := newWorld(t, func(w *world) {
		w.settings.CORS = api.CORS{Enabled: true, Origins: []string{"https://cors.example"}, Credentials: true}
	})
	w.signUp("known@example.org")
	const ui, foreign = "http://127.0.0.1:4455", "https://evil.example"
	other := w.browser().begin(route)
	for _, tt := range []struct {
		name   string
		token  func(shown) string
		header []string
		status int
	}{
		{"token alone", shown.csrf, nil, 200},
		{"token in the header", nil, []string{"X-CSRF-Token", "token"}, 200},
		{"same origin", shown.csrf, []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://127.0.0.1:4433"}, 200},
		{"origin alone", shown.csrf, []string{"Origin", "http://127.0.0.1:4433"}, 200},
		{"page of the UI", shown.csrf, []string{"Sec-Fetch-Site", "same-site", "Origin", ui}, 200},
		{"page of the UI, origin alone", shown.csrf, []string{"Origin", ui}, 200},
		{"page of a return URL", shown.csrf, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://a.apps.example.com"}, 200},
		{"page of a CORS origin", shown.csrf, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://cors.example"}, 200},
		{"typed by the person", shown.csrf, []string{"Sec-Fetch-Site", "none"}, 200},
		{"hidden origin of the same site", shown.csrf, []string{"Sec-Fetch-Site", "same-origin", "Origin", "null"}, 200},

		{"foreign page", shown.csrf, []string{"Sec-Fetch-Site", "cross-site", "Origin", foreign}, 403},
		{"foreign page, origin alone", shown.csrf, []string{"Origin", foreign}, 403},
		{"foreign page without an origin", shown.csrf, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"sibling without an origin", shown.csrf, []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"hidden origin", shown.csrf, []string{"Origin", "null"}, 403},
		{"other port", shown.csrf, []string{"Origin", "http://127.0.0.1:4456"}, 403},
		{"other scheme", shown.csrf, []string{"Origin", "https://127.0.0.1:4455"}, 403},
		{"domain of the list itself", shown.csrf, []string{"Origin", "https://apps.example.com"}, 403},
		{"no token", nil, nil, 403},
		{"empty token in the header", nil, []string{"X-CSRF-Token", " "}, 403},
		{"token of another flow", func(shown) string { return other.csrf() }, nil, 403},
		{"token of this browser's earlier flow", func(shown) string { return "earlier" }, nil, 403},
		{"changed token", func(f shown) string { return "A" + f.csrf()[1:] }, nil, 403},
		{"half a token", func(f shown) string { return f.csrf()[:43] }, nil, 403},
		{"cookie as token", func(shown) string { return "cookie" }, nil, 403},
	} {
		c := w.browser()
		earlier, f := c.begin(route), c.begin(route)
		token := ""
		if tt.token != nil {
			token = tt.token(f)
		}
		switch token {
		case "cookie":
			token = cookieValue(c, w.compiled.CSRFCookieName())
		case "earlier":
			token = earlier.csrf()
		}
		header := slices.Clone(tt.header)
		for n := range header {
			if header[n] == "token" {
				header[n] = f.csrf()
			}
		}
		if tt.name == "changed token" && f.csrf()[0] == 'A' {
			continue
		}
		g := c.postJSON(f.at(route), body(token), header...)
		if g.status != tt.status {
			t.Errorf("%s: submit = %d %s, want %d", tt.name, g.status, g.body, tt.status)
		}
		if tt.status == 403 && g.shown(t).Error.ID != "security_csrf_violation" {
			t.Errorf("%s: submit = %s, want security_csrf_violation", tt.name, g.body)
		}
	}
}

func TestTokenNeedsItsCookie(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	victim, attacker := w.browser(), w.browser()
	f := attacker.browserFlow()
	victim.browserFlow()
	if g := victim.postJSON(f.submit(), submitBody(f.csrf(), "a@example.org", goodPassword)); g.status != 403 {
		t.Errorf("submit of another browser's flow = %d, want 403", g.status)
	}
	if g := w.app().postJSON(f.submit(), submitBody(f.csrf(), "a@example.org", goodPassword)); g.status != 403 {
		t.Errorf("submit without a cookie = %d, want 403", g.status)
	}
	// What is wrong with a body is nobody's business but the browser's that began the flow.
	for _, body := range []string{"{", `{"method":"x"}`} {
		if g := victim.postJSON(f.submit(), body); g.status != 403 {
			t.Errorf("submit of %s to another browser's flow = %d, want 403", body, g.status)
		}
	}
}

// TestNativeGate is S59.
func TestNativeGate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signUp("known@example.org")
	for _, tt := range []struct {
		header []string
		status int
	}{
		{[]string{}, 200},
		{[]string{"Cookie", "__cf_bm=1; _cfuvid=2; cf_clearance=3"}, 200},
		{[]string{"Cookie", "a=b"}, 400},
		{[]string{"Cookie", "__cf_bm=1; a=b"}, 400},
		{[]string{"Cookie", "nonsense"}, 400},
		{[]string{"Cookie", ";"}, 400},
		{[]string{"Origin", "http://127.0.0.1:4433"}, 400},
		{[]string{"Origin", "null"}, 400},
	} {
		c := w.app()
		for route, body := range gated {
			g := c.postJSON(c.begin(route).at(route), body(""), tt.header...)
			if g.status != tt.status {
				t.Errorf("native submit at %s with %q = %d %s, want %d", route, tt.header, g.status, g.body, tt.status)
				continue
			}
			if tt.status == 400 && (len(g.shown(t).UI.Messages) != 1 || g.shown(t).UI.Messages[0].ID != 4000001) {
				t.Errorf("native submit at %s with %q = %s, want the flow with 4000001", route, tt.header, g.body)
			}
		}
	}
}

func TestBrowserFlowsRefuseTokenHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, header := range [][]string{{"X-Session-Token", "x"}, {"Authorization", "Bearer x"}} {
		for route, body := range gated {
			c := w.browser()
			f := c.begin(route)
			if g := c.postJSON(f.at(route), body(f.csrf()), header...); g.status != 400 {
				t.Errorf("submit at %s with %q = %d %s, want 400", route, header, g.status, g.body)
			}
		}
	}
}

func TestCSRFCookie(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.settings.CSRFCookie.Secure = true })
	const name = "csrf_token_806060ca5bf70dff3caa0e5c860002aade9d470a5a4dce73bcfa7ba10778f481" // SHA-256 of the public base URL
	if got := w.compiled.CSRFCookieName(); got != name {
		t.Fatalf("cookie name %q, want %q", got, name)
	}
	c := w.app()
	for path, want := range map[string]bool{
		routeRegistration + "/browser": true, routeRegistration + "/flows": true, "/schemas": true, "/self-service/errors?id=stub:500": true, "/nowhere": true,
		routeLogin + "/browser": true, routeLogin + "/flows": true, routeVerification + "/browser": true, routeVerification + "/flows": true, routeLogout + "/browser": true,
		routeLogin + "/api": false, routeLogin: false, routeVerification + "/api": false, routeVerification: false, routeLogout: false, "/sessions": false,
		routeRegistration + "/api": false, routeRegistration: false, "/sessions/whoami": false, "/health/alive": false, "/health/ready": false, "/health/accepting": false,
	} {
		cookie := c.get(path).header.Get("Set-Cookie")
		if (cookie != "") != want {
			t.Errorf("GET %s sets %q, want a CSRF cookie: %v", path, cookie, want)
		}
		if want && (!strings.HasPrefix(cookie, name+"=") || !strings.HasSuffix(cookie, "; Path=/; Max-Age=31536000; HttpOnly; Secure; SameSite=Lax")) {
			t.Errorf("GET %s sets %q, want the contract's attributes", path, cookie)
		}
	}
	b := w.browser()
	b.get("/schemas")
	if cookie := b.get(routeRegistration + "/browser").header.Get("Set-Cookie"); strings.Contains(cookie, name) {
		t.Errorf("a browser that has the cookie gets another one: %q", cookie)
	}
	if _, ok := api.BrowserSecret("nonsense"); ok {
		t.Error("a cookie of another form is taken")
	}
}
