package api_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/registration"
)

// refused answers every login with an error, and keeps what it was asked.
type refused struct {
	withoutProviders
	err error
	got *login.Submit
}

func (r refused) Login(_ context.Context, in login.Submit) (*login.Result, error) {
	if r.got != nil {
		*r.got = in
	}
	return nil, r.err
}

// TestGate is the contract's table of a login that waits for a verification.
func TestGate(t *testing.T) {
	t.Parallel()
	opened := &flow.Flow{ID: uuid.New(), Kind: flow.Verification, State: flow.SentEmail, RequestURL: publicURL + "self-service/login/browser", IssuedAt: time.Now()}
	to := ui + "verification?flow=" + opened.ID.String()
	var asked login.Submit
	w := newWorld(t, func(w *world) {
		w.inForce.Login = refused{err: &login.Unverified{Flow: opened, Address: "a@example.org"}, got: &asked}
	})
	form := loginForm("", "a@example.org", goodPassword).Encode()
	for _, tt := range []struct {
		what, body string
		browser    bool
		header     []string
		status     int
	}{
		{"native JSON", loginBody("", "a@example.org", goodPassword), false, []string{"Content-Type", "application/json"}, 403},
		{"native form", form, false, []string{"Content-Type", "application/x-www-form-urlencoded", "Accept", "*/*"}, 303},
		{"native form that wants JSON", form, false, []string{"Content-Type", "application/x-www-form-urlencoded", "Accept", "application/json"}, 403},
		{"script", "json", true, []string{"Content-Type", "application/json"}, 403},
		{"page", "form", true, []string{"Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html"}, 303},
	} {
		c := w.app()
		if tt.browser {
			c = w.browser()
		}
		opened.Type = flow.API
		f := c.begin(routeLogin)
		switch tt.body {
		case "json":
			tt.body = loginBody(f.csrf(), "a@example.org", goodPassword)
		case "form":
			tt.body = loginForm(f.csrf(), "a@example.org", goodPassword).Encode()
		}
		g := c.do("POST", f.at(routeLogin), tt.body, tt.header...)
		if g.status != tt.status || strings.Contains(cookiesOf(g)+g.body, "ory_kratos_session") || strings.Contains(g.body, "ory_st_") {
			t.Errorf("%s: gate = %d %s, cookies %q, want %d and no session", tt.what, g.status, g.body, cookiesOf(g), tt.status)
		}
		if g.status == 303 && g.header.Get("Location") != to {
			t.Errorf("%s: gate leads to %q, want %q", tt.what, g.header.Get("Location"), to)
		}
		want := `"details":{"continue_with":[{"action":"show_verification_ui","flow":{"id":"` + opened.ID.String() + `","verifiable_address":"a@example.org","url":"` + to + `"}}]}`
		if g.status == 403 && (g.shown(t).Error.Code != 400 || g.shown(t).Error.ID != "session_verified_address_required" || !strings.Contains(g.body, want)) {
			t.Errorf("%s: gate = %s, want inner code 400 and %s", tt.what, g.body, want)
		}
		// The flow that was opened belongs to the cookie of this answer.
		opened.Type, opened.CSRF, opened.ExpiresAt = flow.Browser, asked.CSRF, time.Now().Add(time.Hour)
		w.flows[opened.ID] = *opened
		if tt.browser {
			if g := c.get(routeVerification + "/flows?id=" + opened.ID.String()); g.status != 200 {
				t.Errorf("%s: fetch of the verification = %d %s, want 200", tt.what, g.status, g.body)
			}
		} else if asked.CSRF != nil || cookiesOf(g) != "" {
			t.Errorf("%s: an app gets a CSRF secret", tt.what)
		}
	}
}

func TestErrorsOfLogin(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err    error
		status int
		retry  bool
	}{
		{errors.New("secret"), 500, false},
		{password.ErrBusy, 503, true},
		{errors.Join(login.ErrNoSession, errors.New("secret")), 503, true},
		{login.ErrNoAddress, 500, false},
	} {
		w := newWorld(t, func(w *world) { w.inForce.Login = refused{err: tt.err} })
		c := w.app()
		g := c.postJSON(c.begin(routeLogin).at(routeLogin), loginBody("", "a@example.org", goodPassword))
		if g.status != tt.status || (g.header.Get("Retry-After") != "") != tt.retry || strings.Contains(g.body, "secret") || strings.Contains(cookiesOf(g), "csrf") {
			t.Errorf("login with %v = %d Retry-After %q %s, want %d", tt.err, g.status, g.header.Get("Retry-After"), g.body, tt.status)
		}
	}
}

// opens is a registration that has opened a verification.
type opens struct {
	settled
	flow *flow.Flow
	show bool
}

func (o opens) Register(ctx context.Context, in registration.Submit) (*registration.Result, error) {
	r, err := o.settled.Register(ctx, in)
	o.flow.CSRF, o.flow.Type = in.CSRF, in.Flow.Type
	r.Verification, r.VerificationAddress, r.ShowVerification = o.flow, "a@example.org", o.show
	return r, err
}

func TestRegistrationShowsItsVerification(t *testing.T) {
	t.Parallel()
	f := &flow.Flow{ID: uuid.MustParse("5b4e28ba-2fa1-41d2-883f-0016d3cca427"), Kind: flow.Verification, State: flow.SentEmail, RequestURL: publicURL + "self-service/registration/browser", IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
	for _, show := range []bool{true, false} {
		w := newWorld(t, func(w *world) { w.inForce.Registration = opens{settled{true}, f, show} })
		item := `{"action":"show_verification_ui","flow":{"id":"` + f.ID.String() + `","verifiable_address":"a@example.org"`
		app := w.app()
		g := app.postJSON(app.nativeFlow().submit(), submitBody("", "a@example.org", goodPassword))
		if _, list, _ := strings.Cut(g.body, `"continue_with":[`); strings.HasPrefix(list, item+`}},{"action":"set_ory_session_token"`) != show {
			t.Errorf("native registration = %s, want the flow without url first: %v", g.body, show)
		}
		script := w.browser()
		s := script.browserFlow()
		g = script.postJSON(s.submit(), submitBody(s.csrf(), "a@example.org", goodPassword))
		if _, list, _ := strings.Cut(g.body, `"redirect_browser_to":"`+welcome+`"},`); strings.HasPrefix(list, item+`,"url":"`+ui+`verification?flow=`+f.ID.String()+`"}}]}`) != show {
			t.Errorf("registration of a script = %s, want the flow with url behind the redirect: %v", g.body, show)
		}
		w.flows[f.ID] = *f
		if g := script.get(routeVerification + "/flows?id=" + f.ID.String()); g.status != 200 {
			t.Errorf("fetch of the verification = %d %s, want 200 with the new cookie", g.status, g.body)
		}
		page := w.browser()
		s = page.browserFlow()
		g = page.postForm(s.submit(), submitForm(s.csrf(), "a@example.org", goodPassword))
		if to := g.header.Get("Location"); (to == ui+"verification?flow="+f.ID.String()) != show || !strings.Contains(cookiesOf(g), "ory_kratos_session=") {
			t.Errorf("registration of a page leads to %q, want the verification: %v", to, show)
		}
	}
}
