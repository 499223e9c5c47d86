package api_test

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
)

const (
	routeLogin        = "/self-service/login"
	routeVerification = "/self-service/verification"
)

// begin begins a flow of a kind, for a browser if c is one.
func (c *client) begin(route string, query ...string) shown {
	c.t.Helper()
	path, header := route+"/api"+strings.Join(query, ""), []string{}
	if c.http.Jar != nil {
		path, header = route+"/browser"+strings.Join(query, ""), []string{"Accept", "application/json"}
	}
	g := c.get(path, header...)
	if g.status != 200 {
		c.t.Fatalf("init %s = %d %s, want 200", path, g.status, g.body)
	}
	return g.shown(c.t)
}

func (s shown) at(route string) string { return route + "?flow=" + s.ID }

func loginBody(csrf, identifier, password string) string {
	body, _ := json.Marshal(map[string]any{"method": "password", "csrf_token": csrf, "identifier": identifier, "password": password})
	return string(body)
}

func loginForm(csrf, identifier, password string) url.Values {
	return url.Values{"method": {"password"}, "csrf_token": {csrf}, "identifier": {identifier}, "password": {password}}
}

// signIn signs somebody in who is registered, and gives the answer.
func (c *client) signIn(email string) got {
	c.t.Helper()
	f := c.begin(routeLogin)
	g := c.postJSON(f.at(routeLogin), loginBody(f.csrf(), email, goodPassword))
	if g.status != 200 {
		c.t.Fatalf("login = %d %s, want 200", g.status, g.body)
	}
	return g
}

func cookiesOf(g got) string { return strings.Join(g.header.Values("Set-Cookie"), "\n") }

func TestLoginShapes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signUp("a@example.org")
	g := w.app().signIn("a@example.org")
	if !strings.HasPrefix(g.body, `{"session_token":"ory_st_`) || cookiesOf(g) != "" || !strings.HasSuffix(g.body, `"continue_with":null}`) || strings.Count(g.body, `"identity":`) != 1 {
		t.Errorf("native login = %s, cookies %q, want a token, a session and no cookie", g.body, cookiesOf(g))
	}

	script := w.browser()
	before := w.compiled.CSRFCookieName()
	f := script.begin(routeLogin, "?return_to=http://127.0.0.1:4455/x")
	secret := cookieValue(script, before)
	g = script.postJSON(f.at(routeLogin), loginBody(f.csrf(), "a@example.org", goodPassword))
	if g.status != 200 || strings.Contains(g.body, "session_token") || !strings.HasSuffix(g.body, `"continue_with":[{"action":"redirect_browser_to","redirect_browser_to":"http://127.0.0.1:4455/x"}]}`) {
		t.Errorf("script login = %d %s, want the session and where to go", g.status, g.body)
	}
	if now := cookieValue(script, before); !strings.Contains(cookiesOf(g), "ory_kratos_session=") || now == secret || now == "" {
		t.Errorf("script login sets %q, want the session and another CSRF cookie", cookiesOf(g))
	}
	if g := script.get("/sessions/whoami"); g.status != 200 {
		t.Errorf("whoami with the cookie = %d, want 200", g.status)
	}

	page := w.browser()
	f = page.begin(routeLogin)
	g = page.postForm(f.at(routeLogin), loginForm(f.csrf(), "a@example.org", goodPassword))
	if g.status != 303 || g.header.Get("Location") != welcome || g.body != "" || !strings.Contains(cookiesOf(g), "ory_kratos_session=") {
		t.Errorf("page login = %d to %q, cookies %q, want 303 with a cookie", g.status, g.header.Get("Location"), cookiesOf(g))
	}
}

func TestLoginReturnPrecedence(t *testing.T) {
	t.Parallel()
	const general, method, asked = ui + "general", ui + "method", ui + "asked"
	for _, tt := range []struct{ query, general, method, want string }{
		{"", "", "", welcome},
		{"", general, "", general},
		{"", general, method, method},
		{"?return_to=" + asked, general, method, asked},
	} {
		w := newWorld(t, func(w *world) {
			w.settings.Login.ReturnURL = tt.general
			if tt.method != "" {
				w.settings.Login.MethodReturnURLs = map[string]string{"password": tt.method}
			}
		})
		w.signUp("a@example.org")
		c := w.browser()
		f := c.begin(routeLogin, tt.query)
		g := c.postForm(f.at(routeLogin), loginForm(f.csrf(), "a@example.org", goodPassword))
		if got := g.header.Get("Location"); got != tt.want {
			t.Errorf("login of a flow with %q leads to %q, want %q", tt.query, got, tt.want)
		}
	}
}

func TestLoginInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signUp("a@example.org")
	for _, tt := range []struct {
		body, value string
		want        []int64
	}{
		{loginBody("", "a@example.org", "wrong"), "a@example.org", []int64{4000006}},
		{loginBody("", "nobody@example.org", goodPassword), "nobody@example.org", []int64{4000006}},
		{loginBody("", "", goodPassword), "", []int64{4000002}},
		{loginBody("", "a@example.org", ""), "a@example.org", []int64{4000002}},
		{`{"method":"password","identifier":null,"password":null}`, "", []int64{4000002, 4000002}},
		{`{"method":"password","identifier":5,"password":"x"}`, "", []int64{4000001}},
		{`{"method":"code","identifier":"a@example.org"}`, "", []int64{4010002}},
		{`{}`, "", []int64{4010002}},
		{`{`, "", []int64{4000001}},
	} {
		c := w.app()
		f := c.begin(routeLogin)
		g := c.postJSON(f.at(routeLogin), tt.body)
		s := g.shown(t)
		if g.status != 400 || !slices.Equal(s.messages(), tt.want) {
			t.Errorf("login with %s = %d, messages %v, want 400 and %v", tt.body, g.status, s.messages(), tt.want)
		}
		if got := s.value("identifier"); got != tt.value {
			t.Errorf("login with %s keeps %q as identifier, want %q", tt.body, got, tt.value)
		}
		if again := c.get(routeLogin + "/flows?id=" + f.ID).shown(t); !slices.Equal(again.messages(), tt.want) {
			t.Errorf("fetch afterwards has messages %v, want %v", again.messages(), tt.want)
		}
	}
	c := w.app()
	if g := c.postJSON(c.begin(routeLogin).at(routeLogin), `{"method":"password","password_identifier":"a@example.org","password":"`+goodPassword+`"}`); g.status != 200 {
		t.Errorf("login with password_identifier = %d %s, want 200", g.status, g.body)
	}
	b := w.browser()
	f := b.begin(routeLogin)
	g := b.postForm(f.at(routeLogin), loginForm(f.csrf(), "a@example.org", "wrong"))
	if want := ui + "login?flow=" + f.ID; g.status != 303 || g.header.Get("Location") != want {
		t.Errorf("page login with a wrong password = %d to %q, want 303 to %q", g.status, g.header.Get("Location"), want)
	}
}

// value is what a node holds.
func (s shown) value(name string) string {
	for _, n := range s.UI.Nodes {
		if text, ok := n.Attributes.Value.(string); ok && n.Attributes.Name == name {
			return text
		}
	}
	return ""
}

func TestLoginInit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.signUp("a@example.org")
	known := []string{"X-Session-Token", token}
	for _, tt := range []struct {
		query  string
		header []string
		status int
		id     string
	}{
		{"", nil, 200, ""},
		{"?aal=&refresh=&return_to=&organization=&via=", nil, 200, ""},
		{"?aal=aal1", nil, 200, ""},
		{"?refresh=true", nil, 200, ""},
		{"?aal=aal2", nil, 401, "session_aal1_required"},
		{"?aal=aal2", known, 400, ""},
		{"?aal=aal3", nil, 400, ""},
		{"?aal=AAL1", known, 400, ""},
		{"?return_to=https://evil.example", nil, 400, "self_service_flow_return_to_forbidden"},
		{"?identity_schema=other", nil, 400, ""},
		{"", known, 400, "session_already_available"},
		{"?refresh=false", known, 400, "session_already_available"},
		{"?refresh=true", known, 200, ""},
		{"?refresh=true", []string{"X-Session-Token", "nonsense"}, 200, ""},
	} {
		for _, kind := range []string{"/api", "/browser"} {
			g := w.app().get(routeLogin+kind+tt.query, append([]string{"Accept", "application/json"}, tt.header...)...)
			if s := g.shown(t); g.status != tt.status || s.Error.ID != tt.id {
				t.Errorf("login init %s%s with %q = %d %s, want %d %q", kind, tt.query, tt.header, g.status, g.body, tt.status, tt.id)
			}
			refreshed := tt.status == 200 && len(tt.header) > 0 && tt.header[1] == token
			if g.status == 200 && (strings.Contains(g.body, `"refresh":true`) != refreshed || slices.Contains(g.shown(t).messages(), 1010003) != refreshed) {
				t.Errorf("login init %s%s with %q = %s, want a refresh: %v", kind, tt.query, tt.header, g.body, refreshed)
			}
			if refreshed && g.shown(t).value("identifier") != "a@example.org" {
				t.Errorf("refresh = %s, want the identifier in it", g.body)
			}
		}
	}
	if g := w.app().get(routeLogin+"/browser", "Accept", "text/html", "X-Session-Token", token); g.status != 303 || g.header.Get("Location") != welcome {
		t.Errorf("login init of a page that is signed in = %d to %q, want the default", g.status, g.header.Get("Location"))
	}
	if g := w.app().get(routeLogin+"/browser?return_to="+ui+"x", "Accept", "text/html", "X-Session-Token", token); g.status != 303 || g.header.Get("Location") != ui+"x" {
		t.Errorf("the same with return_to = %d to %q, want there", g.status, g.header.Get("Location"))
	}
	if g := w.app().get(routeLogin + "/browser?refresh=true"); g.status != 303 || !strings.HasPrefix(g.header.Get("Location"), ui+"login?flow=") {
		t.Errorf("login init of a page = %d to %q, want the UI", g.status, g.header.Get("Location"))
	}
}

func TestLoginSubmitWhileSignedIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signUp("a@example.org")
	c := w.browser()
	other := c.begin(routeLogin, "?return_to="+ui+"secret")
	c.signIn("a@example.org")
	g := c.postJSON(other.at(routeLogin), loginBody(other.csrf(), "a@example.org", goodPassword))
	if g.status != 400 || !slices.Equal(g.shown(t).messages(), []int64{4000001}) {
		t.Errorf("login while signed in = %d %s, want the flow with 4000001", g.status, g.body)
	}
	if strings.Contains(g.body, "secret") {
		t.Errorf("login while signed in = %s, want nothing of what another cookie had asked for", g.body)
	}
	g = c.postForm(other.at(routeLogin), loginForm(other.csrf(), "a@example.org", goodPassword))
	if g.status != 303 || g.header.Get("Location") != welcome {
		t.Errorf("the same by a page = %d to %q, want 303 to the default", g.status, g.header.Get("Location"))
	}
}

func TestRefreshKeepsTheSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.signUp("a@example.org")
	c := w.app()
	g := c.get(routeLogin+"/api?refresh=true", "X-Session-Token", token)
	f := g.shown(t)
	if g = c.postJSON(f.at(routeLogin), loginBody("", "a@example.org", "wrong"), "X-Session-Token", token); g.status != 400 || g.shown(t).value("identifier") != "a@example.org" {
		t.Errorf("refresh with a wrong password = %d %s, want 400 and the identifier still there", g.status, g.body)
	}
	if g = c.postJSON(f.at(routeLogin), `{"method":"x"}`, "X-Session-Token", token); g.shown(t).value("identifier") != "a@example.org" {
		t.Errorf("refresh with an unknown method = %s, want the identifier still there", g.body)
	}
	w.changed = nil
	g = c.postJSON(f.at(routeLogin), loginBody("", "a@example.org", goodPassword), "X-Session-Token", token)
	id := w.sessions[mustParse(t, token).Digest()].Session.ID
	if g.status != 200 || !strings.HasPrefix(g.body, `{"session_token":"`+token) || !slices.Contains(w.changed, id) {
		t.Errorf("refresh = %d %s, told the cache %v, want the same token and session %s forgotten", g.status, g.body, w.changed, id)
	}
}

// Whose session a browser had is not known here as it was before, or it would
// live for some seconds more.
func TestRefreshBySomebodyElseForgetsTheFormerSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signUp("a@example.org")
	w.signUp("b@example.org")
	c := w.browser()
	c.signIn("a@example.org")
	former := w.sessionOf("a@example.org")
	f := c.begin(routeLogin, "?refresh=true")
	w.changed = nil
	g := c.postJSON(f.at(routeLogin), loginBody(f.csrf(), "b@example.org", goodPassword))
	if g.status != 200 || !slices.Contains(w.changed, former) {
		t.Errorf("refresh by somebody else = %d %s, told the cache %v, want the former session %s", g.status, g.body, w.changed, former)
	}
	if g := c.get("/sessions/whoami"); !strings.Contains(g.body, "b@example.org") {
		t.Errorf("whoami = %s, want who has signed in", g.body)
	}
}

func mustParse(t testing.TB, token string) session.Token {
	t.Helper()
	parsed, err := session.ParseToken(token)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestExpiredLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signUp("a@example.org")
	c := w.browser()
	f := c.begin(routeLogin, "?return_to="+ui+"x")
	w.expire(f.ID)
	if g := c.get(routeLogin + "/flows?id=" + f.ID); g.status != 410 || g.shown(t).Error.ID != "self_service_flow_expired" || g.shown(t).Error.Details["return_to"] != ui+"x" {
		t.Errorf("fetch of a dead login = %d %s, want 410", g.status, g.body)
	}
	g := c.postJSON(f.at(routeLogin), loginBody(f.csrf(), "a@example.org", goodPassword))
	s := g.shown(t)
	if g.status != 410 || s.Error.ID != "self_service_flow_expired" || s.UseFlowID == "" || s.ExpiredAt == "" {
		t.Fatalf("submit of a dead login = %d %s, want 410 with use_flow_id", g.status, g.body)
	}
	if next := c.get(routeLogin + "/flows?id=" + s.UseFlowID).shown(t); next.ReturnTo != ui+"x" || !slices.Contains(next.messages(), 4010001) {
		t.Errorf("new flow = %+v, want 4010001 and return_to", next)
	}
}

// shows is a login that has opened a verification which keeps nobody out.
type shows struct {
	withoutProviders
	flow *flow.Flow
}

func (s shows) Login(ctx context.Context, in login.Submit) (*login.Result, error) {
	r, err := settled{true}.Register(ctx, registration.Submit{Flow: in.Flow})
	if s.flow != nil {
		opened := *s.flow
		opened.Type = in.Flow.Type
		s.flow = &opened
	}
	return &login.Result{Identity: r.Identity, Session: r.Session, Token: r.Token, Verification: s.flow, VerificationAddress: "anna@example.org"}, err
}

// TestLoginByteForByte: the answers to a login, in all three shapes.
func TestLoginByteForByte(t *testing.T) {
	t.Parallel()
	f := &flow.Flow{ID: uuid.MustParse("5b4e28ba-2fa1-41d2-883f-0016d3cca427"), Kind: flow.Verification}
	for name, opened := range map[string]*flow.Flow{"plain": nil, "verification": f} {
		w := newWorld(t, func(w *world) {
			w.inForce.Login = shows{flow: opened}
			w.options.Now = func() time.Time { return noon }
		})
		app, script, page := w.app(), w.browser(), w.browser()
		scripted, paged := script.begin(routeLogin), page.begin(routeLogin)
		for shape, g := range map[string]got{
			"native": app.postJSON(app.begin(routeLogin).at(routeLogin), loginBody("", "a", goodPassword), "X-Request-Id", "golden"),
			"script": script.postJSON(scripted.at(routeLogin), loginBody(scripted.csrf(), "a", goodPassword), "X-Request-Id", "golden"),
			"page":   page.postForm(paged.at(routeLogin), loginForm(paged.csrf(), "a", goodPassword), "X-Request-Id", "golden"),
		} {
			compareGolden(t, "testdata/login_"+shape+"_"+name+".golden", written(g))
		}
	}
}
