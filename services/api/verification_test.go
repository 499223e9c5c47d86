package api_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
)

func emailBody(csrf, email string) string {
	return `{"method":"code","csrf_token":"` + csrf + `","email":"` + email + `"}`
}

// sent is a verification flow whose code is on its way.
func (c *client) sent(query ...string) shown {
	c.t.Helper()
	f := c.begin(routeVerification, query...)
	g := c.postJSON(f.at(routeVerification), emailBody(f.csrf(), "a@example.org"))
	if s := g.shown(c.t); g.status != 200 || !slices.Equal(s.messages(), []int64{1080003}) || s.value("email") != "a@example.org" {
		c.t.Fatalf("email = %d %s, want the flow in sent_email", g.status, g.body)
	}
	return f
}

// A flow keeps the language that its mail is to be written in, and not what no browser
// says.
func TestAFlowKeepsALanguage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for said, want := range map[string]string{
		"":                                       "",
		"en;q=0.8,de-AT,de;q=0.9":                "de-AT,de,en",
		"de\x80":                                 "",
		"de <script>":                            "",
		"fr, " + strings.Repeat("x-unread,", 12): "fr" + strings.Repeat(",x-unread", 7),
		strings.Repeat("de,", 90):                "",
	} {
		for _, kind := range []string{"registration", "login", "recovery", "verification"} {
			g := w.app().get("/self-service/"+kind+"/api", "Accept-Language", said)
			if f := w.flows[uuid.MustParse(g.shown(t).ID)]; f.Languages != want || strings.Contains(g.body, "de-AT") {
				t.Errorf("%s with Accept-Language %q keeps %q, want %q: %s", kind, said, f.Languages, want, g.body)
			}
		}
	}
}

func TestVerification(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []*client{w.app(), w.browser()} {
		f := c.sent("?return_to=" + ui + "x")
		at := f.at(routeVerification)
		g := c.postJSON(at, `{"code":"000000"}`)
		if s := g.shown(t); g.status != 200 || !strings.Contains(g.body, `"state":"sent_email"`) || !slices.Equal(s.messages(), []int64{4070006}) || s.value("email") == "" {
			t.Errorf("wrong code = %d %s, want 200, 4070006 and the way to another mail", g.status, g.body)
		}
		if g := c.get(routeVerification + "/flows?id=" + f.ID); !slices.Equal(g.shown(t).messages(), []int64{4070006}) {
			t.Errorf("fetch afterwards = %s, want 4070006", g.body)
		}
		g = c.postJSON(at, `{"method":"code","code":"`+rightCode+`"}`)
		if g.status != 200 || !strings.Contains(g.body, `"state":"passed_challenge"`) || !strings.Contains(g.body, `"action":"`+ui+`x","method":"GET"`) || !slices.Equal(g.shown(t).messages(), []int64{1080002}) {
			t.Errorf("right code = %d %s, want the flow passed with 1080002", g.status, g.body)
		}
		if g := c.get(routeVerification + "/flows?id=" + f.ID); g.status != 200 || !slices.Equal(g.shown(t).messages(), []int64{1080002}) {
			t.Errorf("fetch afterwards = %d %s, want it passed", g.status, g.body)
		}
		g = c.postJSON(at, `{"method":"code","code":"`+rightCode+`"}`)
		s := g.shown(t)
		if g.status != 410 || s.Error.ID != "self_service_flow_replaced" || s.UseFlowID == "" || s.ExpiredAt != "" {
			t.Fatalf("code of a flow that has passed = %d %s, want 410 with use_flow_id alone", g.status, g.body)
		}
		if next := c.get(routeVerification + "/flows?id=" + s.UseFlowID).shown(t); !slices.Equal(next.messages(), []int64{4070002}) {
			t.Errorf("new flow = %+v, want 4070002", next)
		}
		if g := c.postJSON(at, emailBody(f.csrf(), "a@example.org")); g.status != 410 {
			t.Errorf("email for a flow that has passed = %d %s, want 410", g.status, g.body)
		}
	}
}

// While a submit is looked at, another process saves its flow.
func TestVerificationIsNotTakenBackByALateAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.app()
	for name, body := range map[string]string{"a wrong code": `{"code":"000000"}`, "no address": emailBody("", ""), "no method": `{"method":"x"}`} {
		f := c.sent()
		id := uuid.MustParse(f.ID)
		w.overtake = func(f *flow.Flow) {
			f.State, f.Form = flow.SentEmail, flow.Form{Values: map[string]any{"email": "b@example.org"}}
		}
		if g := c.postJSON(f.at(routeVerification), body); !strings.Contains(g.body, `"state":"sent_email"`) || len(g.shown(t).messages()) == 0 {
			t.Errorf("%s in a flow that was sent an email = %d %s, want it in sent_email with what is wrong", name, g.status, g.body)
		}
		if got := w.flows[id]; got.State != flow.SentEmail || got.Form.Values["email"] != "b@example.org" {
			t.Errorf("%s: flow = %+v, want the other's address to stay", name, got)
		}
		w.overtake = func(f *flow.Flow) { f.State, f.Form = flow.PassedChallenge, flow.Form{} }
		if g := c.postJSON(f.at(routeVerification), body); g.status != 410 {
			t.Errorf("%s in a flow that has passed by now = %d %s, want 410", name, g.status, g.body)
		}
		if got := w.flows[id]; got.State != flow.PassedChallenge || !got.Form.Empty() {
			t.Errorf("%s: flow = %+v, want it passed and nothing said", name, got)
		}
	}
}

func TestVerificationOfAPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser()
	f := c.begin(routeVerification)
	to := ui + "verification?flow=" + f.ID
	for _, form := range []url.Values{
		{"method": {"code"}, "csrf_token": {f.csrf()}, "email": {"a@example.org"}},
		{"method": {"code"}, "code": {"000000"}},
		{"method": {"code"}, "code": {""}, "csrf_token": {f.csrf()}, "email": {"a@example.org"}}, // the button that asks again
		{"method": {"code"}, "code": {rightCode}, "email": {"a@example.org"}},
	} {
		if g := c.postForm(f.at(routeVerification), form); g.status != 303 || g.header.Get("Location") != to {
			t.Errorf("submit of %v = %d to %q, want 303 to the UI", form, g.status, g.header.Get("Location"))
		}
	}
	if w.flows[uuid.MustParse(f.ID)].State != flow.PassedChallenge {
		t.Errorf("flow is in %q, want it passed", w.flows[uuid.MustParse(f.ID)].State)
	}
	g := c.postForm(f.at(routeVerification), url.Values{"code": {rightCode}})
	if at := g.header.Get("Location"); g.status != 303 || !strings.HasPrefix(at, ui+"verification?flow=") || at == to {
		t.Errorf("another code = %d to %q, want 303 to a new flow", g.status, at)
	}
}

func TestTooManyCodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.app()
	f := c.sent()
	for range 5 {
		if g := c.postJSON(f.at(routeVerification), `{"code":"000000"}`); g.status != 200 {
			t.Fatalf("wrong code = %d %s, want 200", g.status, g.body)
		}
	}
	for what, body := range map[string]string{"right code": `{"code":"` + rightCode + `"}`, "email": emailBody("", "a@example.org")} {
		g := c.postJSON(f.at(routeVerification), body)
		if s := g.shown(t); g.status != 410 || s.Error.ID != "self_service_flow_replaced" || s.UseFlowID == "" {
			t.Errorf("%s after five wrong codes = %d %s, want 410 and a new flow", what, g.status, g.body)
		}
	}
}

func TestVerificationInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for body, want := range map[string]int64{
		`{"method":"code"}`:            4000002,
		`{"method":"code","email":""}`: 4000002,
		`{"method":"code","code":5}`:   4000001,
		`{"method":"link"}`:            4010006,
		`{}`:                           4010006,
		`{`:                            4000001,
	} {
		c := w.app()
		if g := c.postJSON(c.begin(routeVerification).at(routeVerification), body); g.status != 400 || !slices.Equal(g.shown(t).messages(), []int64{want}) {
			t.Errorf("verification with %s = %d %s, want 400 and %d", body, g.status, g.body, want)
		}
	}
}

func TestExpiredVerification(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []*client{w.app(), w.browser()} {
		f := c.sent()
		w.expire(f.ID)
		if g := c.get(routeVerification + "/flows?id=" + f.ID); g.status != 410 || g.shown(t).Error.ID != "" {
			t.Errorf("fetch of a dead verification = %d %s, want 410 without id", g.status, g.body)
		}
		g := c.postJSON(f.at(routeVerification), `{"code":"`+rightCode+`"}`)
		at, ok := strings.CutPrefix(g.header.Get("Location"), strings.TrimSuffix(publicURL, "/"))
		if g.status != 303 || !ok || !strings.HasPrefix(at, routeVerification+"/flows?id=") {
			t.Fatalf("submit of a dead verification = %d to %q, want 303 to a new flow", g.status, g.header.Get("Location"))
		}
		if g := c.get(at); g.status != 200 || !slices.Contains(g.shown(t).messages(), 4070005) {
			t.Errorf("new flow = %d %s, want 4070005", g.status, g.body)
		}
		if c.http.Jar == nil {
			continue
		}
		g = c.postForm(f.at(routeVerification), url.Values{"code": {rightCode}})
		if g.status != 303 || !strings.HasPrefix(g.header.Get("Location"), ui+"verification?flow=") {
			t.Errorf("submit of a dead verification by a page = %d to %q, want 303 to the UI", g.status, g.header.Get("Location"))
		}
	}
}

func TestVerificationCanBeOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.settings.Verification.Enabled = false })
	c := w.app()
	id := uuid.NewString()
	for _, g := range []got{
		c.get(routeVerification + "/api"), c.get(routeVerification+"/browser", "Accept", "application/json"),
		c.get(routeVerification + "/flows?id=" + id),
		c.get(routeVerification+"?code=123456&flow="+id, "Accept", "application/json"),
		c.postJSON(routeVerification+"?flow="+id, `{}`),
	} {
		if g.status != 400 || g.shown(t).Error.ID != "self_service_flow_disabled" {
			t.Errorf("verification that is off = %d %s, want 400 self_service_flow_disabled", g.status, g.body)
		}
	}
}

// TestCodeNeedsNoCookie: a mail may be read elsewhere than the flow was begun.
// What else the flow knows is not shown there.
func TestCodeNeedsNoCookie(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, elsewhere := w.browser(), w.browser()
	f := c.sent("?return_to=" + ui + "x")
	g := elsewhere.postJSON(f.at(routeVerification), `{"code":"000000"}`)
	if g.status != 200 || strings.Contains(g.body, "a@example.org") || strings.Contains(g.body, ui+"x") {
		t.Errorf("wrong code from elsewhere = %d %s, want 200 and nothing of what was entered", g.status, g.body)
	}
	if g := c.get(routeVerification + "/flows?id=" + f.ID); g.shown(t).value("email") != "a@example.org" {
		t.Errorf("fetch afterwards = %s, want the address still there", g.body)
	}
	if g := elsewhere.get(routeVerification + "/flows?id=" + f.ID); g.status != 403 {
		t.Errorf("fetch from elsewhere = %d, want 403", g.status)
	}
	g = elsewhere.postForm(f.at(routeVerification), url.Values{"code": {rightCode}}, "Origin", "https://mail.example", "Sec-Fetch-Site", "cross-site")
	if g.status != 303 {
		t.Errorf("right code from elsewhere = %d %s, want 303", g.status, g.body)
	}
	if g := elsewhere.get(routeVerification + "/flows?id=" + f.ID); g.status != 200 || !slices.Contains(g.shown(t).messages(), 1080002) {
		t.Errorf("fetch from elsewhere afterwards = %d %s, want it passed", g.status, g.body)
	}
}

// Whoever began an app's flow with somebody else's address can fetch it: the link
// in the mail must not show them the code.
func TestVerificationLinkGivesAppsNoCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := w.app()
	f := app.sent()
	g := w.browser().get(f.at(routeVerification)+"&code="+rightCode, "Accept", "text/html")
	if g.status != 303 || g.header.Get("Location") != ui+"verification?flow="+f.ID {
		t.Errorf("link = %d to %q, want 303 to the UI", g.status, g.header.Get("Location"))
	}
	if g := app.get(routeVerification + "/flows?id=" + f.ID); strings.Contains(g.body, rightCode) {
		t.Errorf("the flow shows the code: %s", g.body)
	}
}

// Who knows a flow's id must not be able to take it over by a link of their own.
func TestVerificationLinkWithAnotherCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner, other := w.browser(), w.browser()
	f := owner.sent()
	if g := other.get(f.at(routeVerification)+"&code=1", "Accept", "text/html"); g.status != 303 {
		t.Errorf("link = %d, want 303 to the UI", g.status)
	}
	if g := other.get(routeVerification + "/flows?id=" + f.ID); g.status != 403 {
		t.Errorf("whoever made the link up sees %d %s, want 403", g.status, g.body)
	}
	if g := owner.get(routeVerification + "/flows?id=" + f.ID); g.status != 200 {
		t.Errorf("the owner sees %d %s, want the flow", g.status, g.body)
	}
	if w.tries[uuid.MustParse(f.ID)] != 1 {
		t.Errorf("%d tries are counted, want 1", w.tries[uuid.MustParse(f.ID)])
	}
}

// TestVerificationLink: the link verifies nothing, and leads whoever opens it to
// the flow with the code in it.
func TestVerificationLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []*client{w.browser()} {
		f := c.sent()
		b := w.browser()
		b.begin(routeVerification)
		name := w.compiled.CSRFCookieName()
		before := cookieValue(b, name)
		g := b.get(f.at(routeVerification)+"&code="+rightCode[:3]+"-"+rightCode[3:], "Accept", "text/html")
		if g.status != 303 || g.header.Get("Location") != ui+"verification?flow="+f.ID || cookieValue(b, name) == before {
			t.Errorf("link = %d to %q, want 303 to the UI and another cookie", g.status, g.header.Get("Location"))
		}
		if w.tries[uuid.MustParse(f.ID)] != 0 || w.flows[uuid.MustParse(f.ID)].State != flow.SentEmail {
			t.Error("the link has tried its code")
		}
		s := b.get(routeVerification + "/flows?id=" + f.ID).shown(t)
		if s.value("code") != rightCode || s.value("email") != "a@example.org" {
			t.Errorf("flow behind the link = %+v, want the code in it", s)
		}
		g = b.postForm(f.at(routeVerification), url.Values{"method": {"code"}, "code": {s.value("code")}})
		if g.status != 303 || g.header.Get("Location") != ui+"verification?flow="+f.ID {
			t.Errorf("the button behind the link = %d %s, want 303 to the UI", g.status, g.body)
		}
		if g := b.get(routeVerification + "/flows?id=" + f.ID); !slices.Contains(g.shown(t).messages(), 1080002) {
			t.Errorf("flow behind the button = %s, want it passed", g.body)
		}
		dead := c.sent()
		w.expire(dead.ID)
		if g := b.get(dead.at(routeVerification) + "&code=" + rightCode); g.status != 303 || !strings.HasPrefix(g.header.Get("Location"), ui+"verification?flow=") {
			t.Errorf("link of a dead flow = %d to %q, want 303 to a new flow", g.status, g.header.Get("Location"))
		}
	}
}

func TestLinkThatHoldsNoCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.app()
	f := c.sent()
	for _, code := range []string{"", "12345678901234567", "12a456", "%00", "-1", "１２３４５６", "%3Cscript%3E"} {
		g := c.get(f.at(routeVerification)+"&code="+code, "Accept", "application/json")
		if g.status != 400 || !slices.Contains(g.shown(t).messages(), 4010006) || cookiesOf(g) != "" {
			t.Errorf("link with code %q = %d %s, want 400 with 4010006", code, g.status, g.body)
		}
	}
	if kept := w.flows[uuid.MustParse(f.ID)].Form.Values["code"]; kept != nil {
		t.Errorf("flow holds %q as code, want none", kept)
	}
}

func TestContinueURL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ query, setting, want string }{
		{"", "", welcome},
		{"", ui + "general", ui + "general"},
		{"?return_to=" + ui + "x", ui + "general", ui + "x"},
	} {
		w := newWorld(t, func(w *world) { w.settings.Verification.ReturnURL = tt.setting })
		c := w.app()
		f := c.sent(tt.query)
		g := c.postJSON(f.at(routeVerification), `{"code":"`+rightCode+`"}`)
		if !strings.Contains(g.body, `"href":"`+tt.want+`"`) || !strings.Contains(g.body, `"node_type":"a"`) {
			t.Errorf("flow with %q = %s, want it to lead to %s", tt.query, g.body, tt.want)
		}
	}
}
