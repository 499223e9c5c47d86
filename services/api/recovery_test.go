package api_test

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
)

const routeRecovery = "/self-service/recovery"

// lost is a recovery flow whose code is on its way, in a world with one account.
func (c *client) lost(query ...string) shown {
	c.t.Helper()
	f := c.begin(routeRecovery, query...)
	g := c.postJSON(f.at(routeRecovery), emailBody(f.csrf(), "a@example.org"))
	if s := g.shown(c.t); g.status != 200 || !slices.Equal(s.messages(), []int64{1060003}) || s.value("email") != "a@example.org" {
		c.t.Fatalf("email = %d %s, want the flow in sent_email with 1060003", g.status, g.body)
	}
	return f
}

// registered is a world with one account.
func oneAccount(t *testing.T, change ...func(*world)) *world {
	w := newWorld(t, change...)
	if g := w.app().signUp(); g.status != 200 {
		t.Fatalf("registration = %d %s", g.status, g.body)
	}
	return w
}

func (c *client) signUp() got {
	f := c.nativeFlow()
	return c.postJSON(f.at("/self-service/registration"), `{"method":"password","traits":{"email":"a@example.org"},"password":"`+goodPassword+`"}`)
}

// By default a recovery leads to the settings by the way of a page: 303, or 422 for
// who asks for JSON.
func TestRecovery(t *testing.T) {
	t.Parallel()
	w := oneAccount(t)
	for _, c := range []*client{w.app(), w.browser()} {
		f := c.lost("?return_to=" + ui + "x")
		at := f.at(routeRecovery)
		g := c.postJSON(at, `{"method":"code","code":"000000","csrf_token":"`+f.csrf()+`"}`)
		if s := g.shown(t); g.status != 200 || !slices.Equal(s.messages(), []int64{4060006}) || s.value("email") == "" {
			t.Errorf("wrong code = %d %s, want 200, 4060006 and the way to another mail", g.status, g.body)
		}
		g = c.postJSON(at, `{"method":"code","code":"`+rightCode+`","csrf_token":"`+f.csrf()+`"}`)
		s := g.shown(t)
		if g.status != 422 || s.Error.ID != "browser_location_change_required" || !strings.Contains(g.body, `"redirect_browser_to":"`+ui+`settings?flow=`) {
			t.Errorf("right code = %d %s, want 422 to the settings", g.status, g.body)
		}
		if says := strings.Contains(g.body, "use_continue_with_transitions: true"); says != (f.Type == "api") {
			t.Errorf("%s: the answer says how an app gets its session: %t: %s", f.Type, says, g.body)
		}
		if strings.Contains(g.body, "ory_st_") {
			t.Errorf("the answer holds a token: %s", g.body)
		}
		// An app that is led to a page has no way to its session: there is none.
		if in := w.recoveries[len(w.recoveries)-1]; in.Sessionless != (f.Type == "api") {
			t.Errorf("%s: a recovery without a session: %t", f.Type, in.Sessionless)
		}
		if state := w.flows[uuid.MustParse(f.ID)].State; state != flow.PassedChallenge {
			t.Errorf("the flow is %s, want %s", state, flow.PassedChallenge)
		}
	}
}

// TestRecoveryInAPage: a form leads to the settings with a session, which say that the
// account is recovered.
func TestRecoveryInAPage(t *testing.T) {
	t.Parallel()
	w := oneAccount(t)
	c := w.browser()
	f := c.lost()
	g := c.postForm(f.at(routeRecovery), url.Values{"method": {"code"}, "code": {rightCode}, "csrf_token": {f.csrf()}})
	to := g.header.Get("Location")
	if g.status != 303 || !strings.HasPrefix(to, ui+"settings?flow=") {
		t.Fatalf("right code = %d to %q, want 303 to the settings", g.status, to)
	}
	if !slices.Contains(w.changed, w.only()) {
		t.Errorf("forgotten: %v, want the sessions of %s", w.changed, w.only())
	}
	if g := c.get("/sessions/whoami"); g.status != 200 || !strings.Contains(g.body, `"method":"code_recovery"`) {
		t.Errorf("whoami = %d %s, want a session by code_recovery", g.status, g.body)
	}
	g = c.get("/self-service/settings/flows?id=" + strings.TrimPrefix(to, ui+"settings?flow="))
	if s := g.shown(t); g.status != 200 || !slices.Contains(s.messages(), 1060001) {
		t.Errorf("settings = %d %s, want them with 1060001", g.status, g.body)
	}
	if g := c.get(routeRecovery+"/browser", "Accept", "application/json"); g.status != 400 || g.shown(t).Error.ID != "session_already_available" {
		t.Errorf("recovery of who is signed in = %d %s, want 400", g.status, g.body)
	}
}

// With use_continue_with_transitions the answer says what comes next.
func TestRecoveryThatGoesOn(t *testing.T) {
	t.Parallel()
	w := oneAccount(t, func(w *world) { w.settings.ContinueWithTransitions = true })
	app := w.app()
	f := app.lost()
	g := app.postJSON(f.at(routeRecovery), `{"method":"code","code":"`+rightCode+`"}`)
	set, settings := strings.Index(g.body, `"action":"set_ory_session_token","ory_session_token":"ory_st_`), strings.Index(g.body, `"action":"show_settings_ui","flow":{"id":"`)
	if g.status != 200 || !strings.Contains(g.body, `"state":"passed_challenge"`) || set < 0 || settings < set || strings.Contains(g.body, `"url":"`+ui+"settings") {
		t.Errorf("app: right code = %d %s, want the token, then the settings without a URL", g.status, g.body)
	}
	if w.recoveries[0].Sessionless {
		t.Error("the app's recovery is without a session")
	}
	b := w.browser()
	f = b.lost()
	g = b.postJSON(f.at(routeRecovery), `{"method":"code","code":"`+rightCode+`","csrf_token":"`+f.csrf()+`"}`)
	if g.status != 200 || strings.Contains(g.body, "ory_st_") || !strings.Contains(g.body, `"action":"show_settings_ui"`) || !strings.Contains(g.body, `"url":"`+ui+"settings?flow=") {
		t.Errorf("browser: right code = %d %s, want the settings with their URL and no token", g.status, g.body)
	}
	if g := b.get("/sessions/whoami"); g.status != 200 {
		t.Errorf("whoami = %d, want the session of the cookie", g.status)
	}
}

// Nobody else's page enters a code, and an app's flow takes no browser's.
func TestRecoveryOfAnothersFlow(t *testing.T) {
	t.Parallel()
	w := oneAccount(t)
	owner, other := w.browser(), w.browser()
	f := owner.lost()
	if g := other.postJSON(f.at(routeRecovery), `{"method":"code","code":"`+rightCode+`","csrf_token":"x"}`); g.status != 403 {
		t.Errorf("code from another browser = %d %s, want 403", g.status, g.body)
	}
	if g := owner.postJSON(f.at(routeRecovery), `{"method":"code","code":"`+rightCode+`"}`); g.status != 403 {
		t.Errorf("code without a token = %d %s, want 403", g.status, g.body)
	}
	app := w.app()
	f = app.lost()
	if g := app.postJSON(f.at(routeRecovery), `{"method":"code","code":"`+rightCode+`"}`, "Origin", "https://evil.example"); g.status != 400 {
		t.Errorf("code for an app's flow with an Origin = %d %s, want 400", g.status, g.body)
	}
}

// TestRecoveryLinkOfACode: it fills the code in, and recovers nothing.
func TestRecoveryLinkOfACode(t *testing.T) {
	t.Parallel()
	w := oneAccount(t)
	f := w.browser().lost()
	reader := w.browser() // reads the mail, and types its link off
	g := reader.get(f.at(routeRecovery)+"&code="+rightCode[:3]+"+"+rightCode[3:], "Accept", "text/html")
	if g.status != 303 || g.header.Get("Location") != ui+"recovery?flow="+f.ID {
		t.Fatalf("link = %d to %q, want 303 to the flow", g.status, g.header.Get("Location"))
	}
	s := reader.get(routeRecovery + "/flows?id=" + f.ID).shown(t)
	if s.value("code") != rightCode || w.flows[uuid.MustParse(f.ID)].State != flow.SentEmail {
		t.Errorf("flow behind the link = %+v, want the code in it and nothing done", s)
	}
	g = reader.postForm(f.at(routeRecovery), url.Values{"method": {"code"}, "code": {rightCode}, "csrf_token": {s.csrf()}})
	if g.status != 303 || !strings.HasPrefix(g.header.Get("Location"), ui+"settings?flow=") {
		t.Errorf("the button behind the link = %d to %q, want 303 to the settings", g.status, g.header.Get("Location"))
	}
}

// TestRecoveryByLink signs in whoever opens the link, once, whatever the flow's type.
func TestRecoveryByLink(t *testing.T) {
	t.Parallel()
	w := oneAccount(t, func(w *world) { w.settings.Recovery.Methods = []string{flow.MethodLink} })
	for _, c := range []*client{w.app(), w.browser()} {
		f := c.begin(routeRecovery)
		g := c.postJSON(f.at(routeRecovery), `{"method":"link","email":"a@example.org","csrf_token":"`+f.csrf()+`"}`)
		if s := g.shown(t); g.status != 200 || !slices.Equal(s.messages(), []int64{1060002}) {
			t.Fatalf("email = %d %s, want 1060002", g.status, g.body)
		}
		link := f.at(routeRecovery) + "&token="
		reader := w.browser()
		if g := reader.do("HEAD", link+rightCode, ""); g.status != 303 || w.flows[uuid.MustParse(f.ID)].State != flow.SentEmail {
			t.Errorf("HEAD of the link = %d, want nothing done", g.status)
		}
		if g := reader.get(link+"wrong", "Accept", "text/html"); g.status != 303 || !strings.HasPrefix(g.header.Get("Location"), ui+"recovery?flow=") {
			t.Errorf("a wrong link = %d to %q, want 303 to another flow", g.status, g.header.Get("Location"))
		}
		if g := reader.get(link+rightCode, "Accept", "text/html"); g.status != 303 || !strings.HasPrefix(g.header.Get("Location"), ui+"settings?flow=") {
			t.Errorf("link = %d to %q, want 303 to the settings", g.status, g.header.Get("Location"))
		}
		if g := reader.get("/sessions/whoami"); g.status != 200 || !strings.Contains(g.body, `"method":"link_recovery"`) {
			t.Errorf("whoami = %d %s, want a session by link_recovery", g.status, g.body)
		}
		g = w.browser().get(link+rightCode, "Accept", "text/html")
		other := strings.TrimPrefix(g.header.Get("Location"), ui+"recovery?flow=")
		if id, err := uuid.Parse(other); err != nil || other == f.ID || w.flows[id].Form.Messages[""][0].ID != 4060004 {
			t.Errorf("the used link = %d to %q, want another flow with 4060004", g.status, g.header.Get("Location"))
		}
	}
}

// A link that was opened before says so in a new flow, to every browser; who is signed in
// is led to where they are.
func TestALinkOpenedAgainSaysSo(t *testing.T) {
	t.Parallel()
	w := oneAccount(t)
	began, reader := w.browser(), w.browser()
	f := began.lost()
	link := f.at(routeRecovery) + "&code=" + rightCode
	reader.get(link, "Accept", "text/html")
	s := reader.get(routeRecovery + "/flows?id=" + f.ID).shown(t)
	reader.postForm(f.at(routeRecovery), url.Values{"method": {"code"}, "code": {rightCode}, "csrf_token": {s.csrf()}})

	_, id := w.handOut("link", "")
	handedOut := routeRecovery + "?flow=" + id.String() + "&token=" + rightCode
	owner := w.browser()
	owner.get(handedOut, "Accept", "text/html")

	v := w.browser().sent()
	verified := v.at(routeVerification) + "&code=" + rightCode
	verifier := w.browser()
	verifier.get(verified, "Accept", "text/html")
	verifier.postForm(v.at(routeVerification), url.Values{"method": {"code"}, "code": {rightCode}})

	gone := "?flow=" + uuid.NewString() + "&code=" + rightCode
	for name, c := range map[string]struct {
		who        *client
		link, kind string
		says       int64 // 0 is that it leads to the start page
	}{
		"code, another browser":         {w.browser(), link, "recovery", 4060004},
		"code, who is signed in by it":  {reader, link, "recovery", 0},
		"code, who has begun it":        {began, link, "recovery", 4060004},
		"link, another browser":         {w.browser(), handedOut, "recovery", 4060004},
		"link, who is signed in by it":  {owner, handedOut, "recovery", 0},
		"verification, another browser": {w.browser(), verified, "verification", 4070001},
		"a recovery that is gone":       {w.browser(), routeRecovery + gone, "recovery", 4060004},
		"a verification that is gone":   {w.browser(), routeVerification + gone, "verification", 4070001},
		"a link that is gone":           {w.browser(), strings.Replace(routeRecovery+gone, "code=", "token=", 1), "recovery", 4060004},
	} {
		g := c.who.get(c.link, "Accept", "text/html", "Sec-Fetch-Dest", "document")
		to := g.header.Get("Location")
		if c.says == 0 {
			if g.status/100 != 3 || to != welcome {
				t.Errorf("%s: %d to %q, want %q", name, g.status, to, welcome)
			}
			continue
		}
		s := c.who.get("/self-service/" + c.kind + "/flows?id=" + strings.TrimPrefix(to, ui+c.kind+"?flow=")).shown(t)
		if g.status != 303 || !slices.Equal(s.messages(), []int64{c.says}) {
			t.Errorf("%s: %d to %q with %d, want a new flow with %d", name, g.status, to, s.messages(), c.says)
		}
	}
	if g := w.app().get(routeRecovery+gone, "Accept", "application/json"); g.status != 404 {
		t.Errorf("a script that asks for a recovery that is gone = %d, want 404", g.status)
	}
}

// What ends a flow of a recovery before its time, and what is off.
func TestRecoveryThatIsOver(t *testing.T) {
	t.Parallel()
	w := oneAccount(t)
	c := w.app()
	f := c.lost()
	at, code := f.at(routeRecovery), `{"method":"code","code":"`+rightCode+`"}`
	for range 5 {
		c.postJSON(at, `{"method":"code","code":"000000"}`)
	}
	if g := c.postJSON(at, code); g.status != 410 || g.shown(t).Error.ID != "self_service_flow_replaced" || g.shown(t).UseFlowID == "" {
		t.Errorf("the right code behind five wrong ones = %d %s, want 410 with use_flow_id", g.status, g.body)
	}
	f = c.lost()
	c.postJSON(f.at(routeRecovery), code)
	g := c.postJSON(f.at(routeRecovery), code)
	next := g.shown(t).UseFlowID
	if g.status != 410 || next == "" || w.flows[uuid.MustParse(next)].Form.Messages[""][0].ID != 4060001 {
		t.Errorf("the same code again = %d %s, want 410 and 4060001 in the new flow", g.status, g.body)
	}
	f = c.lost()
	w.expire(f.ID)
	g = c.postJSON(f.at(routeRecovery), code)
	if g.status != 303 || !strings.Contains(g.header.Get("Location"), routeRecovery+"/flows?id=") {
		t.Errorf("code of a dead flow = %d to %q, want the older answer, 303 to the new one", g.status, g.header.Get("Location"))
	}
	off := newWorld(t, func(w *world) { w.settings.Recovery.Enabled = false })
	if g := off.app().get(routeRecovery + "/api"); g.status != 400 || g.shown(t).Error.ID != "self_service_flow_disabled" {
		t.Errorf("recovery that is off = %d %s, want 400", g.status, g.body)
	}
}

// Without a session the same code is good for another try, and the answer says so.
func TestRecoveryWithoutASession(t *testing.T) {
	t.Parallel()
	w := oneAccount(t)
	c := w.app()
	f := c.lost()
	w.noRecovery = errors.New("nobody answers")
	g := c.postJSON(f.at(routeRecovery), `{"method":"code","code":"`+rightCode+`"}`)
	if g.status != 503 || g.header.Get("Retry-After") == "" || !strings.Contains(g.body, "same code again") {
		t.Errorf("without a session = %d %s, want 503 that says to send the code again", g.status, g.body)
	}
}

// A link signs nobody over who is signed in, and no image of another page.
func TestRecoveryLinkThatIsNotFollowed(t *testing.T) {
	t.Parallel()
	w := oneAccount(t, func(w *world) { w.settings.Recovery.Methods = []string{flow.MethodLink} })
	c := w.app()
	f := c.begin(routeRecovery)
	c.postJSON(f.at(routeRecovery), `{"method":"link","email":"a@example.org"}`)
	link := f.at(routeRecovery) + "&token=" + rightCode
	if g := w.browser().get(link, "Accept", "text/html", "Sec-Fetch-Dest", "image", "Sec-Fetch-Site", "cross-site"); g.status != 303 || strings.Contains(g.header.Get("Location"), "settings") {
		t.Errorf("the link as an image = %d to %q, want nothing done", g.status, g.header.Get("Location"))
	}
	other := w.browser()
	other.signIn("a@example.org")
	before := other.cookies()
	if g := other.get(link, "Accept", "text/html"); g.status != 302 || g.header.Get("Location") != welcome || len(g.header.Values("Set-Cookie")) > 0 {
		t.Errorf("the link of who is signed in = %d to %q, want 302 and the session as it is", g.status, g.header.Get("Location"))
	}
	if after := other.cookies(); !maps.Equal(before, after) || w.flows[uuid.MustParse(f.ID)].State != flow.SentEmail {
		t.Errorf("cookies %v became %v, the flow is %s", before, after, w.flows[uuid.MustParse(f.ID)].State)
	}
	if g := w.browser().get(link, "Accept", "text/html", "Sec-Fetch-Dest", "document"); !strings.HasPrefix(g.header.Get("Location"), ui+"settings?flow=") {
		t.Errorf("the link of who is not = %d to %q, want the settings", g.status, g.header.Get("Location"))
	}
	if shown := w.recoveries[len(w.recoveries)-1].Request; strings.Contains(shown.URL, rightCode) || !strings.Contains(shown.URL, f.ID) {
		t.Errorf("hooks are shown %q, want the flow without the token", shown.URL)
	}
}
