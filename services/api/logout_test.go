package api_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"math/big"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
)

const routeLogout = "/self-service/logout"

// logoutLink asks for the link that ends the browser's session.
func (c *client) logoutLink(query ...string) (link, token string) {
	c.t.Helper()
	g := c.get(routeLogout + "/browser" + strings.Join(query, ""))
	var answer struct {
		URL   string `json:"logout_url"`
		Token string `json:"logout_token"`
	}
	if err := json.Unmarshal([]byte(g.body), &answer); err != nil || g.status != 200 {
		c.t.Fatalf("logout init = %d %s, want 200", g.status, g.body)
	}
	return strings.TrimPrefix(answer.URL, strings.TrimSuffix(publicURL, "/")), answer.Token
}

func TestLogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) {
		w.settings.Logout.ReturnURL = ui + "bye"
		w.settings.Logout.ClearBrowserData = true // but only over TLS
	})
	w.signUp("a@example.org")
	for _, tt := range []struct {
		query, accept string
		status        int
		location      string
	}{
		{"", "application/json", 204, ""},
		{"", "text/html", 303, ui + "bye"},
		{"", "", 303, ui + "bye"},
		{"?return_to=" + url.QueryEscape(ui+"x?a=b&c=d"), "text/html", 303, ui + "x?a=b&c=d"},
	} {
		c := w.browser()
		c.signIn("a@example.org")
		session := "ory_kratos_session=" + cookieValue(c, "ory_kratos_session")
		csrf := cookieValue(c, w.compiled.CSRFCookieName())
		link, token := c.logoutLink(tt.query)
		if !strings.HasPrefix(token, "ory_lo_") || len(token) != len("ory_lo_")+32 || !strings.HasPrefix(link, routeLogout+"?token="+token) {
			t.Fatalf("logout init = %q, %q, want a link with its token", link, token)
		}
		w.changed = nil
		g := c.get(link, "Accept", tt.accept)
		if g.status != tt.status || g.header.Get("Location") != tt.location || g.header.Get("Clear-Site-Data") != "" {
			t.Errorf("logout with %q = %d to %q %s, want %d to %q", tt.accept, g.status, g.header.Get("Location"), g.body, tt.status, tt.location)
		}
		if set := cookiesOf(g); !strings.Contains(set, "ory_kratos_session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly") || cookieValue(c, w.compiled.CSRFCookieName()) == csrf || cookieValue(c, "ory_kratos_session") != "" {
			t.Errorf("logout sets %q, want the session gone and another CSRF cookie", set)
		}
		if len(w.changed) != 1 {
			t.Errorf("logout told the cache %v, want the session", w.changed)
		}
		// S56: the cookie of before is dead, whoever kept it.
		if g := w.app().get("/sessions/whoami", "Cookie", session); g.status != 401 {
			t.Errorf("whoami after logout = %d, want 401", g.status)
		}
		if g := w.app().get(link, "Cookie", session, "Accept", "application/json"); g.status != 401 || g.shown(t).Error.ID != "session_inactive" {
			t.Errorf("second logout = %d %s, want 401", g.status, g.body)
		}
	}
	if want := []string{w.revoked[0], w.revoked[0], w.revoked[0], w.revoked[0]}; !slices.Equal(w.revoked, want) || !strings.HasPrefix(want[0], "person:") || !strings.HasSuffix(want[0], " logout") {
		t.Errorf("revoked = %q, want four times by the person, by logout", w.revoked)
	}
}

func TestLogoutClearsBrowserDataOverTLS(t *testing.T) {
	t.Parallel()
	for _, clear := range []bool{true, false} {
		w := newWorld(t, func(w *world) {
			w.settings.PublicURL = "https://id.example.org/"
			w.settings.Logout.ClearBrowserData = clear
		})
		w.signUp("a@example.org")
		c := w.browser()
		c.signIn("a@example.org")
		_, token := c.logoutLink()
		if g := c.get(routeLogout + "?token=" + token); (g.header.Get("Clear-Site-Data") == `"cache", "storage"`) != clear {
			t.Errorf("logout over TLS has Clear-Site-Data %q, want it: %v", g.header.Get("Clear-Site-Data"), clear)
		}
	}
}

func TestLogoutRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signUp("a@example.org")
	w.signUp("b@example.org")
	c, other := w.browser(), w.browser()
	c.signIn("a@example.org")
	other.signIn("b@example.org")
	link, token := c.logoutLink()
	_, others := other.logoutLink()
	for _, tt := range []struct {
		who    *client
		path   string
		status int
		id     string
	}{
		{c, routeLogout, 400, ""},
		{c, routeLogout + "?token=", 400, ""},
		{c, routeLogout + "?token=" + others, 403, ""},
		{c, routeLogout + "?token=nonsense", 403, ""},
		{c, routeLogout + "?token=" + token[:len(token)-1], 403, ""},
		{c, routeLogout + "?token=" + token + "0", 403, ""},
		{c, link + "&return_to=https://evil.example/", 400, "self_service_flow_return_to_forbidden"},
		{c, routeLogout + "/browser?return_to=//evil.example", 400, "self_service_flow_return_to_forbidden"},
		{w.app(), link, 401, "session_inactive"},
		{w.app(), routeLogout + "/browser", 401, "session_inactive"},
	} {
		g := tt.who.get(tt.path, "Accept", "application/json")
		if s := g.shown(t); g.status != tt.status || s.Error.ID != tt.id {
			t.Errorf("GET %s = %d %s, want %d %q", tt.path, g.status, g.body, tt.status, tt.id)
		}
		g = tt.who.get(tt.path, "Accept", "text/html")
		if g.status != 303 || !strings.HasPrefix(g.header.Get("Location"), ui+"error?id=") {
			t.Errorf("GET %s by a page = %d to %q, want the error page", tt.path, g.status, g.header.Get("Location"))
		}
	}
	if len(w.revoked) != 0 {
		t.Errorf("refused logouts ended %q", w.revoked)
	}
}

func TestNativeLogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.signUp("a@example.org")
	c := w.app()
	body := func(token string) string { return `{"session_token":"` + token + `"}` }
	for _, tt := range []struct {
		what, body string
		status     int
	}{
		{"no body", "", 400},
		{"no JSON", "session_token=" + token, 400},
		{"no object", `"` + token + `"`, 400},
		{"no token", `{}`, 400},
		{"null", `{"session_token":null}`, 400},
		{"number", `{"session_token":5}`, 400},
		{"twice", `{"session_token":"x","session_token":"` + token + `"}`, 400},
		{"malformed", body("nonsense"), 403},
		{"logout token", body("ory_lo_" + token[len("ory_st_"):]), 403},
		{"unknown", body(session.NewToken(session.NativePrefix).Reveal()), 403},
		{"right", body(token), 204},
		{"again", body(token), 204},
	} {
		g := c.do("DELETE", routeLogout+"/api", tt.body, "Content-Type", "application/json")
		if g.status != tt.status || cookiesOf(g) != "" || g.status == 204 && g.body != "" {
			t.Errorf("%s: logout = %d %s, want %d", tt.what, g.status, g.body, tt.status)
		}
		if g.status == 403 && g.shown(t).Error.ID != "" {
			t.Errorf("%s: logout = %s, want no id", tt.what, g.body)
		}
	}
	if g := c.get("/sessions/whoami", "X-Session-Token", token); g.status != 401 || len(w.revoked) != 1 {
		t.Errorf("whoami after logout = %d, ended %q, want 401 and one", g.status, w.revoked)
	}
	w.broken = down{errors.New("secret")}
	if g := c.do("DELETE", routeLogout+"/api", body(token)); g.status != 503 {
		t.Errorf("logout without the store = %d %s, want 503", g.status, g.body)
	}
}

// The key signs other things too, and all processes of an installation must make
// the same token: it is for this purpose, and for no other.
func TestLogoutTokenIsForItsPurpose(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signUp("a@example.org")
	for purpose, status := range map[string]int{"": 403, "usher/csrf/1": 403, "usher/logout/2": 403, "usher/logout/1": 204} {
		c := w.browser()
		c.signIn("a@example.org")
		id := w.sessionOf("a@example.org")
		mac := hmac.New(sha256.New, w.options.CSRFKey)
		mac.Write([]byte(purpose))
		mac.Write(id[:])
		digits := strings.Repeat("0", 32) + new(big.Int).SetBytes(mac.Sum(nil)).Text(62)
		g := c.get(routeLogout+"?token=ory_lo_"+digits[len(digits)-32:], "Accept", "application/json")
		if g.status != status {
			t.Errorf("logout with a token for the purpose %q = %d %s, want %d", purpose, g.status, g.body, status)
		}
	}
}

// tokenMutants is the short form's; USHER_TEST_LONG makes it the million of T4.
func tokenMutants() int {
	if os.Getenv("USHER_TEST_LONG") != "" {
		return 1_000_000
	}
	return 10_000
}

// lookups counts how often sessions are looked up by a token's digest.
type lookups struct {
	*world
	n int
}

func (l *lookups) Whoami(ctx context.Context, d session.Digest) (*api.Who, error) {
	l.n++
	return l.world.Whoami(ctx, d)
}

func (l *lookups) SessionByDigest(ctx context.Context, d session.Digest) (*session.Session, *identity.Identity, error) {
	l.n++
	return l.world.SessionByDigest(ctx, d)
}

// TestMutatedTokens is T4: no token but the very one is taken, and what is
// malformed is not looked up.
func TestMutatedTokens(t *testing.T) {
	t.Parallel()
	stored := &lookups{}
	w := newWorld(t, func(w *world) {
		stored.world = w
		w.options.Sessions, w.options.Finder = stored, stored
	})
	w.signUp("a@example.org")
	c := w.browser()
	c.signIn("a@example.org")
	_, token := c.logoutLink()
	handler := w.server.Public()
	cookie := "ory_kratos_session=" + cookieValue(c, "ory_kratos_session")
	for mutant := range mutants(token, tokenMutants()/2) {
		if g := ask(handler, "GET", routeLogout+"?token="+url.QueryEscape(mutant), "", "Accept", "application/json", "Cookie", cookie); g.status != 403 && g.status != 400 {
			t.Fatalf("logout with the mutant %q = %d, want it refused", mutant, g.status)
		}
	}
	native := w.signUp("b@example.org")
	for mutant := range mutants(native, tokenMutants()/2) {
		before := stored.n
		text, _ := json.Marshal(map[string]string{"session_token": mutant})
		if g := ask(handler, "DELETE", routeLogout+"/api", string(text)); g.status != 403 && g.status != 400 {
			t.Fatalf("native logout with the mutant %q = %d, want it refused", mutant, g.status)
		}
		if g := ask(handler, "DELETE", "/sessions", "", "X-Session-Token", mutant); g.status != 401 {
			t.Fatalf("revocation with the mutant %q = %d, want 401", mutant, g.status)
		}
		if _, err := session.ParseToken(mutant); err != nil && stored.n != before {
			t.Fatalf("the mutant %q, which is no token, was looked up", mutant)
		}
	}
	if len(w.revoked) != 0 {
		t.Errorf("mutants ended %q", w.revoked)
	}
}
