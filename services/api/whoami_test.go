package api_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
)

// signUp makes a person and gives the token.
func (w *world) signUp(email string) string {
	w.t.Helper()
	c := w.app()
	g := c.postJSON(c.nativeFlow().submit(), submitBody("", email, goodPassword))
	_, rest, ok := strings.Cut(g.body, `"session_token":"`)
	if g.status != 200 || !ok {
		w.t.Fatalf("submit = %d %s, want a token", g.status, g.body)
	}
	token, _, _ := strings.Cut(rest, `"`)
	return token
}

// seal makes a session cookie for a token.
func (w *world) seal(token string, expires time.Time) string {
	w.t.Helper()
	parsed, err := session.ParseToken(token)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.settings.Cookies.Seal(parsed, expires)
}

// TestCredentialOrder is the contract's: the first place that holds one counts.
func TestCredentialOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.signUp("a@example.org"), w.signUp("b@example.org")
	later := time.Now().Add(time.Hour)
	cookieA, cookieB := "ory_kratos_session="+w.seal(a, later), "ory_kratos_session="+w.seal(b, later)
	unknown := session.NewToken(session.NativePrefix).Reveal()
	c := w.app()
	for _, tt := range []struct {
		header []string
		want   string
	}{
		{nil, ""},
		{[]string{"X-Session-Token", a}, "a@"},
		{[]string{"Cookie", cookieB}, "b@"},
		{[]string{"Authorization", "Bearer " + a}, "a@"},
		{[]string{"Authorization", "bearer " + a}, "a@"},
		{[]string{"X-Session-Token", a, "Cookie", cookieB}, "a@"},
		{[]string{"Cookie", cookieA, "Authorization", "Bearer " + b}, "a@"},
		{[]string{"X-Session-Token", unknown, "Cookie", cookieB}, ""},
		{[]string{"X-Session-Token", "nonsense", "Cookie", cookieB}, ""},
		{[]string{"Cookie", "ory_kratos_session=nonsense", "Authorization", "Bearer " + b}, ""},
		{[]string{"Cookie", "ory_kratos_session=" + w.seal(a, time.Now().Add(-time.Second))}, ""},
		{[]string{"Authorization", "Basic " + a}, ""},
		{[]string{"Authorization", a}, ""},
		{[]string{"Cookie", "ory_kratos_session=" + a}, ""},
	} {
		g := c.get("/sessions/whoami", tt.header...)
		if tt.want == "" {
			if g.status != 401 || strings.Contains(g.body, `"id"`) {
				t.Errorf("whoami with %q = %d %s, want 401 without id", tt.header, g.status, g.body)
			}
		} else if g.status != 200 || !strings.Contains(g.body, tt.want) {
			t.Errorf("whoami with %q = %d %s, want %s", tt.header, g.status, g.body, tt.want)
		}
	}
}

func TestWhoamiAnswersEveryMethod(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.signUp("a@example.org")
	c := w.app()
	want := c.get("/sessions/whoami", "X-Session-Token", token)
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "HEAD"} {
		g := c.do(method, "/sessions/whoami", "", "X-Session-Token", token)
		if method == "HEAD" && g.body == "" {
			g.body = want.body
		}
		if g.status != 200 || g.body != want.body || len(g.header.Get("X-Kratos-Authenticated-Identity-Id")) != 36 {
			t.Errorf("%s whoami = %d %s, want what GET answers", method, g.status, g.body)
		}
	}
	if g := c.do("OPTIONS", "/sessions/whoami", ""); g.status != 405 {
		t.Errorf("OPTIONS whoami = %d, want 405", g.status)
	}
}

func TestExpiredSessionOfACacheIsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.signUp("a@example.org")
	for _, who := range w.sessions {
		who.Session.ExpiresAt = time.Now().Add(-time.Second)
	}
	if g := w.app().get("/sessions/whoami", "X-Session-Token", token); g.status != 401 {
		t.Errorf("whoami after the end = %d, want 401", g.status)
	}
}

func TestWhoamiFollowsTheSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.signUp("a@example.org")
	c := w.app()
	before := c.get("/sessions/whoami", "X-Session-Token", token)
	s := w.settings
	s.PublicURL = "https://id.example.org/"
	w.compiled = compile(t, s)
	after := c.get("/sessions/whoami", "X-Session-Token", token)
	if !strings.Contains(before.body, publicURL+"schemas/") || !strings.Contains(after.body, "https://id.example.org/schemas/") {
		t.Errorf("whoami before and after a change of the base URL:\n%s\n%s\nwant schema_url to follow", before.body, after.body)
	}
}

func TestMalformedTokensAreNotLookedUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.broken = errors.New("looked up")
	for _, token := range []string{"x", "ory_st_", "ory_st_" + strings.Repeat("a", 31), "ory_st_" + strings.Repeat("a", 33), "ory_lo_" + strings.Repeat("a", 32), "ory_st_" + strings.Repeat("-", 32)} {
		if g := w.app().get("/sessions/whoami", "X-Session-Token", token); g.status != 401 {
			t.Errorf("whoami with %q = %d, want 401 and no look-up", token, g.status)
		}
	}
}

// BenchmarkWhoami compares the whole handler with one that writes the same bytes.
func BenchmarkWhoami(b *testing.B) {
	w := newWorld(b)
	token := w.signUp("a@example.org")
	handler := w.server.Public()
	body := w.app().get("/sessions/whoami", "X-Session-Token", token).body
	bare := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte(body))
	})
	for name, h := range map[string]http.Handler{"whoami": handler, "bare": bare} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			r := httptest.NewRequest(http.MethodGet, "/sessions/whoami", nil)
			r.Header.Set("X-Session-Token", token)
			rw := &discard{header: http.Header{}}
			for b.Loop() {
				clear(rw.header)
				h.ServeHTTP(rw, r)
			}
		})
	}
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

func who(r *registration.Result) *api.Who { return &api.Who{Session: r.Session, Identity: r.Identity} }
