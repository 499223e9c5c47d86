package api_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/oidc/oidctest"
	"github.com/usher-auth/usher/services/settings"
)

const routeSettings = "/self-service/settings"

// joined is a browser in which somebody has registered with a password.
func (w *world) joined(email string) *client {
	w.t.Helper()
	c := w.browser()
	f := c.browserFlow()
	if g := c.postJSON(f.submit(), submitBody(f.csrf(), email, goodPassword)); g.status != http.StatusOK {
		w.t.Fatalf("register = %d %s", g.status, g.body)
	}
	return c
}

// age makes all sessions older.
func (w *world) age(d time.Duration) {
	defer w.lock()()
	for digest, who := range w.sessions {
		aged := *who.Session
		aged.AuthenticatedAt = aged.AuthenticatedAt.Add(-d)
		w.sessions[digest] = &api.Who{Session: &aged, Identity: who.Identity}
	}
}

func (c *client) fetchSettings(id string) shown {
	c.t.Helper()
	g := c.get(routeSettings + "/flows?id=" + id)
	if g.status != http.StatusOK {
		c.t.Fatalf("fetch = %d %s, want 200", g.status, g.body)
	}
	return g.shown(c.t)
}

// change submits a form of settings, as a page does.
func (c *client) change(f shown, name, provider string) got {
	c.t.Helper()
	return c.postForm(f.at(routeSettings), url.Values{"csrf_token": {f.csrf()}, name: {provider}})
}

// changeJSON is change as a script or an app does it.
func (c *client) changeJSON(f shown, body map[string]string) got {
	c.t.Helper()
	if f.Type == "browser" {
		body["csrf_token"] = f.csrf()
	}
	encoded, _ := json.Marshal(body)
	return c.postJSON(f.at(routeSettings), string(encoded))
}

// linked goes all the way, from the button to the callback's answer.
func (c *client) linked(f shown, provider string) got {
	c.t.Helper()
	g := c.change(f, "link", provider)
	if g.status != http.StatusSeeOther || c.cookies()["ory_kratos_continuity"] == "" {
		c.t.Fatalf("link = %d to %s %s, want 303 to the provider", g.status, g.header.Get("Location"), g.body)
	}
	return c.get(visit(c.t, parsed(c.t, g.header.Get("Location"))), "Accept", "text/html")
}

// buttons are those of settings.
func (s shown) buttons() (all []string) {
	for _, n := range s.UI.Nodes {
		if n.Attributes.Name != "csrf_token" {
			all = append(all, n.Attributes.Name+"="+n.Attributes.Value.(string))
		}
	}
	return all
}

// state tells what a flow of settings shows besides.
func (g got) settings(t testing.TB) (s struct {
	State    string
	Identity struct{ ID string }
	Continue []struct {
		Action string
		To     string `json:"redirect_browser_to"`
	} `json:"continue_with"`
},
) {
	t.Helper()
	if err := json.Unmarshal([]byte(g.body), &s); err != nil {
		t.Fatalf("answer %d is no JSON: %v", g.status, err)
	}
	return s
}

func TestSettingsNeedASession(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	ann := w.joined("ann@example.org")
	f := ann.begin(routeSettings, "?return_to="+url.QueryEscape(ui+"app"))
	nobody := w.browser()
	for what, g := range map[string]got{
		"api":            nobody.get(routeSettings + "/api"),
		"api, a page":    nobody.get(routeSettings+"/api", "Accept", "text/html"),
		"script":         nobody.get(routeSettings+"/browser", "Accept", "application/json"),
		"fetch":          nobody.get(routeSettings + "/flows?id=" + f.ID),
		"fetch, unknown": nobody.get(routeSettings + "/flows?id=" + uuid.NewString()),
		"submit":         nobody.changeJSON(f, map[string]string{"unlink": "corp"}),
		"wrong token":    w.app().get(routeSettings+"/api", "X-Session-Token", "ory_st_no"),
	} {
		if g.status != http.StatusUnauthorized || g.shown(t).Error.ID != "session_inactive" {
			t.Errorf("%s = %d %s, want 401 session_inactive", what, g.status, g.body)
		}
	}
	login := func(returnTo string) string {
		return publicURL + "self-service/login/browser?" + url.Values{"return_to": {returnTo}}.Encode()
	}
	again := publicURL + "self-service/settings/browser"
	for what, c := range map[string]struct {
		got
		want string
	}{
		"init":                    {nobody.get(routeSettings+"/browser", "Accept", "text/html"), login(again)},
		"init with return_to":     {nobody.get(routeSettings+"/browser?return_to="+url.QueryEscape(ui+"app"), "Accept", "text/html"), login(ui + "app")},
		"submit":                  {nobody.change(f, "unlink", "corp"), login(again)},
		"submit, unknown flow":    {nobody.change(shown{ID: uuid.NewString()}, "unlink", "corp"), login(again)},
		"back to the page":        {nobody.get(f.at(routeSettings), "Accept", "text/html"), login(again)},
		"submit of who was there": {ann.out().change(f, "unlink", "corp"), login(ui + "app")},
	} {
		if c.status != http.StatusSeeOther || c.header.Get("Location") != c.want {
			t.Errorf("%s = %d to %s, want 303 to %s", what, c.status, c.header.Get("Location"), c.want)
		}
	}
}

// out is the browser without its session.
func (c *client) out() *client {
	c.t.Helper()
	u := parsed(c.t, c.base)
	c.http.Jar.SetCookies(u, []*http.Cookie{{Name: "ory_kratos_session", Path: "/", MaxAge: -1}})
	return c
}

func TestSettingsOfSomebodyElse(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	f := w.joined("ann@example.org").begin(routeSettings)
	bob := w.joined("bob@example.org")
	for what, g := range map[string]got{
		"fetch":  bob.get(routeSettings + "/flows?id=" + f.ID),
		"submit": bob.changeJSON(f, map[string]string{"unlink": "corp"}),
		"open":   bob.get(f.at(routeSettings), "Accept", "application/json"),
	} {
		if g.status != http.StatusForbidden || g.shown(t).Error.ID != "security_identity_mismatch" {
			t.Errorf("%s = %d %s, want 403 security_identity_mismatch", what, g.status, g.body)
		}
	}
	for what, g := range map[string]got{"submit": bob.change(f, "unlink", "corp"), "open": bob.get(f.at(routeSettings), "Accept", "text/html")} {
		if g.status != http.StatusSeeOther || !strings.HasPrefix(g.header.Get("Location"), ui+"error?") {
			t.Errorf("%s of a page = %d to %s, want 303 to the error page", what, g.status, g.header.Get("Location"))
		}
	}
	// The identity alone is not enough: a flow belongs to a browser too.
	bob.http.Jar = nil
	own := w.joined("cid@example.org")
	f = own.begin(routeSettings)
	if g := w.app().get(routeSettings+"/flows?id="+f.ID, "Cookie", "ory_kratos_session="+own.cookies()["ory_kratos_session"]); g.status != http.StatusForbidden || g.shown(t).Error.ID != "security_csrf_violation" {
		t.Errorf("fetch without the CSRF cookie = %d %s, want 403 security_csrf_violation", g.status, g.body)
	}
	f.UI.Nodes = nil
	if g := own.changeJSON(f, map[string]string{"unlink": "corp"}); g.status != http.StatusForbidden || g.shown(t).Error.ID != "security_csrf_violation" {
		t.Errorf("submit without the token = %d %s, want 403 security_csrf_violation", g.status, g.body)
	}
}

func TestLinkInSettings(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	c := w.joined("ann@example.org")
	f := c.begin(routeSettings)
	if got := f.buttons(); !slices.Equal(got, []string{"link=corp", "link=other"}) {
		t.Errorf("buttons %q, want both to link", got)
	}
	session := c.cookies()["ory_kratos_session"]
	g := c.linked(f, "corp")
	if g.status != http.StatusSeeOther || g.header.Get("Location") != ui+"settings?flow="+f.ID || c.cookies()["ory_kratos_session"] != session {
		t.Fatalf("callback = %d to %s, want 303 to the flow, and the session as it was", g.status, g.header.Get("Location"))
	}
	again := c.get(routeSettings + "/flows?id=" + f.ID)
	i := w.person("ann@example.org")
	if s := again.settings(t); s.State != "success" || s.Identity.ID != i.ID.String() || len(s.Continue) > 0 || !slices.Equal(again.shown(t).messages(), []int64{1050001}) || again.shown(t).Active != "oidc" {
		t.Errorf("flow = %s, want success with 1050001", again.body)
	}
	if got := again.shown(t).buttons(); !slices.Equal(got, []string{"link=other", "unlink=corp"}) {
		t.Errorf("buttons %q, want corp to unlink", got)
	}
	if linked := w.person("corp:7"); linked == nil || linked.ID != i.ID || w.people() != 1 {
		t.Errorf("corp:7 is of %+v, want Ann", linked)
	}
	if !slices.Contains(w.changed, i.ID) {
		t.Errorf("the cache was told of %v, want %s", w.changed, i.ID)
	}
	if e := w.told[len(w.told)-1]; e.Type != "identity.updated" || e.Actor != "person:"+i.ID.String() || string(e.Data) != `{"identity_id":"`+i.ID.String()+`","changed":["credentials"]}` {
		t.Errorf("event %+v %s", e, e.Data)
	}
	if g := c.linked(f, "corp"); g.status != http.StatusSeeOther || !slices.Equal(c.fetchSettings(f.ID).messages(), []int64{1050001}) || len(w.told) != 1 {
		t.Errorf("linked again = %d, %d events, want a success without one", g.status, len(w.told))
	}
	browser := w.browser()
	browser.ended(browser.through(browser.begin(routeLogin), nil)) // she signs in with it
	if w.people() != 1 {
		t.Errorf("%d people, want 1", w.people())
	}
}

// A script is told where to go, and what was wanted at the end counts.
func TestLinkInSettingsByAScript(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	c := w.joined("ann@example.org")
	f := c.begin(routeSettings, "?return_to="+url.QueryEscape(ui+"app"))
	to := c.told(c.changeJSON(f, map[string]string{"method": "oidc", "link": "corp"}))
	g := c.get(visit(t, to), "Accept", "application/json")
	s := g.settings(t)
	if g.status != http.StatusOK || s.State != "success" || len(s.Continue) != 1 || s.Continue[0].Action != "redirect_browser_to" || s.Continue[0].To != ui+"app" {
		t.Errorf("callback = %d %s, want 200 with the flow, on to app", g.status, g.body)
	}
	g = c.change(f, "unlink", "corp")
	if g.status != http.StatusSeeOther || g.header.Get("Location") != ui+"app" || w.person("corp:7") != nil {
		t.Errorf("unlink = %d to %s, want 303 to app, and nothing linked", g.status, g.header.Get("Location"))
	}
	f = c.begin(routeSettings)
	if g := c.changeJSON(f, map[string]string{"link": "nobody"}); g.status != http.StatusNotFound {
		t.Errorf("link of an unknown provider = %d %s, want 404", g.status, g.body)
	}
	w.settings.SettingsFlow.ReturnURL = ui + "after"
	w.settings.SettingsFlow.MethodReturnURLs = map[string]string{"oidc": ui + "linked"}
	w.compiled = compile(t, w.settings)
	if g := c.linked(f, "corp"); g.header.Get("Location") != ui+"linked" {
		t.Errorf("callback = %d to %s, want what is configured", g.status, g.header.Get("Location"))
	}
}

// Who comes back must be who went, and the account must be nobody else's.
func TestLinkInSettingsRefuses(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		meanwhile func(w *world, c *client, p *oidctest.Provider, uri string) string
		where     string // the page that the browser ends at, and
		message   int64  // what the flow says
	}{
		"signed out": {func(_ *world, c *client, _ *oidctest.Provider, uri string) string {
			c.out()
			return uri
		}, publicURL + "self-service/login/browser?return_to=", 0},
		"somebody else signed in": {func(w *world, c *client, _ *oidctest.Provider, uri string) string {
			other := w.joined("bob@example.org")
			c.http.Jar.SetCookies(parsed(w.t, c.base), []*http.Cookie{{Name: "ory_kratos_session", Path: "/", Value: other.cookies()["ory_kratos_session"]}})
			return uri
		}, ui + "error?", 0},
		"another browser": {func(w *world, c *client, _ *oidctest.Provider, uri string) string {
			c.http.Jar = w.browser().http.Jar
			return uri
		}, ui + "error?", 0},
		"somebody else's account": {func(w *world, _ *client, _ *oidctest.Provider, uri string) string {
			bob := w.joined("bob@example.org")
			bob.linked(bob.begin(routeSettings), "corp")
			return uri
		}, ui + "settings?flow=", 4000027},
		"another one there already": {func(w *world, c *client, p *oidctest.Provider, uri string) string {
			second := w.joined("bob@example.org")
			*c = *second
			f := c.begin(routeSettings)
			c.linked(f, "corp")
			p.Change(func(p *oidctest.Provider) { p.Claims["sub"] = "8" })
			return visit(w.t, parsed(w.t, c.change(f, "link", "corp").header.Get("Location")))
		}, ui + "settings?flow=", 4000001},
		"denied": {func(w *world, _ *client, _ *oidctest.Provider, uri string) string {
			u := parsed(w.t, uri)
			return u.Path + "?error=access_denied&state=" + url.QueryEscape(u.Query().Get("state"))
		}, ui + "settings?flow=", 4000001},
		"deactivated": {func(w *world, _ *client, _ *oidctest.Provider, uri string) string {
			w.person("ann@example.org").State = identity.Inactive
			return uri
		}, publicURL + "self-service/login/browser?return_to=", 0},
	} {
		w, p := social(t)
		browser := w.joined("ann@example.org")
		f := browser.begin(routeSettings)
		uri := c.meanwhile(w, browser, p, visit(t, parsed(t, browser.change(f, "link", "corp").header.Get("Location"))))
		g := browser.get(uri, "Accept", "text/html")
		if g.status != http.StatusSeeOther || !strings.HasPrefix(g.header.Get("Location"), c.where) {
			t.Errorf("%s: callback = %d to %s %s, want 303 to %s", what, g.status, g.header.Get("Location"), g.body, c.where)
			continue
		}
		if ann := w.person("ann@example.org"); len(settings.Linked(ann)) > 0 {
			t.Errorf("%s: Ann has %v", what, settings.Linked(ann))
		}
		if c.message == 0 {
			continue
		}
		id := parsed(t, g.header.Get("Location")).Query().Get("flow")
		again := browser.get(routeSettings + "/flows?id=" + id)
		if ids := again.shown(t).messages(); !slices.Equal(ids, []int64{c.message}) || again.settings(t).State != "show_form" {
			t.Errorf("%s: flow = %s, want message %d and show_form", what, again.body, c.message)
		}
		if g := browser.get(uri, "Accept", "text/html"); !strings.HasPrefix(g.header.Get("Location"), ui+"error?") {
			t.Errorf("%s: second callback = %d to %s, want the error page", what, g.status, g.header.Get("Location"))
		}
	}
}

func TestUnlinkInSettings(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	c := w.browser()
	c.ended(c.through(c.browserFlow(), nil)) // corp is the only way to sign in
	f := c.begin(routeSettings)
	if got := f.buttons(); !slices.Equal(got, []string{"link=other"}) {
		t.Errorf("buttons %q, want none for the last way to sign in", got)
	}
	g := c.changeJSON(f, map[string]string{"unlink": "corp"})
	if g.status != http.StatusBadRequest || !slices.Equal(g.shown(t).messages(), []int64{4000001}) || g.settings(t).State != "show_form" || w.person("corp:7") == nil {
		t.Errorf("unlink of the last way = %d %s, want 400 with a message", g.status, g.body)
	}
	if g := c.change(f, "unlink", "corp"); g.status != http.StatusSeeOther || g.header.Get("Location") != ui+"settings?flow="+f.ID {
		t.Errorf("a page = %d to %s, want 303 to the flow", g.status, g.header.Get("Location"))
	}
	c.linked(f, "other")
	if got := c.fetchSettings(f.ID).buttons(); !slices.Equal(got, []string{"unlink=corp", "unlink=other"}) {
		t.Errorf("buttons %q, want both to unlink", got)
	}
	for range 2 { // what is done is done
		g = c.changeJSON(f, map[string]string{"unlink": "corp"})
		if s := g.settings(t); g.status != http.StatusOK || s.State != "success" || s.Continue[0].To != ui+"settings?flow="+f.ID || w.person("corp:7") != nil {
			t.Errorf("unlink = %d %s, want success", g.status, g.body)
		}
	}
	if g := c.changeJSON(f, map[string]string{"unlink": "nobody"}); g.status != http.StatusNotFound {
		t.Errorf("unlink of an unknown provider = %d %s, want 404", g.status, g.body)
	}
	if g := c.changeJSON(f, map[string]string{"unlink": "other"}); g.status != http.StatusBadRequest || g.settings(t).State != "show_form" || len(g.settings(t).Continue) > 0 {
		t.Errorf("unlink of the last way after a success = %d %s, want 400", g.status, g.body)
	}
}

// An app removes accounts, and links none: the browser that comes back has no session.
func TestNativeSettings(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	app := w.app()
	r := app.nativeFlow()
	var joined struct {
		Token string `json:"session_token"`
	}
	if err := json.Unmarshal([]byte(app.postJSON(r.submit(), submitBody("", "ann@example.org", goodPassword)).body), &joined); err != nil {
		t.Fatal(err)
	}
	token := []string{"X-Session-Token", joined.Token}
	f := app.get(routeSettings+"/api?return_session_token_exchange_code=true", token...).shown(t)
	if len(f.buttons()) != 0 || len(w.flows[uuidOf(t, f.ID)].Exchange) != 0 {
		t.Errorf("buttons %q, exchange %v, want none", f.buttons(), w.flows[uuidOf(t, f.ID)].Exchange)
	}
	g := app.postJSON(f.at(routeSettings), `{"link":"corp"}`, token...)
	if g.status != http.StatusBadRequest || !slices.Equal(g.shown(t).messages(), []int64{4000001}) || !strings.Contains(g.body, "in a browser") {
		t.Errorf("link = %d %s, want 400", g.status, g.body)
	}
	i := w.person("ann@example.org")
	i.Credentials = append(i.Credentials, identity.Credential{Type: identity.MethodOIDC, Identifiers: []string{"corp:7"}})
	if got := app.get(routeSettings+"/flows?id="+f.ID, token...).shown(t).buttons(); !slices.Equal(got, []string{"unlink=corp"}) {
		t.Errorf("buttons %q, want corp to unlink", got)
	}
	for _, header := range []string{"Cookie", "Origin"} {
		if g := app.postJSON(f.at(routeSettings), `{"unlink":"corp"}`, append(slices.Clone(token), header, "a=b")...); g.status != http.StatusBadRequest {
			t.Errorf("unlink with %s = %d %s, want 400", header, g.status, g.body)
		}
	}
	g = app.postJSON(f.at(routeSettings), `{"unlink":"corp"}`, token...)
	if s := g.settings(t); g.status != http.StatusOK || s.State != "success" || len(s.Continue) != 0 || w.person("corp:7") != nil {
		t.Errorf("unlink = %d %s, want success", g.status, g.body)
	}
	b := w.joined("bob@example.org")
	browsers := b.begin(routeSettings)
	if g := b.postJSON(browsers.at(routeSettings), `{"unlink":"corp","csrf_token":"`+browsers.csrf()+`"}`, token...); g.status != http.StatusForbidden {
		t.Errorf("a browser's flow with the token of somebody else = %d %s, want 403", g.status, g.body)
	}
}

func TestSettingsWithoutAMethod(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	c := w.joined("ann@example.org")
	f := c.begin(routeSettings)
	for _, body := range []map[string]string{
		{}, {"method": "oidc"}, {"method": "profile"}, {"method": "password", "password": goodPassword}, {"provider": "corp"}, {"method": "profile", "unlink": "corp"},
	} {
		g := c.changeJSON(f, body)
		if ids := g.shown(t).messages(); g.status != http.StatusBadRequest || !slices.Equal(ids, []int64{4010004}) {
			t.Errorf("submit of %v = %d with %v, want 400 with 4010004", body, g.status, ids)
		}
	}
	if g := c.changeJSON(f, map[string]string{"link": "corp", "unlink": "corp"}); g.status != http.StatusBadRequest || !slices.Equal(g.shown(t).messages(), []int64{4000001}) {
		t.Errorf("both = %d %s, want 400 with 4000001", g.status, g.body)
	}
	if g := c.get(f.at(routeSettings), "Accept", "application/json"); g.status != http.StatusBadRequest || !slices.Equal(g.shown(t).messages(), []int64{4010004}) {
		t.Errorf("GET = %d %s, want 400 with 4010004", g.status, g.body)
	}
	w.settings.SettingsFlow.Methods = nil
	w.compiled = compile(t, w.settings)
	f = c.begin(routeSettings)
	if g := c.changeJSON(f, map[string]string{"link": "corp"}); len(f.buttons()) > 0 || !slices.Equal(g.shown(t).messages(), []int64{4010004}) {
		t.Errorf("without providers: buttons %q, link = %d %s, want 4010004", f.buttons(), g.status, g.body)
	}
}

// An old session is made fresh first, and the browser is back at its flow then.
func TestSettingsWantAFreshSession(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	c := w.joined("ann@example.org")
	w.age(time.Hour - time.Minute)
	f := c.begin(routeSettings)
	if g := c.change(f, "link", "corp"); !strings.Contains(g.header.Get("Location"), "code_challenge") {
		t.Fatalf("link = %d to %s, want the provider", g.status, g.header.Get("Location"))
	}
	w.age(2 * time.Minute)
	login := publicURL + "self-service/login/browser?" + url.Values{"refresh": {"true"}, "return_to": {publicURL + "self-service/settings?flow=" + f.ID}}.Encode()
	for _, what := range []string{"link", "unlink"} {
		g := c.changeJSON(f, map[string]string{what: "corp"})
		var answer struct {
			To string `json:"redirect_browser_to"`
		}
		if err := json.Unmarshal([]byte(g.body), &answer); err != nil || g.status != http.StatusForbidden || g.shown(t).Error.ID != "session_refresh_required" || answer.To != login {
			t.Errorf("%s = %d %s, want 403 session_refresh_required to %s", what, g.status, g.body, login)
		}
		if g := c.change(f, what, "corp"); g.status != http.StatusSeeOther || g.header.Get("Location") != login {
			t.Errorf("%s of a page = %d to %s, want 303 to the login", what, g.status, g.header.Get("Location"))
		}
	}
	g := c.get(parsed(t, login).RequestURI(), "Accept", "text/html")
	l := c.get("/self-service/login/flows?id=" + parsed(t, g.header.Get("Location")).Query().Get("flow")).shown(t)
	w.age(-2 * time.Hour) // as a login does, which in these tests leaves the session in memory
	g = c.postForm(l.at(routeLogin), loginForm(l.csrf(), "ann@example.org", goodPassword))
	if g.status != http.StatusSeeOther || g.header.Get("Location") != publicURL+"self-service/settings?flow="+f.ID {
		t.Fatalf("login = %d to %s %s, want 303 to the flow", g.status, g.header.Get("Location"), g.body)
	}
	if g := c.get(routeSettings + "/flows?id=" + f.ID); g.status != http.StatusForbidden {
		t.Errorf("fetch with the new CSRF cookie = %d, want 403 before the browser is back", g.status)
	}
	if g := c.do(http.MethodHead, f.at(routeSettings), "", "Accept", "text/html"); g.status != http.StatusSeeOther || c.get(routeSettings+"/flows?id="+f.ID).status != http.StatusForbidden {
		t.Errorf("HEAD = %d, want it to change nothing", g.status)
	}
	if g := c.get(f.at(routeSettings), "Accept", "text/html"); g.status != http.StatusSeeOther || g.header.Get("Location") != ui+"settings?flow="+f.ID {
		t.Fatalf("back = %d to %s, want 303 to the page", g.status, g.header.Get("Location"))
	}
	c.linked(c.fetchSettings(f.ID), "corp")
	if linked := w.person("corp:7"); linked == nil {
		t.Error("nothing is linked")
	}
}

func TestSettingsThatAreOver(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	c := w.joined("ann@example.org")
	f := c.begin(routeSettings, "?return_to="+url.QueryEscape(ui+"app"))
	uri := visit(t, parsed(t, c.change(f, "link", "corp").header.Get("Location")))
	over := w.flows[uuidOf(t, f.ID)]
	over.ExpiresAt = time.Now().Add(-time.Minute)
	w.flows[over.ID] = over
	g := c.get(routeSettings + "/flows?id=" + f.ID)
	if e := g.shown(t).Error; g.status != http.StatusGone || e.ID != "" || e.Details["redirect_to"] != publicURL+"self-service/settings/browser?return_to="+url.QueryEscape(ui+"app") {
		t.Errorf("fetch = %d %s, want 410 without an id", g.status, g.body)
	}
	g = c.changeJSON(f, map[string]string{"unlink": "corp"})
	next := g.shown(t)
	if g.status != http.StatusGone || next.Error.ID != "self_service_flow_expired" {
		t.Fatalf("submit = %d %s, want 410", g.status, g.body)
	}
	if again := c.fetchSettings(next.UseFlowID); !slices.Equal(again.messages(), []int64{4050001}) || again.ReturnTo != ui+"app" {
		t.Errorf("new flow says %v, leads to %q, want 4050001 and app", again.messages(), again.ReturnTo)
	}
	for what, g := range map[string]got{"submit of a page": c.change(f, "unlink", "corp"), "callback": c.get(uri, "Accept", "text/html")} {
		to := parsed(t, g.header.Get("Location"))
		if g.status != http.StatusSeeOther || !strings.HasPrefix(to.String(), ui+"settings?flow=") || to.Query().Get("flow") == f.ID {
			t.Errorf("%s = %d to %s, want 303 to a new flow", what, g.status, to)
			continue
		}
		c.fetchSettings(to.Query().Get("flow"))
	}
	if w.person("corp:7") != nil {
		t.Error("an account was linked in a flow that was over")
	}
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if g := w.app().get("/.well-known/change-password"); g.status != 303 || g.header.Get("Location") != ui+"settings" {
		t.Errorf("change-password = %d to %q, want 303 to the settings", g.status, g.header.Get("Location"))
	}
}
