package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/settings"
	"github.com/usher-auth/usher/services/verification"
	"github.com/usher-auth/usher/services/webhook"
)

const newPassword = "battery staple 2"

// changeable is a world in which people change their traits and password. Its plan is
// that of each method.
func changeable(t *testing.T, plan *hook.SettingsPlan) *world {
	t.Helper()
	return newWorld(t, func(w *world) {
		w.settings.SettingsFlow.Methods = []string{"profile", "password"}
		changes := w.inForce.Changes.(*settings.Service)
		changes.Verification = memoryOpener{}
		if plan != nil {
			changes.Plan = func(string) hook.SettingsPlan { return *plan }
		}
	})
}

type memoryOpener struct{}

func (memoryOpener) Opening(id uuid.UUID, i *identity.Identity, a identity.Address, in settings.Submit) (*flow.Flow, events.Event) {
	asked := verification.Opening{Identity: i, Address: a, Type: in.Flow.Type, CSRF: in.Flow.CSRF, RequestURL: in.Flow.RequestURL}
	f := asked.Flow(time.Now(), time.Hour, flow.MethodCode)
	f.ID = id
	return f, asked.Event(f, time.Now())
}

// set submits traits as a script does.
func (c *client) set(f shown, traits string) got {
	c.t.Helper()
	return c.postJSON(f.at(routeSettings), `{"method":"profile","csrf_token":"`+f.csrf()+`","traits":`+traits+`,"transient_payload":{"a":1}}`)
}

// saidAt are the messages of a flow by node.
func (s shown) saidAt() map[string]int64 {
	said := map[string]int64{}
	for _, m := range s.UI.Messages {
		said[""] = m.ID
	}
	for _, n := range s.UI.Nodes {
		for _, m := range n.Messages {
			said[n.Attributes.Name] = m.ID
		}
	}
	return said
}

func TestProfileInSettings(t *testing.T) {
	t.Parallel()
	w := changeable(t, nil)
	c := w.joined("ann@example.org")
	f := c.begin(routeSettings)
	if got := f.names(); !slices.Equal(got, []string{"csrf_token", "traits.email", "traits.age", "traits.name.first", "method", "password", "method"}) || f.value("traits.email") != "ann@example.org" {
		t.Errorf("nodes %q with %q, want the traits with their values, and a password", got, f.value("traits.email"))
	}
	g := c.set(f, `{"email":"ann","age":-1,"name":{"first":"Ann"}}`)
	s := g.shown(t)
	if want := map[string]int64{"traits.email": 4000040, "traits.age": 4000018}; g.status != http.StatusBadRequest || s.saidAt()["traits.email"] != want["traits.email"] || s.saidAt()["traits.age"] != want["traits.age"] || s.value("traits.name.first") != "Ann" || s.Active != "profile" {
		t.Errorf("wrong traits = %d %s, want 400, %v and what was entered", g.status, g.body, want)
	}
	g = c.set(f, `{"email":"ann@example.org","name":{"first":"Ann"}}`)
	s, state := g.shown(t), g.settings(t)
	if g.status != http.StatusOK || state.State != "success" || !slices.Equal(s.messages(), []int64{1050001}) || s.value("traits.name.first") != "Ann" || s.Active != "profile" || !strings.Contains(g.body, `"transient_payload":{"a":1}`) {
		t.Errorf("name = %d %s, want 200 and it is shown", g.status, g.body)
	}
	if len(state.Continue) != 1 || state.Continue[0].To != ui+"settings?flow="+f.ID {
		t.Errorf("continue_with %+v, want back to the flow alone", state.Continue)
	}
	if who := c.get("/sessions/whoami"); !strings.Contains(who.body, `"first":"Ann"`) || !slices.Contains(w.changed, w.person("ann@example.org").ID) {
		t.Errorf("whoami = %s, want the new name, and the cache told", who.body)
	}

	// A page enters the same in a form, with an integer for what is one.
	g = c.postForm(f.at(routeSettings), url.Values{"csrf_token": {f.csrf()}, "method": {"profile"}, "traits.email": {"ann@example.org"}, "traits.age": {"30"}, "password": {""}})
	if g.status != http.StatusSeeOther || g.header.Get("Location") != ui+"settings?flow="+f.ID || string(w.person("ann@example.org").Traits) != `{"age":30,"email":"ann@example.org"}` {
		t.Errorf("form = %d to %s, traits %s", g.status, g.header.Get("Location"), w.person("ann@example.org").Traits)
	}
	g = c.postForm(f.at(routeSettings), url.Values{"csrf_token": {f.csrf()}, "method": {"profile"}, "traits.email": {"x"}})
	if again := c.fetchSettings(f.ID); g.status != http.StatusSeeOther || again.saidAt()["traits.email"] != 4000040 || again.value("traits.email") != "x" {
		t.Errorf("wrong form = %d, flow says %v with %q", g.status, again.saidAt(), again.value("traits.email"))
	}

	if g := c.postJSON(f.at(routeSettings), `{"method":"profile","traits":{}}`); g.status != http.StatusForbidden {
		t.Errorf("without the token = %d, want 403", g.status)
	}
	if g := c.postJSON(f.at(routeSettings), `{"method":"code","csrf_token":"`+f.csrf()+`"}`); g.status != http.StatusBadRequest || g.shown(t).saidAt()[""] != 4010004 {
		t.Errorf("unknown method = %d %s, want 400 with 4010004", g.status, g.body)
	}
	w.joined("bob@example.org")
	if g := c.set(f, `{"email":"bob@example.org"}`); g.status != http.StatusBadRequest || g.shown(t).saidAt()[""] != 4000007 || g.shown(t).value("traits.email") != "bob@example.org" {
		t.Errorf("taken = %d %s, want 400 with 4000007 and what was entered", g.status, g.body)
	}
}

func TestProfileOfAnApp(t *testing.T) {
	t.Parallel()
	w := changeable(t, nil)
	c, token := w.app(), w.signUp("ann@example.org")
	g := c.get(routeSettings+"/api", "X-Session-Token", token)
	f := g.shown(t)
	submit := func(body string) got {
		return c.postJSON(f.at(routeSettings), body, "X-Session-Token", token)
	}
	g = submit(`{"method":"profile","traits":{"email":"bea@example.org"}}`)
	var answer struct {
		State    string
		Continue []struct {
			Action string
			Flow   struct {
				ID, URL string
				Address string `json:"verifiable_address"`
			}
		} `json:"continue_with"`
	}
	if err := json.Unmarshal([]byte(g.body), &answer); err != nil || g.status != http.StatusOK || answer.State != "success" {
		t.Fatalf("address = %d %s", g.status, g.body)
	}
	if n := answer.Continue; len(n) != 1 || n[0].Action != "show_verification_ui" || n[0].Flow.Address != "bea@example.org" || n[0].Flow.URL != "" {
		t.Fatalf("continue_with %+v, want the verification alone", answer.Continue)
	}
	opened := w.flows[uuidOf(t, answer.Continue[0].Flow.ID)]
	if opened.Kind != flow.Verification || opened.Type != flow.API || w.told[len(w.told)-1].Type != "verification.requested" || w.person("bea@example.org").Addresses[0].Verified {
		t.Errorf("flow %+v, want a verification whose mail is asked for", opened)
	}
	if g := submit(`{"method":"password","password":"` + newPassword + `"}`); g.status != http.StatusOK || g.shown(t).Active != "password" || strings.Contains(g.body, newPassword) || strings.Contains(g.body, "continue_with") {
		t.Errorf("password = %d %s, want 200", g.status, g.body)
	}
}

// What changes how one signs in needs a fresh session, and what was entered waits for it.
func TestChangesNeedAFreshSession(t *testing.T) {
	t.Parallel()
	w := changeable(t, nil)
	c := w.joined("ann@example.org")
	f := c.begin(routeSettings)
	w.age(2 * time.Hour)
	if g := c.set(f, `{"email":"ann@example.org","name":{"first":"Ann"}}`); g.status != http.StatusOK {
		t.Errorf("name = %d %s, want 200 without a fresh session", g.status, g.body)
	}
	page := func(form url.Values) got {
		form.Set("csrf_token", f.csrf())
		return c.postForm(f.at(routeSettings), form)
	}
	for what, g := range map[string]got{
		"address":  c.set(f, `{"email":"bea@example.org"}`),
		"password": c.changeJSON(f, map[string]string{"method": "password", "password": newPassword}),
		"weak":     c.changeJSON(f, map[string]string{"method": "password", "password": "x"}),
	} {
		if g.status != http.StatusForbidden || g.shown(t).Error.ID != "session_refresh_required" || !strings.Contains(g.body, "self-service/login/browser?refresh=true") {
			t.Errorf("%s = %d %s, want 403 session_refresh_required", what, g.status, g.body)
		}
	}
	for what, g := range map[string]got{
		"password": page(url.Values{"method": {"password"}, "password": {newPassword}}),
		"address":  page(url.Values{"method": {"profile"}, "traits.email": {"bea@example.org"}}),
	} {
		if g.status != http.StatusSeeOther || !strings.HasPrefix(g.header.Get("Location"), publicURL+"self-service/login/browser?refresh=true") {
			t.Errorf("%s of a page = %d to %s, want 303 to the login", what, g.status, g.header.Get("Location"))
		}
	}
	if again := c.fetchSettings(f.ID); again.value("traits.email") != "bea@example.org" || len(again.messages()) > 0 {
		t.Errorf("back at the form: %q with %v, want what was entered", again.value("traits.email"), again.messages())
	}
	if i := w.person("ann@example.org"); i == nil || !strings.Contains(string(i.Credentials[0].Config), goodPassword) {
		t.Errorf("Ann is %+v, want her as she was", i)
	}
	w.age(-2 * time.Hour)
	if g := c.set(f, `{"email":"bea@example.org"}`); g.status != http.StatusOK || w.person("bea@example.org") == nil {
		t.Errorf("address = %d %s, want 200 with a fresh session", g.status, g.body)
	}
}

func TestPasswordInSettings(t *testing.T) {
	t.Parallel()
	plan := &hook.SettingsPlan{}
	w := changeable(t, plan)
	c := w.joined("ann@example.org")
	_, other := c.begin(routeSettings), w.browser()
	l := other.begin(routeLogin)
	other.postForm(l.at(routeLogin), loginForm(l.csrf(), "ann@example.org", goodPassword))
	f := c.begin(routeSettings)
	set := func(plain string) got {
		return c.changeJSON(f, map[string]string{"method": "password", "password": plain})
	}
	for plain, want := range map[string]int64{"": 4000002, "short": 4000032, goodPassword: 4000039} {
		g := set(plain)
		if g.status != http.StatusBadRequest || g.shown(t).saidAt()["password"] != want || plain != "" && strings.Contains(g.body, plain) {
			t.Errorf("password %q = %d %s, want 400 with %d at it", plain, g.status, g.body, want)
		}
	}
	plan.RevokeOthers = true
	g := set(newPassword)
	if s := g.shown(t); g.status != http.StatusOK || !slices.Equal(s.messages(), []int64{1050001}) || s.value("traits.email") != "ann@example.org" {
		t.Errorf("password = %d %s, want 200", g.status, g.body)
	}
	if !strings.Contains(string(w.person("ann@example.org").Credentials[0].Config), newPassword) {
		t.Errorf("Ann has %s", w.person("ann@example.org").Credentials[0].Config)
	}
	if mine, others := c.get("/sessions/whoami"), other.get("/sessions/whoami"); mine.status != http.StatusOK || others.status != http.StatusUnauthorized {
		t.Errorf("whoami = %d here and %d elsewhere, want 200 and 401", mine.status, others.status)
	}
	if g := set(newPassword); g.status != http.StatusOK { // the answer before may be lost
		t.Errorf("the same again = %d %s, want 200", g.status, g.body)
	}
	if g := c.postForm(f.at(routeSettings), url.Values{"csrf_token": {f.csrf()}, "method": {"password"}, "password": {goodPassword}}); g.status != http.StatusSeeOther || g.header.Get("Location") != ui+"settings?flow="+f.ID {
		t.Errorf("form = %d to %s, want 303 to the flow", g.status, g.header.Get("Location"))
	}
	for _, i := range w.flows {
		if encoded, _ := json.Marshal(i.Form); strings.Contains(string(encoded), newPassword) || strings.Contains(string(encoded), goodPassword) {
			t.Errorf("a password is kept in a form: %s", encoded)
		}
	}
}

// Who guesses at the password of a session that they have found is held back as at a
// login.
func TestGuessesInSettingsAreLimited(t *testing.T) {
	t.Parallel()
	w := changeable(t, nil)
	c := w.joined("ann@example.org")
	f := c.begin(routeSettings)
	tight(func(l *api.Limits) *api.Limit { return &l.FailedLogin })(w)
	w.compiled = compile(t, w.settings)
	for _, want := range []int{400, 400, 429} {
		if g := c.changeJSON(f, map[string]string{"method": "password", "password": goodPassword}); g.status != want {
			t.Errorf("password = %d %s, want %d", g.status, g.body, want)
		}
	}
}

// The end of a change: where hooks lead to, and what they break.
func TestHooksBehindSettings(t *testing.T) {
	t.Parallel()
	plan := &hook.SettingsPlan{ShowVerification: true}
	w := changeable(t, plan)
	c := w.joined("ann@example.org")
	f := c.begin(routeSettings)
	g := c.postForm(f.at(routeSettings), url.Values{"csrf_token": {f.csrf()}, "method": {"profile"}, "traits.email": {"bea@example.org"}})
	to := parsed(t, g.header.Get("Location"))
	if g.status != http.StatusSeeOther || !strings.HasPrefix(to.String(), ui+"verification?flow=") {
		t.Fatalf("address = %d to %s, want 303 to the verification", g.status, to)
	}
	if g := c.get(routeVerification + "/flows?id=" + to.Query().Get("flow")); g.status != http.StatusOK {
		t.Errorf("verification = %d %s, want that it is this browser's", g.status, g.body)
	}
	plan.Waiting = []hook.Step{{Kind: hook.KindWebHook, Endpoint: "vet"}}
	w.inForce.Changes.(*settings.Service).Hooks = brokenHooks{}
	before := len(w.changed)
	if g := c.set(f, `{"email":"bea@example.org","age":3}`); g.status != http.StatusBadGateway {
		t.Errorf("broken hook = %d %s, want 502", g.status, g.body)
	}
	if i := w.person("bea@example.org"); !strings.Contains(string(i.Traits), `"age":3`) || len(w.changed) == before {
		t.Errorf("traits %s, want them changed, and the cache told", i.Traits)
	}
}

type brokenHooks struct{}

func (brokenHooks) Notify(context.Context, string, *webhook.Call) error {
	return &webhook.Failed{Endpoint: "vet", Status: 500, Err: errors.New("broken")}
}

// A schema that is not configured any more takes with it what it decides.
func TestSettingsWithoutTheirSchema(t *testing.T) {
	t.Parallel()
	w := changeable(t, nil)
	c := w.joined("ann@example.org")
	w.person("ann@example.org").SchemaID = "gone"
	f := c.begin(routeSettings)
	if got := f.names(); !slices.Equal(got, []string{"csrf_token"}) {
		t.Errorf("nodes %q, want no traits, and no password without what one signs in with", got)
	}
}
