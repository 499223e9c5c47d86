package login_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/session"
)

func TestRevokeOthers(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.plan.RevokeOthers = true
	in := submit(flow.API)
	got, err := f.service().Login(t.Context(), in)
	if err != nil {
		t.Fatalf("Login: %v", err)
	}
	equal(t, "revoked", f.which, []session.Which{{IdentityID: f.anna.ID, But: got.Session.ID}})
	person := f.anna.ID.String()
	var data events.SessionRevoked
	if err := json.Unmarshal(f.revoked[0].Data, &data); err != nil || data.Reason != "login" || data.IdentityID != person {
		t.Errorf("event data = %+v, %v, want the reason login", data, err)
	}
	want := events.Event{
		SpecVersion: "1.0", Source: "/usher/login", Type: "session.revoked", Subject: person, Sequence: "5", DataContentType: "application/json",
		DataSchema: "urn:usher:event:session.revoked:1", RequestID: "http-1", Actor: "person:" + person, TraceParent: in.Client.TraceParent,
	}
	if diff := cmp.Diff(want, f.revoked[0], cmpopts.IgnoreFields(events.Event{}, "ID", "Time", "Data")); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	payload, err := f.revoked[0].Encode()
	if err != nil {
		t.Fatal(err)
	}
	eventstest.Validate(t, payload)
}

// A browser whose cookie becomes somebody else's must not leave the former
// session alive behind it: nobody could end it there any more.
func TestSomebodyElseInTheSameBrowser(t *testing.T) {
	t.Parallel()
	ben := uuid.New()
	for name, c := range map[string]struct {
		in    func(f *fakes) login.Submit
		ended bool
	}{
		"somebody else":        {func(*fakes) login.Submit { return refreshing(flow.Browser, ben) }, true},
		"the same person":      {func(f *fakes) login.Submit { return refreshing(flow.Browser, f.anna.ID) }, false},
		"an app has both":      {func(*fakes) login.Submit { return refreshing(flow.API, ben) }, false},
		"nobody was signed in": {func(*fakes) login.Submit { return submit(flow.Browser) }, false},
	} {
		f := newFakes()
		in := c.in(f)
		if _, err := f.service().Login(t.Context(), in); err != nil {
			t.Fatalf("%s: Login: %v", name, err)
		}
		if !c.ended {
			equal(t, name+": revoked", f.which, nil)
			continue
		}
		equal(t, name+": revoked", f.which, []session.Which{{IdentityID: ben, ID: in.Current.Session.ID}})
		equal(t, name+": steps", f.went(t), []string{"session", "revoke"})
		var data events.SessionRevoked
		e := f.revoked[0]
		if err := json.Unmarshal(e.Data, &data); err != nil || data.Reason != "replaced" || data.IdentityID != ben.String() || e.Subject != ben.String() {
			t.Errorf("%s: event = %+v with %+v, %v, want that Ben's session was replaced", name, e, data, err)
		}
		if want := "person:" + f.anna.ID.String(); e.Actor != want {
			t.Errorf("%s: actor = %q, want %q, who has signed in", name, e.Actor, want)
		}
	}
}

// The browser keeps the cookie that it has where its session could not be ended.
func TestReplacedSessionThatCannotBeRevoked(t *testing.T) {
	t.Parallel()
	f := newFakes()
	down := errors.New("database is down")
	f.revoke = func(context.Context) error { return down }
	if got, err := f.service().Login(t.Context(), refreshing(flow.Browser, uuid.New())); got != nil || !errors.Is(err, down) {
		t.Errorf("Login = %+v, %v, want why", got, err)
	}
}

// Who wants the other sessions ended is not told of a success that left them.
func TestOtherSessionsThatCannotBeRevoked(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.plan.RevokeOthers = true
	down := errors.New("database is down")
	f.revoke = func(context.Context) error { return down }
	got, err := f.service().Login(t.Context(), submit(flow.API))
	if got != nil || !errors.Is(err, down) || f.outcomes[0].Result != login.Broken {
		t.Errorf("Login = %+v, %v, want why", got, err)
	}
}

func TestVerificationKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	down := errors.New("database is down")
	pending := identity.Address{Verifiable: true, Value: "new@example.org"}
	for name, c := range map[string]struct {
		plan          hook.LoginPlan
		addresses     []identity.Address
		open          func() error
		opened, shown bool
	}{
		"shown":            {hook.LoginPlan{Verification: true, ShowVerification: true}, []identity.Address{pending}, nil, true, true},
		"not shown":        {hook.LoginPlan{Verification: true}, []identity.Address{pending}, nil, true, false},
		"only shown":       {hook.LoginPlan{ShowVerification: true}, []identity.Address{pending}, nil, false, false},
		"nothing to do":    {hook.LoginPlan{Verification: true, ShowVerification: true}, []identity.Address{{Value: "x"}}, nil, false, false},
		"not configured":   {hook.LoginPlan{}, []identity.Address{pending}, nil, false, false},
		"cannot be opened": {hook.LoginPlan{Verification: true, ShowVerification: true}, []identity.Address{pending}, func() error { return down }, true, false},
	} {
		f := newFakes()
		f.plan, f.anna.Addresses, f.open = c.plan, c.addresses, c.open
		got, err := f.service().Login(t.Context(), submit(flow.API))
		if err != nil || got.Session == nil {
			t.Errorf("%s: Login = %+v, %v, want a session", name, got, err)
			continue
		}
		if (len(f.opened) > 0) != c.opened || (got.Verification != nil) != c.shown || (got.VerificationAddress == "new@example.org") != c.shown {
			t.Errorf("%s: opened %v, shown %+v of %q; want opened %t, shown %t", name, f.opened, got.Verification, got.VerificationAddress, c.opened, c.shown)
		}
		if trouble := f.outcomes[0].Trouble; errors.Is(trouble, down) != (c.open != nil) {
			t.Errorf("%s: trouble = %v", name, trouble)
		}
	}
}

func TestRehash(t *testing.T) {
	t.Parallel()
	down := errors.New("database is down")
	for name, c := range map[string]struct {
		set     func(*fakes)
		stored  bool
		trouble error
	}{
		"outdated":       {func(*fakes) {}, true, nil},
		"as new":         {func(f *fakes) { f.outdated = false }, false, nil},
		"queue is full":  {func(f *fakes) { f.hash = busyOnce() }, false, password.ErrBusy},
		"is too long":    {func(f *fakes) { f.hash = func(password.Plain) error { return tooLong(f) } }, false, nil},
		"store is down":  {func(f *fakes) { f.replace = func() error { return down } }, true, down},
		"changed by now": {func(f *fakes) { f.replace = func() error { return identity.ErrNotFound } }, true, identity.ErrNotFound},
	} {
		f := newFakes()
		former := string(f.anna.Credentials[1].Config)
		f.outdated = true
		c.set(f)
		got, err := f.service().Login(t.Context(), submit(flow.API))
		if err != nil || got.Session == nil {
			t.Errorf("%s: Login = %+v, %v, want a session", name, got, err)
			continue
		}
		if (len(f.replaced) > 0) != c.stored {
			t.Errorf("%s: replaced %s, want it stored: %t", name, f.replaced, c.stored)
		}
		if len(f.replaced) == 2 && (string(f.replaced[0]) != former || string(f.replaced[1]) != string(config(goodPassword))) {
			t.Errorf("%s: %s is replaced by %s, want the stored one by the new one", name, f.replaced[0], f.replaced[1])
		}
		if trouble := f.outcomes[0].Trouble; !errors.Is(trouble, c.trouble) || (trouble == nil) != (c.trouble == nil) {
			t.Errorf("%s: trouble = %v, want %v", name, trouble, c.trouble)
		}
	}
}

// busyOnce lets the comparison through and nothing behind it.
func busyOnce() func(password.Plain) error {
	n := 0
	return func(password.Plain) error {
		if n++; n == 1 {
			return nil
		}
		return password.ErrBusy
	}
}

func tooLong(f *fakes) error {
	if f.hashes() == 1 {
		return nil
	}
	return password.ErrTooLong
}

// TestSecretsReachOnlyWhomTheyAreFor looks for the password, its hash and the
// token in all that leaves the use case.
func TestSecretsReachOnlyWhomTheyAreFor(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.plan = hook.LoginPlan{Before: steps("a"), Waiting: steps("w"), Background: steps("y"), RevokeOthers: true}
	s := f.service()
	in := submit(flow.API)
	got, err := s.Login(t.Context(), in)
	if err != nil {
		t.Fatalf("Login: %v", err)
	}
	if got.Identity.Credentials != nil || len(f.anna.Credentials) == 0 {
		t.Errorf("the result holds %v, the stored identity %v; want credentials only there", got.Identity.Credentials, f.anna.Credentials)
	}
	wrong := submit(flow.API)
	wrong.Password = password.New("wrong-secret")
	_, denied := s.Login(t.Context(), wrong)

	secrets := []string{goodPassword, phc(in.Password), got.Token.Reveal(), "wrong-secret"}
	for what, value := range map[string]any{
		"result": got, "hook calls": f.calls, "due hooks": f.due, "session requests": f.requests, "submit": in,
		"events": f.appended, "revocations": f.revoked, "error": denied, "outcomes": f.outcomes,
	} {
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		for _, shown := range []string{string(encoded), fmt.Sprintf("%+v", value), fmt.Sprintf("%#v", value)} {
			for _, secret := range secrets {
				if strings.Contains(shown, secret) {
					t.Errorf("%s shows %q: %s", what, secret, shown)
				}
			}
		}
	}
	if len(f.due) == 0 || f.due[0].Input.Request.Cookies != nil {
		t.Errorf("cookies are kept for a background hook: %+v", f.due)
	}
}
