package api_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/session"
)

// handed is what an administrator was given.
type handed struct {
	Link      string `json:"recovery_link"`
	Code      string `json:"recovery_code"`
	ExpiresAt string `json:"expires_at"`
}

// handOut begins a recovery for the one account of w, and gives its flow too.
func (w *world) handOut(method, body string) (h handed, flowID uuid.UUID) {
	w.t.Helper()
	want := map[string]int{"code": 201, "link": 200}[method]
	g := w.admin().postJSON("/admin/recovery/"+method, `{"identity_id":"`+w.only().String()+`"`+body+`}`)
	u := &url.URL{}
	err := json.Unmarshal([]byte(g.body), &h)
	if err == nil {
		u, err = url.Parse(h.Link)
	}
	if flowID, _ = uuid.Parse(u.Query().Get("flow")); err != nil || g.status != want || flowID == uuid.Nil {
		w.t.Fatalf("recovery by %s = %d %s, %v, want %d and a link", method, g.status, g.body, err, want)
	}
	return h, flowID
}

// only is the one identity of w.
func (w *world) only() uuid.UUID {
	defer w.lock()()
	for id := range w.identities {
		return id
	}
	w.t.Fatal("there is nobody")
	return uuid.Nil
}

// A code that an administrator hands out is entered by whoever has it: their browser
// has begun nothing, and needs no token. Who looks at the flow first takes it from nobody.
func TestAdminRecoveryByCode(t *testing.T) {
	t.Parallel()
	for name, methods := range map[string][]string{"as people do": {flow.MethodCode}, "where people get links": {flow.MethodLink}} {
		w := oneAccount(t, func(w *world) { w.settings.Recovery.Methods = methods })
		h, id := w.handOut("code", `,"expires_in":"90m"`)
		f := w.flows[id]
		if h.Link != ui+"recovery?flow="+id.String() || h.Code != w.codes[0] || f.ExpiresAt.Sub(f.IssuedAt).Minutes() != 90 ||
			h.ExpiresAt != f.ExpiresAt.UTC().Format("2006-01-02T15:04:05.000000Z") || strings.Contains(f.RequestURL, "admin") {
			t.Errorf("%s: handed out %+v of the flow %+v, want the code of the store, for 90 minutes", name, h, f)
		}
		at := routeRecovery + "?flow=" + id.String()
		for n := range 2 {
			b := w.browser()
			g := b.get(routeRecovery + "/flows?id=" + id.String())
			s := g.shown(t)
			if g.status != 200 || s.Type != "browser" || s.Active != "code" || n == 0 && !slices.Equal(s.messages(), []int64{1060003}) || s.value("code") != "" || s.value("email") != "" {
				t.Errorf("%s: flow = %d %s, want it to ask for the code alone", name, g.status, g.body)
			}
			g = b.postJSON(at, `{"method":"code","code":"000000"}`)
			if s := g.shown(t); g.status != 200 || !slices.Contains(s.messages(), 4060006) {
				t.Errorf("%s: a wrong code = %d %s, want 4060006", name, g.status, g.body)
			}
			if g := b.postForm(at, url.Values{"method": {"code"}, "code": {""}}); g.status != 303 || g.header.Get("Location") != h.Link {
				t.Errorf("%s: no code = %d to %q, want the flow again", name, g.status, g.header.Get("Location"))
			}
		}
		if g := w.browser().postJSON(at, `{"method":"code","code":"`+rightCode+`"}`, "Origin", "https://evil.example"); g.status != 403 {
			t.Errorf("%s: code from another site's page = %d %s, want 403", name, g.status, g.body)
		}
		b := w.browser()
		g := b.postForm(at, url.Values{"method": {"code"}, "code": {rightCode}})
		if g.status != 303 || !strings.HasPrefix(g.header.Get("Location"), ui+"settings?flow=") {
			t.Errorf("%s: the code = %d to %q, want the settings", name, g.status, g.header.Get("Location"))
		}
		if g := b.get("/sessions/whoami"); g.status != 200 || !strings.Contains(g.body, `"method":"code_recovery"`) {
			t.Errorf("%s: whoami = %d %s, want a session by code_recovery", name, g.status, g.body)
		}
	}
}

func TestAdminRecoveryOfAnApp(t *testing.T) {
	t.Parallel()
	w := oneAccount(t, func(w *world) { w.settings.ContinueWithTransitions = true })
	_, id := w.handOut("code", `,"flow_type":"api"`)
	at, app := routeRecovery+"?flow="+id.String(), w.app()
	if g := app.get(routeRecovery + "/flows?id=" + id.String()); g.status != 200 || g.shown(t).Type != "api" {
		t.Errorf("flow = %d %s, want one of an app", g.status, g.body)
	}
	if g := app.postJSON(at, `{"method":"code","code":"`+rightCode+`"}`); g.status != 200 || !strings.Contains(g.body, `"ory_session_token":"`+session.NativePrefix) {
		t.Errorf("the code = %d %s, want a session", g.status, g.body)
	}
}

// A link signs in who opens it, also where people are sent codes.
func TestAdminRecoveryByLink(t *testing.T) {
	t.Parallel()
	w := oneAccount(t)
	h, id := w.handOut("link", "")
	if want := "https://id.example.org" + routeRecovery + "?flow=" + id.String() + "&token=" + w.codes[0]; h.Link != want || h.Code != "" {
		t.Errorf("handed out %+v, want the link %s alone", h, want)
	}
	b, at := w.browser(), routeRecovery+"?flow="+id.String()+"&token="
	if g := b.get(at+rightCode, "Accept", "text/html"); g.status != 303 || !strings.HasPrefix(g.header.Get("Location"), ui+"settings?flow=") {
		t.Errorf("link = %d to %q, want the settings", g.status, g.header.Get("Location"))
	}
	if g := b.get("/sessions/whoami"); g.status != 200 || !strings.Contains(g.body, `"method":"link_recovery"`) {
		t.Errorf("whoami = %d %s, want a session by link_recovery", g.status, g.body)
	}
}

// A token opens nothing in a flow that no link was handed out for.
func TestATokenForAFlowOfCodes(t *testing.T) {
	t.Parallel()
	w := oneAccount(t)
	f := w.browser().lost()
	b := w.browser()
	g := b.get(f.at(routeRecovery)+"&token="+rightCode, "Accept", "text/html")
	if id := uuid.MustParse(f.ID); strings.Contains(g.header.Get("Location"), "settings") || w.flows[id].State != flow.SentEmail || w.tries[id] != 0 {
		t.Errorf("a token for a flow of codes = %d to %q, want nothing done", g.status, g.header.Get("Location"))
	}
	if g := b.get("/sessions/whoami"); g.status != 401 {
		t.Errorf("whoami = %d, want nobody", g.status)
	}
}

func TestAdminRecoveryRefuses(t *testing.T) {
	t.Parallel()
	w := oneAccount(t)
	id := w.only().String()
	for body, want := range map[string]int{
		`{}`:                  400,
		`{"identity_id":"x"}`: 400,
		`{"identity_id":"` + id + `","expires_in":"12"}`:                              400,
		`{"identity_id":"` + id + `","expires_in":"0s"}`:                              400,
		`{"identity_id":"` + id + `","expires_in":"-1h"}`:                             400,
		`{"identity_id":"` + id + `","expires_in":"721h"}`:                            400,
		`{"identity_id":"` + id + `","flow_type":"x"}`:                                400,
		`{"identity_id":"` + id + `","mail":true}`:                                    400,
		`{"identity_id":"` + uuid.NewString() + `"}`:                                  404,
		`{"identity_id":"` + uuid.NewString() + `","expires_in":"1h","flow_type":""}`: 404,
	} {
		for _, method := range []string{"code", "link"} {
			if g := w.admin().postJSON("/admin/recovery/"+method, body); g.status != want {
				t.Errorf("recovery by %s with %s = %d %s, want %d", method, body, g.status, g.body, want)
			}
		}
	}
	if g := w.admin().postJSON("/admin/recovery/link", `{"identity_id":"`+id+`","flow_type":"api"}`); g.status != 400 {
		t.Errorf("link for an app = %d %s, want 400", g.status, g.body)
	}
	if g := w.admin().postJSON("/admin/recovery/code?return_to=https://evil.example/", `{"identity_id":"`+id+`"}`); g.status != 400 {
		t.Errorf("return_to elsewhere = %d %s, want 400", g.status, g.body)
	}
	w.identities[w.only()].State = "inactive"
	if g := w.admin().postJSON("/admin/recovery/code", `{"identity_id":"`+id+`"}`); g.status != 400 || !strings.Contains(g.body, "deactivated") {
		t.Errorf("of who is deactivated = %d %s, want 400", g.status, g.body)
	}
	if len(w.codes) > 0 || len(w.told) > 0 {
		t.Errorf("codes %q were handed out, %d events told", w.codes, len(w.told))
	}
	off := oneAccount(t, func(w *world) { w.settings.Recovery.Enabled = false })
	if g := off.admin().postJSON("/admin/recovery/code", `{"identity_id":"`+off.only().String()+`"}`); g.status != 400 || g.shown(t).Error.ID != "self_service_flow_disabled" || !strings.Contains(g.body, "selfservice.flows.recovery.enabled") {
		t.Errorf("where recovery is off = %d %s, want 400", g.status, g.body)
	}
}

// Nobody has a mail sent in a flow that an administrator has begun: its code would be
// replaced.
func TestHandedOutFlowsTakeNoAddress(t *testing.T) {
	t.Parallel()
	w := oneAccount(t)
	_, id := w.handOut("code", "")
	at := routeRecovery + "?flow=" + id.String()
	g := w.browser().postJSON(at, `{"method":"code","email":"eve@example.org"}`)
	if s := g.shown(t); g.status != 400 || !slices.Contains(s.messages(), 4000002) {
		t.Errorf("an address = %d %s, want 400 with 4000002: the code is missing", g.status, g.body)
	}
	if kept := w.flows[id].Form.Values["email"]; kept == "eve@example.org" {
		t.Error("the flow goes to eve@example.org now")
	}
}
