package api_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/oidc"
	"github.com/usher-auth/usher/services/oidc/oidctest"
	"github.com/usher-auth/usher/services/registration"
)

const emailMapper = `local claims = std.extVar('claims');
{identity: {traits: {[if 'email' in claims then 'email']: claims.email}, verified_addresses: if 'email' in claims then [{via: 'email', value: claims.email}] else []}}`

// social is a world with a provider, "corp", that signs in whoever is sent to it.
func social(t *testing.T, change ...func(*oidc.Config)) (*world, *oidctest.Provider) {
	t.Helper()
	p := oidctest.New(t)
	p.Claims = map[string]any{"sub": "7", "email": "ann@example.org", "email_verified": true}
	c := corp(p)
	for _, f := range change {
		f(&c)
	}
	second := c
	second.ID = "other"
	inForce := &providersInForce{}
	inForce.Store(known(t, c, second))
	return newWorld(t, func(w *world) {
		w.inForce.Providers = inForce
		w.settings.Registration.Methods = []string{"password", "oidc"}
		w.settings.Login.Methods = []string{"password", "oidc"}
		w.settings.SettingsFlow.Methods = []string{"oidc"}
	}), p
}

// corp is the configuration of a provider.
func corp(p *oidctest.Provider) oidc.Config {
	return oidc.Config{
		ID: "corp", Label: "Corp", Provider: oidc.Generic, ClientID: oidctest.ClientID, ClientSecret: oidctest.ClientSecret,
		IssuerURL: p.URL, Mapper: emailMapper, AuthoritativeFor: []string{"example.org"},
	}
}

// providersInForce can be replaced, as a reload does it.
type providersInForce struct{ atomic.Pointer[oidc.Client] }

func (p *providersInForce) Provider(id string) (*oidc.Provider, bool) { return p.Load().Provider(id) }

func (p *providersInForce) Providers() []*oidc.Provider { return p.Load().Providers() }

// known are configured providers.
func known(t *testing.T, providers ...oidc.Config) *oidc.Client {
	t.Helper()
	sealer, err := oidc.NewSealer([]byte("a secret of the tests"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := oidc.New(oidc.Options{Providers: providers, Sealer: sealer})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// start submits the provider's button and gives where the browser is sent.
func (c *client) start(f shown, form url.Values) *url.URL {
	c.t.Helper()
	if form == nil {
		form = url.Values{}
	}
	form.Set("csrf_token", f.csrf())
	if form.Get("provider") == "" {
		form.Set("provider", "corp")
	}
	u, err := url.Parse(f.UI.Action)
	if err != nil {
		c.t.Fatal(err)
	}
	g := c.postForm(u.RequestURI(), form)
	if f.Type == "api" {
		return c.told(g)
	}
	if g.status != http.StatusSeeOther {
		c.t.Fatalf("start = %d %s, want 303", g.status, g.body)
	}
	return parsed(c.t, g.header.Get("Location"))
}

// told is where a 422 says that the browser is to go.
func (c *client) told(g got) *url.URL {
	c.t.Helper()
	var answer struct {
		To    string `json:"redirect_browser_to"`
		Error struct{ ID string }
	}
	if err := json.Unmarshal([]byte(g.body), &answer); err != nil || g.status != http.StatusUnprocessableEntity || answer.Error.ID != "browser_location_change_required" {
		c.t.Fatalf("start = %d %s, want 422 browser_location_change_required", g.status, g.body)
	}
	return parsed(c.t, answer.To)
}

func parsed(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// visit goes to the provider and gives the callback that it sends the browser to.
func visit(t testing.TB, to *url.URL) string {
	t.Helper()
	resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Get(to.String())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return parsed(t, resp.Header.Get("Location")).RequestURI()
}

// through goes all the way, from the button to the callback's answer.
func (c *client) through(f shown, form url.Values) got {
	c.t.Helper()
	return c.get(visit(c.t, c.start(f, form)), "Accept", "text/html")
}

// ended fails the test unless g leads to the default page with a session cookie.
func (c *client) ended(g got) {
	c.t.Helper()
	if g.status != http.StatusSeeOther || g.header.Get("Location") != welcome || c.cookies()["ory_kratos_session"] == "" {
		c.t.Fatalf("callback = %d, Location %q, cookies %v, body %s; want 303 to %s with a session", g.status, g.header.Get("Location"), c.cookies(), g.body, welcome)
	}
}

func uuidOf(t *testing.T, text string) uuid.UUID {
	t.Helper()
	id, err := uuid.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (s shown) names() (names []string) {
	for _, n := range s.UI.Nodes {
		names = append(names, n.Attributes.Name)
	}
	return names
}

func (w *world) people() int {
	defer w.lock()()
	return len(w.identities)
}

func TestSocialRegistrationAndLogin(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	c := w.browser()
	c.ended(c.through(c.browserFlow(), url.Values{"traits.email": {""}, "password": {"typed before"}}))
	i := w.person("corp:7")
	if i == nil || !i.Addresses[0].Verified || i.Credentials[0].Type != identity.MethodOIDC {
		t.Fatalf("registered %+v, want corp:7 with a verified address", i)
	}
	if _, ok := c.cookies()["ory_kratos_continuity"]; ok {
		t.Error("the continuity cookie is still there")
	}
	for _, route := range []string{routeLogin, routeRegistration} { // a registration becomes a login
		c = w.browser()
		c.ended(c.through(c.begin(route), nil))
	}
	if w.people() != 1 {
		t.Errorf("%d people, want 1", w.people())
	}
}

func TestLoginBecomesRegistration(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	c := w.browser()
	f := c.begin(routeLogin)
	c.ended(c.through(f, nil))
	if w.people() != 1 || w.person("corp:7") == nil {
		t.Errorf("%d people, want corp:7", w.people())
	}
}

// A script is told where to go, and a link does as a button does.
func TestSocialStart(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	c := w.browser()
	f := c.browserFlow()
	body, _ := json.Marshal(map[string]any{"provider": "corp", "csrf_token": f.csrf(), "upstream_parameters": map[string]string{"login_hint": "ann", "state": "mine"}})
	to := c.told(c.postJSON(f.submit(), string(body)))
	if q := to.Query(); q.Get("login_hint") != "ann" || q.Get("state") == "mine" || q.Get("code_challenge_method") != "S256" ||
		q.Get("redirect_uri") != publicURL+"self-service/methods/oidc/callback/corp" {
		t.Errorf("authorization URL %s", to)
	}
	c.ended(c.get(visit(t, to), "Accept", "text/html"))

	c = w.browser()
	f = c.begin(routeLogin)
	g := c.get("/self-service/login?flow="+f.ID+"&provider=corp", "Accept", "text/html")
	if g.status != http.StatusSeeOther {
		t.Fatalf("link = %d %s, want 303", g.status, g.body)
	}
	c.ended(c.get(visit(t, parsed(t, g.header.Get("Location"))), "Accept", "text/html"))

	nobody := w.app().get(routeLogin + "/api").shown(t)
	if g := w.app().postJSON("/self-service/login?flow="+nobody.ID, `{"method":"oidc"}`); g.status != http.StatusBadRequest || !slices.Contains(g.shown(t).messages(), 4000002) {
		t.Errorf("no provider = %d %s, want 400 with 4000002", g.status, g.body)
	}
	for what, g := range map[string]got{
		"unknown provider":      w.browser().unknown("nobody"),
		"link of another":       w.browser().get("/self-service/login?flow="+f.ID+"&provider=corp", "Accept", "application/json"),
		"callback, no provider": w.browser().get("/self-service/methods/oidc/callback/nobody?state=x", "Accept", "application/json"),
	} {
		want := http.StatusNotFound
		if what == "link of another" {
			want = http.StatusForbidden
		}
		if g.status != want {
			t.Errorf("%s = %d %s, want %d", what, g.status, g.body, want)
		}
	}
}

func (c *client) unknown(provider string) got {
	f := c.browserFlow()
	return c.postJSON(f.submit(), `{"provider":"`+provider+`","csrf_token":"`+f.csrf()+`"}`)
}

// TestCallbackRefuses is what the edge refuses of T12; the rest is services/oidc's.
func TestCallbackRefuses(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	var strays atomic.Int64
	w.server.ObserveProvider = func(provider, result string) {
		if provider != "" && result == "stray" {
			strays.Add(1)
		}
	}
	const callback = "/self-service/methods/oidc/callback/corp"
	fresh := func() (*client, string) {
		c := w.browser()
		return c, visit(t, c.start(c.browserFlow(), nil))
	}
	state := func(uri string) string { return parsed(t, uri).Query().Get("state") }
	for what, ask := range map[string]func() (*client, string){
		"no state":      func() (*client, string) { c, _ := fresh(); return c, callback + "?code=x" },
		"nonsense":      func() (*client, string) { c, _ := fresh(); return c, callback + "?code=x&state=abc" },
		"other browser": func() (*client, string) { _, uri := fresh(); return w.browser(), uri },
		"cookie of another attempt": func() (*client, string) {
			_, uri := fresh()
			c, _ := fresh()
			return c, uri
		},
		"other provider": func() (*client, string) {
			c, uri := fresh()
			return c, strings.Replace(uri, "/callback/corp", "/callback/other", 1)
		},
		"state of a newer attempt's flow, older attempt": func() (*client, string) {
			c := w.browser()
			f := c.browserFlow()
			older := visit(t, c.start(f, nil))
			newer := visit(t, c.start(f, nil))
			return c, strings.Replace(newer, url.QueryEscape(state(newer)), url.QueryEscape(state(older)), 1)
		},
	} {
		c, uri := ask()
		g := c.get(uri, "Accept", "application/json")
		if g.status != http.StatusBadRequest || strings.Contains(g.body, `"ui"`) {
			t.Errorf("%s = %d %s, want 400", what, g.status, g.body)
		}
		g = w.browser().get(callback+"?state=abc", "Accept", "text/html")
		if g.status != http.StatusSeeOther || !strings.HasPrefix(g.header.Get("Location"), ui+"error") {
			t.Errorf("a page = %d to %s, want 303 to the error page", g.status, g.header.Get("Location"))
		}
	}
	if n := strays.Load(); n != 12 {
		t.Errorf("%d strays were counted, want 12", n)
	}
	if w.people() != 0 || len(w.sessions) != 0 {
		t.Errorf("%d people and %d sessions, want none", w.people(), len(w.sessions))
	}
}

// An attempt comes back once, however often and whenever.
func TestCallbackOnce(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	c := w.browser()
	uri := visit(t, c.start(c.browserFlow(), nil))
	cookie := c.cookies()["ory_kratos_continuity"]
	answers := make(chan got, 8)
	for range cap(answers) {
		go func() {
			answers <- w.app().get(uri, "Accept", "application/json", "Cookie", "ory_kratos_continuity="+cookie)
		}()
	}
	var statuses []int
	for range cap(answers) {
		statuses = append(statuses, (<-answers).status)
	}
	slices.Sort(statuses)
	if want := []int{200, 400, 400, 400, 400, 400, 400, 400}; !slices.Equal(statuses, want) {
		t.Errorf("answers %v, want %v", statuses, want)
	}
	if w.people() != 1 || len(w.sessions) != 1 {
		t.Errorf("%d people and %d sessions, want one of each", w.people(), len(w.sessions))
	}
}

// What a provider refuses leads back to the form, and nothing of it is stored.
func TestProviderRefuses(t *testing.T) {
	t.Parallel()
	w, p := social(t)
	for what, change := range map[string]func(c *client, uri string) string{
		"denied": func(_ *client, uri string) string {
			u := parsed(t, uri)
			return u.Path + "?error=access_denied&state=" + url.QueryEscape(u.Query().Get("state"))
		},
		"code of somebody else": func(_ *client, uri string) string {
			u := parsed(t, uri)
			return u.Path + "?code=stolen&state=" + url.QueryEscape(u.Query().Get("state"))
		},
		"token endpoint is down": func(_ *client, uri string) string {
			p.Change(func(p *oidctest.Provider) {
				p.Handle = map[string]http.HandlerFunc{"/token": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }}
			})
			return uri
		},
	} {
		c := w.browser()
		f := c.browserFlow()
		uri := change(c, visit(t, c.start(f, nil)))
		g := c.get(uri, "Accept", "text/html")
		if g.status != http.StatusFound || g.header.Get("Location") != ui+"registration?flow="+f.ID {
			t.Errorf("%s = %d to %s, want 302 to the flow", what, g.status, g.header.Get("Location"))
		}
		again := c.get("/self-service/registration/flows?id=" + f.ID).shown(t)
		if ids := again.messages(); !slices.Equal(ids, []int64{4000001}) || again.Active != "oidc" {
			t.Errorf("%s: messages %v, active %q, want 4000001 and oidc", what, ids, again.Active)
		}
	}
	p.Change(func(p *oidctest.Provider) { p.Handle = nil })
	if w.people() != 0 {
		t.Errorf("%d people, want none", w.people())
	}
}

// What the provider does not give is asked for, and the same button goes on.
func TestMissingTraits(t *testing.T) {
	t.Parallel()
	for _, route := range []string{routeRegistration, routeLogin} {
		w, p := social(t)
		p.Claims = map[string]any{"sub": "7"}
		c := w.browser()
		g := c.through(c.begin(route), nil)
		to := parsed(t, g.header.Get("Location"))
		if g.status != http.StatusFound || !strings.HasPrefix(to.String(), ui+"registration?flow=") {
			t.Fatalf("callback = %d to %s %s, want 302 to a registration", g.status, to, g.body)
		}
		f := c.get("/self-service/registration/flows?id=" + to.Query().Get("flow")).shown(t)
		if !slices.Contains(f.messages(), 4000002) {
			t.Errorf("messages %v, want 4000002", f.messages())
		}
		if names := f.names(); slices.Contains(names, "password") || !slices.Contains(names, "provider") {
			t.Errorf("nodes %v, want the provider's button and no password", names)
		}
		c.ended(c.through(f, url.Values{"traits.email": {"ann@example.org"}, "traits.age": {"7"}}))
		i := w.person("corp:7")
		if i == nil || i.Addresses[0].Verified || !strings.Contains(string(i.Traits), `"age":7`) {
			t.Errorf("registered %+v, want the typed traits and no verified address", i)
		}
	}
}

// Whose address has an account links it by signing in to that.
func TestAddressTaken(t *testing.T) {
	t.Parallel()
	w, p := social(t)
	w.joined("ann@example.org")
	for _, route := range []string{routeRegistration, routeLogin} {
		c := w.browser()
		g := c.through(c.begin(route), nil)
		to := parsed(t, g.header.Get("Location"))
		if g.status != http.StatusSeeOther || !strings.HasPrefix(to.String(), ui+"login?flow=") || to.Query().Get("no_org_ui") != "true" {
			t.Fatalf("callback = %d to %s %s, want 303 to a login", g.status, to, g.body)
		}
		l := w.flows[uuidOf(t, to.Query().Get("flow"))].Link
		if l == nil || l.Duplicate != "ann@example.org" || l.Identifier() != "corp:7" || l.Issuer != p.URL || !slices.Equal(l.Methods, []string{"password"}) {
			t.Errorf("link %+v", l)
		}
		if over := time.Until(w.flows[uuidOf(t, to.Query().Get("flow"))].ExpiresAt); over > 10*time.Minute {
			t.Errorf("the link lives for %s, want 10 minutes at most", over)
		}
	}
	if w.people() != 1 {
		t.Errorf("%d people, want 1", w.people())
	}
}

// An address that was only typed tells nothing of how its account signs in.
func TestTypedAddressTaken(t *testing.T) {
	t.Parallel()
	w, p := social(t)
	w.joined("ann@example.org")
	p.Claims = map[string]any{"sub": "8", "email": "eve@example.net"}
	c := w.browser()
	f := c.browserFlow()
	g := c.through(f, url.Values{"traits.email": {"ann@example.org"}})
	if g.status != http.StatusFound || g.header.Get("Location") != ui+"registration?flow="+f.ID {
		t.Fatalf("callback = %d to %s, want 302 to the flow", g.status, g.header.Get("Location"))
	}
	if ids := c.get("/self-service/registration/flows?id=" + f.ID).shown(t).messages(); !slices.Contains(ids, 4000007) {
		t.Errorf("messages %v, want 4000007", ids)
	}
}

// automatic links without a question, where both sides have verified the address.
func TestAutomaticLinking(t *testing.T) {
	t.Parallel()
	w, p := social(t, func(c *oidc.Config) { c.Linking = oidc.LinkAutomatic })
	w.joined("ann@example.org")
	c := w.browser()
	if g := c.through(c.begin(routeLogin), nil); !strings.HasPrefix(g.header.Get("Location"), ui+"login?flow=") {
		t.Errorf("address not verified here: %d to %s, want a login", g.status, g.header.Get("Location"))
	}
	ann := w.person("ann@example.org")
	ann.Addresses[0].Verified = true
	p.Change(func(p *oidctest.Provider) { p.Claims["email"] = "Ann@Example.org" }) // the same address
	c = w.browser()
	c.ended(c.through(c.begin(routeLogin), nil))
	if linked := ann.Credential(identity.MethodOIDC); linked == nil || !slices.Equal(linked.Identifiers, []string{"corp:7"}) || w.people() != 1 {
		t.Errorf("linked %+v, want corp:7, to the one person that there is", linked)
	}
	p.Change(func(p *oidctest.Provider) { p.Claims["email_verified"], p.Claims["sub"] = false, "9" })
	c = w.browser()
	if g := c.through(c.begin(routeLogin), nil); !strings.HasPrefix(g.header.Get("Location"), ui+"login?flow=") {
		t.Errorf("address not verified there: %d to %s, want a login", g.status, g.header.Get("Location"))
	}
}

// An app gets its session for both halves of its code, once.
func TestTokenExchange(t *testing.T) {
	t.Parallel()
	w, p := social(t)
	app := w.app()
	begin := func(route, query string) (shown, string) {
		g := app.get(route + "/api" + query)
		var code struct {
			Code string `json:"session_token_exchange_code"`
		}
		if err := json.Unmarshal([]byte(g.body), &code); err != nil {
			t.Fatal(err)
		}
		return g.shown(t), code.Code
	}
	exchange := func(first, second string) got {
		return app.get("/sessions/token-exchange?init_code=" + first + "&return_to_code=" + second)
	}
	for n, route := range []string{routeRegistration, routeLogin, routeRegistration} {
		f, first := begin(route, "?return_session_token_exchange_code=true&return_to="+url.QueryEscape(ui+"app"))
		g := w.browser().get(visit(t, app.start(f, nil)), "Accept", "text/html")
		to := parsed(t, g.header.Get("Location"))
		second := to.Query().Get("code")
		if g.status != http.StatusSeeOther || !strings.HasPrefix(to.String(), ui+"app?") || len(first) < 32 || len(second) < 32 || len(g.header["Set-Cookie"]) > 1 {
			t.Fatalf("%d: callback = %d to %s, cookies %v", n, g.status, to, g.header["Set-Cookie"])
		}
		for what, g := range map[string]got{"wrong first": exchange(second, second), "wrong second": exchange(first, first)} {
			if g.status != http.StatusNotFound {
				t.Errorf("%s = %d %s, want 404", what, g.status, g.body)
			}
		}
		if g := exchange(first, ""); g.status != http.StatusBadRequest {
			t.Errorf("one half = %d %s, want 400", g.status, g.body)
		}
		var answer struct {
			Token   string `json:"session_token"`
			Session struct {
				Methods []struct{ Method, Provider string } `json:"authentication_methods"`
			}
		}
		g = exchange(first, second)
		if err := json.Unmarshal([]byte(g.body), &answer); err != nil || g.status != 200 || answer.Session.Methods[0].Provider != "corp" {
			t.Fatalf("exchange = %d %s, want the session of corp", g.status, g.body)
		}
		if g := app.get("/sessions/whoami", "X-Session-Token", answer.Token); g.status != 200 {
			t.Errorf("whoami = %d", g.status)
		}
		if g := exchange(first, second); g.status != http.StatusNotFound {
			t.Errorf("second exchange = %d, want 404", g.status)
		}
	}
	// What fails is told to the app.
	p.Change(func(p *oidctest.Provider) { p.Claims = map[string]any{"sub": "8"} })
	f, first := begin(routeRegistration, "?return_session_token_exchange_code=true")
	g := w.browser().get(visit(t, app.start(f, nil)), "Accept", "text/html")
	g = exchange(first, parsed(t, g.header.Get("Location")).Query().Get("code"))
	if g.status != http.StatusUnprocessableEntity || g.shown(t).ID != f.ID || !slices.Contains(g.shown(t).messages(), 4000002) {
		t.Errorf("exchange of a failed one = %d %s, want 422 with the flow", g.status, g.body)
	}
	// Without a code there is no way back to the app.
	f, _ = begin(routeRegistration, "")
	g = w.browser().get(visit(t, app.start(f, nil)), "Accept", "text/html")
	if g.status != http.StatusSeeOther || !strings.HasPrefix(g.header.Get("Location"), ui+"error") {
		t.Errorf("without a code: %d to %s, want the error page", g.status, g.header.Get("Location"))
	}
}

// Whoever is lured to the provider by an app's link does nothing for who has sent
// it: without the half of the code that their browser got, nothing happens at all.
func TestLuredToAnAppsFlow(t *testing.T) {
	t.Parallel()
	w, p := social(t)
	w.joined("ann@example.org")
	app := w.app()
	for _, kind := range []string{routeRegistration, routeLogin} {
		for _, victim := range []map[string]any{
			{"sub": "7", "email": "bob@example.org", "email_verified": true}, // new
			{"sub": "8", "email": "ann@example.org", "email_verified": true}, // to be linked
		} {
			p.Change(func(p *oidctest.Provider) { p.Claims = victim })
			n := app.get(kind + "/api?return_session_token_exchange_code=true")
			to := app.start(n.shown(t), url.Values{"traits.email": {"eve@example.org"}})
			before, flows := w.people(), w.flowCount()
			g := w.browser().get(visit(t, to), "Accept", "text/html") // the victim's
			second := parsed(t, g.header.Get("Location")).Query().Get("code")
			if g.status != http.StatusSeeOther || second == "" || len(g.header["Set-Cookie"]) > 0 {
				t.Fatalf("callback = %d %v %s", g.status, g.header, g.body)
			}
			if w.people() != before || w.flowCount() != flows || w.sessionCount() != 1 || len(w.person("ann@example.org").Credentials) != 1 {
				t.Errorf("%s, %v: the callback alone has done something", kind, victim)
			}
			if g := app.get("/sessions/token-exchange?init_code=" + initCode(t, n) + "&return_to_code=" + initCode(t, n)); g.status != http.StatusNotFound {
				t.Errorf("exchange without the second half = %d %s, want 404", g.status, g.body)
			}
		}
	}
}

func (w *world) flowCount() int {
	defer w.lock()()
	return len(w.flows)
}

func (w *world) sessionCount() int {
	defer w.lock()()
	return len(w.sessions)
}

// Without the session step the account is made and nobody is signed in.
func TestSocialWithoutSession(t *testing.T) {
	t.Parallel()
	w, p := social(t)
	w.inForce.Registration.(*registration.Service).Plan = func(string) hook.Plan { return hook.Plan{} }
	c := w.browser()
	g := c.through(c.browserFlow(), nil)
	if g.status != http.StatusSeeOther || c.cookies()["ory_kratos_session"] != "" || w.people() != 1 {
		t.Errorf("callback = %d, cookies %v, %d people", g.status, c.cookies(), w.people())
	}

	p.Change(func(p *oidctest.Provider) { p.Claims["sub"], p.Claims["email"] = "8", "bob@example.org" })
	app := w.app()
	n := app.get(routeRegistration + "/api?return_session_token_exchange_code=true")
	g = w.browser().get(visit(t, app.start(n.shown(t), nil)), "Accept", "text/html")
	second := parsed(t, g.header.Get("Location")).Query().Get("code")
	g = app.get("/sessions/token-exchange?init_code=" + initCode(t, n) + "&return_to_code=" + second)
	if g.status != http.StatusNotFound || !strings.Contains(g.body, "The account exists") || w.people() != 2 {
		t.Errorf("exchange = %d %s, %d people; want 404 that tells of the account", g.status, g.body, w.people())
	}
}

// A provider that posts is answered with a GET, which has the cookies.
func TestPostedCallback(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	c := w.browser()
	u := parsed(t, visit(t, c.start(c.browserFlow(), nil)))
	g := w.app().do("POST", u.Path, u.RawQuery, "Content-Type", "application/x-www-form-urlencoded", "Origin", "https://appleid.example", "Accept", "text/html")
	to := parsed(t, g.header.Get("Location"))
	if g.status != http.StatusSeeOther || to.Query().Get("code") != u.Query().Get("code") {
		t.Fatalf("POST = %d to %s", g.status, to)
	}
	c.ended(c.get(to.RequestURI(), "Accept", "text/html"))
}

// Whoever is signed in already is sent on, with nothing done.
func TestCallbackSignedIn(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	c := w.browser()
	f := c.begin(routeLogin)
	uri := visit(t, c.start(f, nil))
	r := c.browserFlow()
	if g := c.postJSON(r.submit(), submitBody(r.csrf(), "bob@example.org", goodPassword)); g.status != 200 {
		t.Fatalf("register = %d %s", g.status, g.body)
	}
	before := c.cookies()["ory_kratos_session"]
	if g := c.get(uri, "Accept", "text/html"); g.status != http.StatusSeeOther || g.header.Get("Location") != welcome {
		t.Errorf("callback = %d to %s", g.status, g.header.Get("Location"))
	}
	if w.people() != 1 || c.cookies()["ory_kratos_session"] != before {
		t.Errorf("%d people; the session was replaced: %t", w.people(), c.cookies()["ory_kratos_session"] != before)
	}
}
