package api_test

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/webhook"
)

// inTwoSteps has registrations ask for the password in a second step.
func inTwoSteps(w *world) {
	w.settings.Registration.Methods = append(w.settings.Registration.Methods, "profile")
}

// Nodes that tell the steps apart, with their values.
const (
	goesOn   = "method=profile"
	goesBack = "screen=previous"
	signsUp  = "method=password"
)

// nodes are the nodes of a flow, "name=value", but for the CSRF token.
func (s shown) nodes() (all []string) {
	for _, n := range s.UI.Nodes {
		if a := n.Attributes; a.Name != "csrf_token" && a.Value != nil {
			all = append(all, fmt.Sprintf("%s=%v", a.Name, a.Value))
		} else if a.Name != "csrf_token" {
			all = append(all, a.Name)
		}
	}
	return all
}

// has holds the nodes that a flow shows against what is wanted.
func (s shown) has(t *testing.T, what string, want ...string) {
	t.Helper()
	if got := s.nodes(); !slices.Equal(got, want) {
		t.Errorf("%s: nodes %q, want %q", what, got, want)
	}
}

// says holds the messages of a flow against what is wanted.
func (s shown) says(t *testing.T, what string, want ...int64) {
	t.Helper()
	if got := s.messages(); !slices.Equal(got, want) {
		t.Errorf("%s: messages %v, want %v", what, got, want)
	}
}

func (c *client) fetched(f shown) shown {
	c.t.Helper()
	return c.get(routeRegistration + "/flows?id=" + f.ID).shown(c.t)
}

func profileBody(csrf, email string) string {
	return fmt.Sprintf(`{"method":"profile","csrf_token":%q,"traits":{"email":%q,"age":12345678901234567}}`, csrf, email)
}

func TestTwoSteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, inTwoSteps)
	for name, c := range map[string]*client{"app": w.app(), "script": w.browser()} {
		var f shown
		if name == "app" {
			f = c.nativeFlow()
		} else {
			f = c.browserFlow()
		}
		f.has(t, name, "traits.email", "traits.age", "traits.name.first", goesOn)
		address := name + "@example.org"

		g := c.postJSON(f.submit(), profileBody(f.csrf(), address))
		second := g.shown(t)
		if g.status != 400 || second.ID != f.ID || second.Active != "profile" || !strings.Contains(g.body, `"state":"choose_method"`) {
			t.Fatalf("%s: first step = %d %s, want 400 with the flow", name, g.status, g.body)
		}
		if !strings.Contains(g.body, `"name":"traits.age","type":"hidden","value":12345678901234567,`) {
			t.Errorf("%s: first step = %s, want the traits hidden, as they were entered", name, g.body)
		}
		second.says(t, name, 1040009)
		if again := c.fetched(f); !slices.Equal(again.nodes(), second.nodes()) {
			t.Errorf("%s: fetched nodes %q, want %q", name, again.nodes(), second.nodes())
		}
		if len(w.identities)+len(w.grants) > 0 {
			t.Fatalf("%s: the first step has stored %v, %v", name, w.identities, w.grants)
		}

		g = c.postJSON(f.submit(), submitBody(second.csrf(), address, goodPassword))
		if g.status != 200 || !strings.Contains(g.body, address) {
			t.Errorf("%s: second step = %d %s, want 200", name, g.status, g.body)
		}
		clear(w.identities)
		clear(w.grants)
	}
}

func TestTwoStepsOfAPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, inTwoSteps)
	c := w.browser()
	f := c.browserFlow()
	ui := "http://127.0.0.1:4455/registration?flow=" + f.ID
	fill := func(more url.Values) got {
		form := url.Values{"csrf_token": {f.csrf()}}
		for name, values := range more {
			form[name] = values
		}
		return c.postForm(f.submit(), form)
	}

	g := fill(url.Values{"method": {"profile"}, "traits.email": {"nonsense"}, "traits.age": {"-1"}})
	if g.status != 302 || g.header.Get("Location") != ui {
		t.Errorf("bad traits = %d to %q, want 302 to %q", g.status, g.header.Get("Location"), ui)
	}
	c.fetched(f).says(t, "bad traits", 4000040, 4000018)

	g = fill(url.Values{"method": {"profile"}, "traits.email": {"ann@example.org"}, "traits.age": {"7"}, "traits.name.first": {""}})
	if g.status != 303 || g.header.Get("Location") != ui {
		t.Errorf("first step = %d to %q, want 303 to %q", g.status, g.header.Get("Location"), ui)
	}
	hidden := []string{"traits.email=ann@example.org", "traits.age=7"}
	c.fetched(f).has(t, "second step", append(hidden, "traits.name.first", "password", signsUp, goesBack)...)

	// The button sends the hidden fields along.
	g = fill(url.Values{"screen": {"previous"}, "traits.email": {"ann@example.org"}, "traits.age": {"7"}, "traits.name.first": {""}})
	if g.status != 303 || g.header.Get("Location") != ui {
		t.Errorf("back = %d to %q, want 303 to %q", g.status, g.header.Get("Location"), ui)
	}
	back := c.fetched(f)
	back.has(t, "back", append(hidden, "traits.name.first", goesOn)...)
	back.says(t, "back")

	fill(url.Values{"method": {"profile"}, "traits.email": {"ann@example.org"}})
	g = fill(url.Values{"method": {"password"}, "traits.email": {"ann@example.org"}, "password": {"short"}})
	if g.status != 302 || g.header.Get("Location") != ui {
		t.Errorf("weak password = %d to %q, want 302 to %q", g.status, g.header.Get("Location"), ui)
	}
	c.fetched(f).has(t, "weak password", "traits.email=ann@example.org", "traits.age", "traits.name.first", "password", signsUp, goesBack)
	c.fetched(f).says(t, "weak password", 1040009, 4000032)

	g = fill(url.Values{"method": {"password"}, "traits.email": {"ann@example.org"}, "password": {goodPassword}})
	if g.status != 303 || g.header.Get("Location") != welcome {
		t.Errorf("second step = %d to %q, want 303 to %q", g.status, g.header.Get("Location"), welcome)
	}
}

// How clients say which step they want.
func TestScreens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, inTwoSteps)
	const email, other = "traits.email=ann@example.org", "traits.email=bob@example.org"
	for _, tt := range []struct {
		body, email string
		second      bool
	}{
		{`{"method":"profile","screen":"credential-selection","traits":{"email":"ann@example.org"}}`, email, true},
		{`{"screen":"credential-selection","traits":{"email":"ann@example.org"}}`, email, true},
		{`{"method":"profile","screen":"previous","traits":{"email":"bob@example.org"}}`, other, false},
		{`{"method":"profile","screen":"previous","traits":{"email":"nonsense"}}`, "traits.email=nonsense", false},
		{`{"screen":"previous"}`, email, false},
		{`{"method":"profile","screen":"previous","traits":{}}`, email, false},
	} {
		c := w.app()
		f := c.nativeFlow()
		c.postJSON(f.submit(), `{"method":"profile","traits":{"email":"ann@example.org"}}`)
		g := c.postJSON(f.submit(), tt.body)
		nodes := g.shown(t).nodes()
		if g.status != 400 || !slices.Contains(nodes, tt.email) || slices.Contains(nodes, goesBack) != tt.second || slices.Contains(nodes, goesOn) == tt.second {
			t.Errorf("%s = %d with nodes %q, want %s, second step: %v", tt.body, g.status, nodes, tt.email, tt.second)
		}
	}
	c := w.app()
	if g := c.postJSON(c.nativeFlow().submit(), `{"method":"profile","screen":7}`); g.status != 400 || !slices.Contains(g.shown(t).messages(), 4000001) {
		t.Errorf("a screen that is no text = %d %s, want 400 with 4000001", g.status, g.body)
	}
}

// What is wrong leads to where a person can mend it, also where a client leaves
// the first step out.
func TestWhatIsWrongLeadsToItsStep(t *testing.T) {
	t.Parallel()
	w := newWorld(t, inTwoSteps)
	app := w.app()
	if g := app.postJSON(app.nativeFlow().submit(), submitBody("", "taken@example.org", goodPassword)); g.status != 200 {
		t.Fatalf("both steps at once = %d %s, want 200", g.status, g.body)
	}
	for _, tt := range []struct {
		what, email, password string
		second                bool
		says                  []int64
	}{
		{"weak password", "new@example.org", "short", true, []int64{1040009, 4000032}},
		{"no password", "new@example.org", "", true, []int64{1040009, 4000002}},
		{"bad trait", "nonsense", goodPassword, false, []int64{4000040}},
		{"bad trait, no password", "nonsense", "", false, []int64{4000002, 4000040}},
		{"taken", "taken@example.org", goodPassword, false, []int64{4000007}},
	} {
		for _, skipped := range []bool{true, false} {
			f := app.nativeFlow()
			if !skipped {
				app.postJSON(f.submit(), `{"method":"profile","traits":{"email":"first@example.org"}}`)
			}
			g := app.postJSON(f.submit(), submitBody("", tt.email, tt.password))
			s := g.shown(t)
			s.says(t, tt.what, tt.says...)
			if nodes := s.nodes(); g.status != 400 || slices.Contains(nodes, goesBack) != tt.second || !slices.Contains(nodes, "traits.email="+tt.email) {
				t.Errorf("%s, first step left out: %v = %d, nodes %q, want second step: %v", tt.what, skipped, g.status, nodes, tt.second)
			}
		}
	}
}

// refusing is a hook that says no.
type refusing struct {
	noHooks
	node string
}

func (r refusing) Refuse(context.Context, string, *webhook.Call) error {
	return &webhook.Refusal{Messages: []webhook.Message{{Node: r.node, ID: 5000001, Text: "no", Type: "error"}}}
}

// A hook is asked at the end, and what it says stands where it is mended.
func TestHookRefusesTheSecondStep(t *testing.T) {
	t.Parallel()
	for node, second := range map[string]bool{"traits.email": false, "": true} {
		w := newWorld(t, inTwoSteps, func(w *world) {
			r := w.inForce.Registration.(*registration.Service)
			r.Hooks = refusing{node: node}
			r.Plan = func(string) hook.Plan {
				return hook.Plan{Before: []hook.Step{{Kind: hook.KindWebHook, Endpoint: "vet"}}}
			}
		})
		c := w.app()
		f := c.nativeFlow()
		g := c.postJSON(f.submit(), `{"method":"profile","traits":{"email":"ann@example.org"}}`)
		g.shown(t).says(t, "first step", 1040009)
		s := c.postJSON(f.submit(), submitBody("", "ann@example.org", goodPassword)).shown(t)
		if nodes := s.nodes(); slices.Contains(nodes, goesBack) != second || !slices.Contains(s.messages(), 5000001) {
			t.Errorf("refusal at %s: nodes %q, messages %v, want 5000001 and second step: %v", node, nodes, s.messages(), second)
		}
	}
}

// The first step says the same of an identifier that is taken as of a new one.
func TestFirstStepTellsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, inTwoSteps)
	app := w.app()
	app.postJSON(app.nativeFlow().submit(), submitBody("", "taken@example.org", goodPassword))
	said := map[string]string{}
	for _, address := range []string{"taken@example.org", "never@example.org"} {
		f := app.nativeFlow()
		g := app.postJSON(f.submit(), `{"method":"profile","traits":{"email":"`+address+`"}}`)
		said[address] = fmt.Sprint(g.status, times.ReplaceAllString(strings.NewReplacer(f.ID, "ID", address, "ADDRESS").Replace(g.body), "TIME"))
	}
	if said["taken@example.org"] != said["never@example.org"] {
		t.Errorf("first step of a taken address = %s, of a new one = %s", said["taken@example.org"], said["never@example.org"])
	}
}

var times = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`)

func TestOneStepHasNoProfile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.app()
	f := c.nativeFlow()
	f.has(t, "one step", "traits.email", "traits.age", "traits.name.first", "password", signsUp)
	for _, body := range []string{`{"method":"profile","traits":{"email":"a@example.org"}}`, `{"screen":"previous"}`} {
		if g := c.postJSON(f.submit(), body); g.status != 400 || !slices.Contains(g.shown(t).messages(), 4010003) {
			t.Errorf("%s = %d %s, want 400 with 4010003", body, g.status, g.body)
		}
	}
}

// A step is as guarded as the end is.
func TestStepsAreGuarded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, inTwoSteps)
	const step = `{"method":"profile","traits":{"email":"ann@example.org"}}`
	app, script := w.app(), w.browser()
	f := script.browserFlow()
	for what, g := range map[string]got{
		"no token":      script.postJSON(f.submit(), step),
		"another's":     w.browser().postJSON(f.submit(), profileBody(f.csrf(), "ann@example.org")),
		"a forged back": script.postJSON(f.submit(), `{"screen":"previous","csrf_token":"x"}`),
	} {
		if g.status != 403 || g.shown(t).Error.ID != "security_csrf_violation" {
			t.Errorf("%s = %d %s, want 403", what, g.status, g.body)
		}
	}
	script.fetched(f).has(t, "after forged steps", "traits.email", "traits.age", "traits.name.first", goesOn)
	native := app.nativeFlow()
	if g := app.postJSON(native.submit(), step, "Cookie", "a=b"); g.status != 400 || !slices.Equal(g.shown(t).messages(), []int64{4000001}) {
		t.Errorf("step of an app with a cookie = %d %s, want 400 with 4000001", g.status, g.body)
	}

	app.postJSON(native.submit(), submitBody("", "ann@example.org", goodPassword))
	if g := app.postJSON(native.submit(), step); g.status != 410 || g.shown(t).UseFlowID == "" {
		t.Errorf("step of a completed flow = %d %s, want 410 with use_flow_id", g.status, g.body)
	}
	dead := app.nativeFlow()
	w.expire(dead.ID)
	if g := app.postJSON(dead.submit(), step); g.status != 410 || g.shown(t).UseFlowID == "" {
		t.Errorf("step of a dead flow = %d %s, want 410 with use_flow_id", g.status, g.body)
	}
	if g := app.postJSON(routeRegistration+"?flow="+uuid.NewString(), step); g.status != 404 {
		t.Errorf("step of no flow = %d %s, want 404", g.status, g.body)
	}
}

// The first step costs a network what a new flow does, and no registration.
func TestLimitOfSteps(t *testing.T) {
	t.Parallel()
	const step = `{"method":"profile","traits":{"email":"ann@example.org"}}`
	w := newWorld(t, inTwoSteps, tight(func(l *api.Limits) *api.Limit { return &l.Registration }))
	c := w.app()
	f := c.nativeFlow()
	for range 5 {
		if g := c.postJSON(f.submit(), step); g.status != 400 {
			t.Fatalf("step = %d %s, want 400", g.status, g.body)
		}
	}
	w = newWorld(t, inTwoSteps, tight(func(l *api.Limits) *api.Limit { return &l.FlowCreation }))
	c = w.app()
	f = c.nativeFlow()
	c.postJSON(f.submit(), step)
	if g := c.postJSON(f.submit(), step); g.status != 429 {
		t.Errorf("third of two = %d, want 429", g.status)
	}
}

// A provider's button stands at the first step only, and takes the traits along.
func TestProvidersAreOfTheFirstStep(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	inTwoSteps(w)
	w.compiled = compile(t, w.settings)
	c := w.browser()
	f := c.browserFlow()
	f.has(t, "first step", "traits.email", "traits.age", "traits.name.first", "provider=corp", "provider=other", goesOn)
	g := c.postJSON(f.submit(), profileBody(f.csrf(), "ann@example.org"))
	g.shown(t).has(t, "second step", "traits.email=ann@example.org", "traits.age=1.2345678901234568e+16", "traits.name.first", "password", signsUp, goesBack)
	g = c.postJSON(f.submit(), `{"provider":"corp","csrf_token":"`+f.csrf()+`","traits":{"email":"ann@example.org"}}`)
	if g.status != 422 {
		t.Errorf("provider = %d %s, want 422", g.status, g.body)
	}
}

// begun answers for flows as they were when they began, as the process does that has
// begun them.
type begun struct{ *world }

func (b begun) FlowAndGrant(ctx context.Context, id uuid.UUID) (*flow.Flow, bool, error) {
	f, granted, err := b.world.FlowAndGrant(ctx, id)
	if f != nil {
		f.State, f.Form = flow.ChooseMethod, flow.Form{}
	}
	return f, granted, err
}

// A step that another process has answered counts.
func TestStepAtAnotherProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, inTwoSteps, func(w *world) {
		w.options.Flows = begun{w}
		w.inForce.Registration.(*registration.Service).Hooks = refusing{}
		w.inForce.Registration.(*registration.Service).Plan = func(string) hook.Plan {
			return hook.Plan{Before: []hook.Step{{Kind: hook.KindWebHook, Endpoint: "vet"}}}
		}
	})
	for body, second := range map[string]bool{
		`{"screen":"previous"}`: false,
		`{"method":7}`:          true,
		`{"method":"password","password":"correct horse battery","traits":{"email":"ann@example.org"}}`: true, // refused by the hook
	} {
		c := w.app()
		f := c.nativeFlow()
		c.postJSON(f.submit(), `{"method":"profile","traits":{"email":"ann@example.org"}}`)
		s := c.postJSON(f.submit(), body).shown(t)
		if nodes := s.nodes(); slices.Contains(nodes, goesBack) != second || !slices.Contains(nodes, "traits.email=ann@example.org") {
			t.Errorf("%s: nodes %q, want the address, second step: %v", body, nodes, second)
		}
	}
}
