package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/oidc/oidctest"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/webhook"
)

// noLogin is a login that must not be asked.
type noLogin struct{ withoutProviders }

func (noLogin) Login(context.Context, login.Submit) (*login.Result, error) {
	return nil, errors.New("a login was asked for")
}

func (noLogin) LoginProven(context.Context, login.Submit, identity.Account) (*login.Result, error) {
	return nil, errors.New("a login was asked for")
}

// Whoever comes back to a flow that has just registered them gets the session of
// that registration, not a login, which a gate might refuse.
func TestSameButtonAgain(t *testing.T) {
	t.Parallel()
	w, p := social(t)
	for _, kind := range []string{routeRegistration, routeLogin} {
		p.Change(func(p *oidctest.Provider) {
			p.Claims = map[string]any{"sub": kind, "email": kind[len("/self-service/"):] + "@example.org"}
		})
		w.inForce.Login = memoryLogin{w}
		c := w.browser()
		f := c.begin(kind)
		lost := w.browser() // the same, which the answer does not reach
		base := parsed(t, c.base)
		lost.http.Jar.SetCookies(base, c.http.Jar.Cookies(base))
		c.ended(c.through(f, nil))
		grants := len(w.grants)
		w.inForce.Login = noLogin{}
		lost.ended(lost.through(f, nil))
		if len(w.grants) != grants {
			t.Errorf("%s: %d grants, want %d", kind, len(w.grants), grants)
		}
	}
}

// A flow that is over when somebody is back is begun anew, and has done nothing.
func TestBackTooLate(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	now := time.Now()
	w.server.Now = func() time.Time { return now }
	for _, kind := range []string{routeRegistration, routeLogin} {
		c := w.browser()
		f := c.begin(kind)
		back := visit(t, c.start(f, nil))
		stored := w.flows[uuidOf(t, f.ID)]
		stored.ExpiresAt = now.Add(-time.Second)
		w.flows[stored.ID] = stored
		g := c.get(back, "Accept", "text/html")
		to := parsed(t, g.header.Get("Location"))
		if next := to.Query().Get("flow"); g.status != http.StatusSeeOther || next == "" || next == f.ID {
			t.Errorf("callback = %d to %s, want a new flow", g.status, to)
		}
		if w.people() != 0 || w.sessionCount() != 0 {
			t.Errorf("%d people and %d sessions, want none", w.people(), w.sessionCount())
		}
	}
}

// Nobody is registered, signed in or linked by an account that a login does not wait for.
func TestAnotherAccountInALink(t *testing.T) {
	t.Parallel()
	w, p := social(t)
	w.joined("ann@example.org")
	c := w.browser()
	to := parsed(t, c.through(c.begin(routeLogin), nil).header.Get("Location"))
	link := c.get(routeLogin + "/flows?id=" + to.Query().Get("flow")).shown(t)
	p.Change(func(p *oidctest.Provider) { p.Claims = map[string]any{"sub": "9", "email": "new@example.org"} })
	g := c.through(link, url.Values{"provider": {"other"}})
	if !strings.HasSuffix(g.header.Get("Location"), link.ID) || w.people() != 1 || w.sessionCount() != 1 {
		t.Errorf("callback = %d to %s, %d people, %d sessions; want the login again", g.status, g.header.Get("Location"), w.people(), w.sessionCount())
	}
	if ids := c.get(routeLogin + "/flows?id=" + link.ID).shown(t).messages(); !slices.Contains(ids, 4010009) {
		t.Errorf("messages %v, want 4010009", ids)
	}
}

// seen keeps what a refusing hook is shown.
type seen struct {
	noHooks
	requests *[]webhook.Request
}

func (s seen) Refuse(_ context.Context, _ string, call *webhook.Call) error {
	*s.requests = append(*s.requests, call.Request)
	return nil
}

// Hooks see neither the code nor the state, whatever the browser sends along; and the
// CSRF cookie is renewed as by any sign-in.
func TestCallbackGivesNothingAway(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	var requests []webhook.Request
	r := w.inForce.Registration.(*registration.Service)
	r.Hooks = seen{requests: &requests}
	r.Plan = func(string) hook.Plan {
		return hook.Plan{Before: []hook.Step{{Endpoint: "look"}}, Session: hook.Session{On: true}}
	}
	settings := w.settings
	settings.HeaderAllowlist = []string{"Referer", "User-Agent"}
	w.compiled = compile(t, settings)
	c := w.browser()
	back := visit(t, c.start(c.browserFlow(), nil))
	before := c.cookies()
	g := c.get(back, "Accept", "text/html", "Referer", publicURL+strings.TrimPrefix(back, "/"))
	c.ended(g)
	for name, value := range before {
		if strings.HasPrefix(name, "csrf_token_") && c.cookies()[name] == value {
			t.Error("the CSRF cookie is the same as before")
		}
	}
	if len(requests) != 1 || requests[0].Header.Get("Referer") != "" || requests[0].URL != publicURL+"self-service/methods/oidc/callback/corp" {
		t.Errorf("the hook has seen %+v", requests)
	}
}

// While registration is off nobody is registered by a login.
func TestLoginRegistersNobodyWhileRegistrationIsOff(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	settings := w.settings
	settings.Registration.Enabled = false
	w.compiled = compile(t, settings)
	c := w.browser()
	g := c.through(c.begin(routeLogin), nil)
	if g.status != http.StatusSeeOther || !strings.HasPrefix(g.header.Get("Location"), ui+"error") || w.people() != 0 {
		t.Errorf("callback = %d to %s, %d people; want the error page", g.status, g.header.Get("Location"), w.people())
	}
}

// Sign-ups by a login count as registrations, and refused callbacks as failed logins.
func TestLimitsOfCallbacks(t *testing.T) {
	t.Parallel()
	for what, tt := range map[string]struct {
		class func(*api.Limits) *api.Limit
		spoil bool
	}{
		"registration": {func(l *api.Limits) *api.Limit { return &l.Registration }, false},
		"failed login": {func(l *api.Limits) *api.Limit { return &l.FailedLogin }, true},
	} {
		w, p := social(t)
		tight(tt.class)(w)
		w.compiled = compile(t, w.settings)
		refused := false
		for n := range 5 {
			p.Change(func(p *oidctest.Provider) {
				p.Claims = map[string]any{"sub": uuid.NewString(), "email": uuid.NewString() + "@example.org"}
			})
			c := w.browser()
			f := c.begin(routeLogin)
			form := url.Values{"provider": {"corp"}, "csrf_token": {f.csrf()}}
			g := c.postForm("/self-service/login?flow="+f.ID, form)
			to := parsed(t, g.header.Get("Location"))
			if to.Host == parsed(t, ui).Host { // the error page: refused at the start already
				refused = true
				break
			}
			back := parsed(t, visit(t, to))
			if tt.spoil {
				setQuery(back, "code", "foreign")
			}
			g = c.get(back.RequestURI(), "Accept", "text/html")
			if strings.HasPrefix(g.header.Get("Location"), ui+"error") {
				refused = true
				break
			}
			if n == 4 {
				t.Errorf("%s: nothing of five was refused", what)
			}
		}
		if !refused {
			t.Errorf("%s: nobody was refused", what)
		}
	}
}

// What waits for the provider is bounded.
func TestTooMuchToWait(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	c := w.browser()
	f := c.browserFlow()
	body := `{"provider":"corp","csrf_token":"` + f.csrf() + `","transient_payload":{"x":"` + strings.Repeat("x", 20<<10) + `"}}`
	if g := c.postJSON(f.submit(), body); g.status != http.StatusBadRequest || !slices.Contains(g.shown(t).messages(), 4000001) {
		t.Errorf("start = %d %.200s, want 400 with 4000001", g.status, g.body)
	}
}

// A registration without the session that was planned can be sent again by the same
// form: the browser's CSRF secret stays, and the verification is for that one.
func TestFormStaysGoodWithoutTheSession(t *testing.T) {
	t.Parallel()
	for _, opened := range []bool{false, true} {
		w := newWorld(t)
		now := time.Now()
		i := &identity.Identity{ID: uuid.New(), SchemaID: "person", State: identity.Active, StateChangedAt: now, CreatedAt: now, UpdatedAt: now, Traits: []byte(`{}`)}
		result := &registration.Result{Identity: i, FlowType: flow.Browser, Missing: errors.New("no worker")}
		if opened {
			result.Verification = &flow.Flow{ID: uuid.New(), Kind: flow.Verification, Type: flow.Browser, State: flow.SentEmail, ExpiresAt: now.Add(time.Hour), IssuedAt: now, RequestURL: publicURL}
			w.flows[result.Verification.ID] = *result.Verification
		}
		w.inForce.Registration = answered{result}
		c := w.browser()
		f := c.browserFlow()
		before := c.cookies()
		if g := c.postJSON(f.submit(), submitBody(f.csrf(), "ann@example.org", goodPassword)); g.status != 200 {
			t.Fatalf("register = %d %s", g.status, g.body)
		}
		for name, value := range before {
			if c.cookies()[name] != value {
				t.Errorf("the cookie %s was renewed", name)
			}
		}
		if opened {
			if g := c.get("/self-service/verification/flows?id=" + result.Verification.ID.String()); g.status != 200 {
				t.Errorf("verification = %d %s, want it to be this browser's", g.status, g.body)
			}
		}
	}
}

// answered is a registration that ends so.
type answered struct{ result *registration.Result }

func (a answered) Register(context.Context, registration.Submit) (*registration.Result, error) {
	return a.result, nil
}

func (a answered) Repeat(context.Context, registration.Submit) (*registration.Result, error) {
	return a.result, nil
}

func (answered) Judge(registration.Submit) error { return nil }

// late is a login that does not know yet whom another request is just registering.
type late struct {
	memoryLogin
	asked *int
}

func (l late) LoginProven(ctx context.Context, in login.Submit, a identity.Account) (*login.Result, error) {
	if *l.asked++; *l.asked == 1 {
		return nil, identity.ErrNotFound
	}
	return l.memoryLogin.LoginProven(ctx, in, a)
}

// Whoever is registered by another request meanwhile is signed in, not asked to link.
func TestRegisteredMeanwhile(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	c := w.browser()
	c.ended(c.through(c.browserFlow(), nil))
	w.inForce.Login = late{memoryLogin{w}, new(int)}
	c = w.browser()
	c.ended(c.through(c.browserFlow(), nil))
	if w.people() != 1 {
		t.Errorf("%d people, want 1", w.people())
	}
}

// What was proven waits ten minutes for the app.
func TestProofDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	for late, status := range map[time.Duration]int{9 * time.Minute: http.StatusOK, 11 * time.Minute: http.StatusNotFound} {
		w, _ := social(t)
		var past atomic.Int64
		w.server.Now = func() time.Time { return time.Now().Add(time.Duration(past.Load())) }
		app := w.app()
		n := app.get(routeRegistration + "/api?return_session_token_exchange_code=true")
		g := w.browser().get(visit(t, app.start(n.shown(t), nil)), "Accept", "text/html")
		second := parsed(t, g.header.Get("Location")).Query().Get("code")
		past.Store(int64(late))
		g = app.get("/sessions/token-exchange?init_code=" + initCode(t, n) + "&return_to_code=" + second)
		if g.status != status {
			t.Errorf("exchange %s later = %d %s, want %d", late, g.status, g.body, status)
		}
	}
}
