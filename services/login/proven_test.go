package login_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

// subject is how the provider "corp" knows Anna.
const subject = "corp:Seven"

// annas is the account of that subject, as corp proves it.
var annas = identity.Account{Provider: "corp", Subject: "Seven", Issuer: "https://corp.example.org"}

// newProvenFakes are those of a world in which Anna has signed in by corp.
func newProvenFakes() *fakes {
	f := newFakes()
	f.anna.Credentials[0].Identifiers = []string{"other:1", subject}
	f.people[identity.Handle(identity.MethodOIDC, subject)] = f.anna
	return f
}

// provenSubmit is one that says nothing of who it is: the proof does.
func provenSubmit(t flow.Type) login.Submit {
	in := submit(t)
	in.Method, in.Provider, in.Identifier, in.Password = identity.MethodOIDC, "corp", "", password.Plain{}
	return in
}

func TestLoginProven(t *testing.T) {
	t.Parallel()
	for kind, prefix := range map[flow.Type]string{flow.API: session.NativePrefix, flow.Browser: session.BrowserPrefix} {
		f := newProvenFakes()
		f.anna.Addresses = append(f.anna.Addresses, identity.Address{ID: uuid.New(), Verifiable: true, Value: "new@example.org"})
		f.plan = hook.LoginPlan{
			Before: steps("a"), RequireVerified: true, RevokeOthers: true, Verification: true, ShowVerification: true,
			Waiting: steps("w"), Background: steps("y"),
		}
		f.outdated = true // the password is not at hand
		got, err := f.service().LoginProven(t.Context(), provenSubmit(kind), annas)
		if err != nil {
			t.Fatalf("%s: LoginProven: %v", kind, err)
		}
		equal(t, "steps", f.steps, []string{"find OIDC:corp:Seven", "refuse a", "notify w", "save due", "session", "revoke", "open"})
		if got.Identity.ID != f.anna.ID || got.Identity.Credentials != nil || !strings.HasPrefix(got.Token.Reveal(), prefix) || got.Verification == nil {
			t.Errorf("%s: LoginProven = %+v, want Anna with a token that begins with %s", kind, got, prefix)
		}
		if r := f.requests[0]; r.Method != "oidc" || r.Provider != "corp" || r.AAL != session.AAL1 || r.Login == uuid.Nil || !r.Verified || r.Epoch != 3 {
			t.Errorf("%s: request = %+v, want it of oidc and corp", kind, r)
		}
		if f.plan.Method != "oidc" {
			t.Errorf("%s: the plan was that of %q", kind, f.plan.Method)
		}
		if diff := cmp.Diff([]login.Outcome{{Method: "oidc", Result: login.OK, Hop: hopTime}}, f.outcomes); diff != "" {
			t.Errorf("%s: outcome (-want +got):\n%s", kind, diff)
		}
	}
}

func TestLoginProvenRefreshes(t *testing.T) {
	t.Parallel()
	f := newProvenFakes()
	in := refreshing(flow.API, f.anna.ID)
	in.Method, in.Provider = identity.MethodOIDC, "corp"
	got, err := f.service().LoginProven(t.Context(), in, annas)
	if err != nil || got.Session.ID != in.Current.Session.ID || got.Token != in.Current.Token || f.requests[0].Provider != "corp" {
		t.Errorf("LoginProven = %+v, %v, want the same session and token", got, err)
	}
}

// It may become a registration, so nothing is told and no hook is asked.
func TestProofOfNobody(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(f *fakes){
		"unknown":                   func(f *fakes) { clear(f.people) },
		"another's handle":          func(f *fakes) { f.anna.Credentials[0].Identifiers = []string{"corp:seven"} },
		"of another way to sign in": func(f *fakes) { f.anna.Credentials[0].Type = "code" },
		"entered for a password only": func(f *fakes) {
			f.anna.Credentials = f.anna.Credentials[1:]
			f.anna.Credentials[0].Identifiers = []string{subject}
		},
	} {
		f := newProvenFakes()
		f.plan.Before = steps("a")
		set(f)
		got, err := f.service().LoginProven(t.Context(), provenSubmit(flow.API), annas)
		if got != nil || !errors.Is(err, identity.ErrNotFound) {
			t.Errorf("%s: LoginProven = %+v, %v, want ErrNotFound", name, got, err)
		}
		equal(t, name+": steps", f.steps, []string{"find OIDC:corp:Seven"})
		if len(f.outcomes) > 0 {
			t.Errorf("%s: outcomes = %+v, want none", name, f.outcomes)
		}
	}
}

// Whoever has Anna's subject at another issuer is not Anna. Where no issuer is
// stored, or none that anybody could read, what is there decides.
func TestProofOfAnotherIssuer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ config, result string }{
		"the same":              {`{"providers":[{"provider":"corp","subject":"Seven","issuer":"https://corp.example.org"}]}`, login.OK},
		"another":               {`{"providers":[{"provider":"corp","subject":"Seven","issuer":"https://old.example.org"}]}`, login.Invalid},
		"another one's account": {`{"providers":[{"provider":"other","subject":"Seven","issuer":"https://old.example.org"}]}`, login.OK},
		"not stored":            {`{"providers":[{"provider":"corp","subject":"Seven","initial_id_token":""}]}`, login.OK},
		"nothing is stored":     {`{}`, login.OK},
		"not to be read":        {`{"providers":"corp"}`, login.Broken},
	} {
		f := newProvenFakes()
		f.plan.Before = steps("a")
		f.anna.Credentials[0].Config = []byte(c.config)
		got, err := f.service().LoginProven(t.Context(), provenSubmit(flow.API), annas)
		known := c.result == login.OK
		if (got != nil) != known || (err == nil) != known || errors.Is(err, identity.ErrOtherIssuer) != (c.result == login.Invalid) {
			t.Errorf("%s: LoginProven = %+v, %v, want %s", name, got, err, c.result)
		}
		if errors.Is(err, identity.ErrNotFound) { // would be a registration
			t.Errorf("%s: LoginProven = %v, which says that nobody is known", name, err)
		}
		if o := f.outcomes; len(o) != 1 || o[0].Result != c.result {
			t.Errorf("%s: outcomes = %+v, want %s", name, o, c.result)
		}
		if !known {
			equal(t, name+": steps", f.steps, []string{"find OIDC:corp:Seven"})
		}
	}
}

// A password is proven by Login only, or an address would be enough to sign in.
func TestPasswordIsNotProvenElsewhere(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method  string
		account identity.Account
	}{
		{"password", annas},
		{"oidc", identity.Account{}},
		{"oidc", identity.Account{Provider: "corp", Issuer: annas.Issuer}},
		{"oidc", identity.Account{Provider: "corp", Subject: "Seven"}}, // of whom?
	} {
		f := newProvenFakes()
		in := provenSubmit(flow.API)
		in.Method = c.method
		if got, err := f.service().LoginProven(t.Context(), in, c.account); got != nil || err == nil || len(f.steps) > 0 {
			t.Errorf("LoginProven by %s with %+v = %+v, %v after %v, want an error at once", c.method, c.account, got, err, f.steps)
		}
	}
}

func TestProvenIsDeniedAsAPasswordIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set    func(f *fakes)
		steps  []string
		result string
	}{
		"inactive": {func(f *fakes) { f.anna.State = identity.Inactive }, nil, login.Disabled},
		"refused": {
			func(f *fakes) {
				f.refuse = func(string, *webhook.Call) error { return &webhook.Refusal{Messages: []webhook.Message{{ID: 42}}} }
			}, []string{"refuse a"}, login.Refused,
		},
		"unverified": {func(f *fakes) { f.anna.Addresses[0].Verified = false }, []string{"refuse a", "open"}, login.NotVerified},
	} {
		f := newProvenFakes()
		f.plan = hook.LoginPlan{Before: steps("a"), RequireVerified: true, Waiting: steps("never")}
		c.set(f)
		got, err := f.service().LoginProven(t.Context(), provenSubmit(flow.API), annas)
		if got != nil || err == nil {
			t.Errorf("%s: LoginProven = %+v, %v, want it denied", name, got, err)
		}
		equal(t, name+": steps", f.steps[1:], append(c.steps, "append login.failed"))
		if o := f.outcomes[0]; o.Result != c.result || o.Method != "oidc" {
			t.Errorf("%s: outcome = %+v, want %s", name, o, c.result)
		}
		if e := f.appended[0]; e.Actor != "person:"+f.anna.ID.String() || !strings.Contains(string(e.Data), `"method":"oidc"`) {
			t.Errorf("%s: login.failed = %+v %s, want it of the person, by oidc", name, e, e.Data)
		}
	}
}

func TestProvenWithoutASession(t *testing.T) {
	t.Parallel()
	f := newProvenFakes()
	f.issue = func(context.Context, session.Request) (*session.Session, error) { return nil, session.ErrIdentityGone }
	if got, err := f.service().LoginProven(t.Context(), provenSubmit(flow.API), annas); got != nil || !errors.Is(err, login.ErrNoSession) {
		t.Errorf("LoginProven = %+v, %v, want ErrNoSession", got, err)
	}
	broken := errors.New("database is down")
	f.find = func() error { return broken }
	if _, err := f.service().LoginProven(t.Context(), provenSubmit(flow.API), annas); !errors.Is(err, broken) || f.outcomes[1].Result != login.Broken {
		t.Errorf("LoginProven = %v and %+v, want what is broken", err, f.outcomes[1])
	}
}
