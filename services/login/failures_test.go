package login_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/webhook"
)

// What ends a login before its session was asked for: nothing behind it runs.
func TestFailuresBeforeTheSession(t *testing.T) {
	t.Parallel()
	down := errors.New("database is down")
	failed := &webhook.Failed{Endpoint: "a", Status: 500, Err: errors.New("no answer")}
	whole := []string{"find anna@example.org", "verify", "refuse a", "open", "notify w", "save due"}
	for name, c := range map[string]struct {
		set    func(*fakes)
		want   error
		result string
		steps  int // of whole, but for "open" where the gate is open
	}{
		"store":         {func(f *fakes) { f.find = func() error { return down } }, down, login.Broken, 1},
		"hash queue":    {func(f *fakes) { f.hash = func(password.Plain) error { return password.ErrBusy } }, password.ErrBusy, login.Busy, 2},
		"stored hash":   {func(f *fakes) { f.hash = func(password.Plain) error { return password.ErrUnknownHash } }, password.ErrUnknownHash, login.Broken, 2},
		"refusing hook": {func(f *fakes) { f.refuse = func(string, *webhook.Call) error { return failed } }, failed, login.HookFailed, 3},
		"verification": {func(f *fakes) {
			f.anna.Addresses[0].Verified = false
			f.open = func() error { return down }
		}, down, login.Broken, 4},
		"waiting hook": {func(f *fakes) { f.notify = func(string, *webhook.Call) error { return failed } }, failed, login.HookFailed, 5},
		"due hooks":    {func(f *fakes) { f.saveDue = func() error { return down } }, down, login.Broken, 6},
	} {
		f := newFakes()
		f.plan = hook.LoginPlan{
			Before: steps("a"), RequireVerified: true, Waiting: steps("w"), Background: steps("b"), RevokeOthers: true, Verification: true,
		}
		f.outdated = true
		c.set(f)
		got, err := f.service().Login(t.Context(), submit(flow.API))
		if got != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: Login = %+v, %v, want %v", name, got, err, c.want)
		}
		want := append([]string{}, whole[:min(c.steps, 3)]...)
		if c.steps == 4 {
			want = whole[:4]
		} else if c.steps > 4 {
			want = append(want, whole[4:c.steps]...)
		}
		equal(t, name+": steps", f.steps, want)
		if o := f.outcomes[0]; o.Result != c.result {
			t.Errorf("%s: outcome = %s, want %s", name, o.Result, c.result)
		}
	}
}

// The queue of hashes is as full for nobody as for somebody.
func TestBusyForAnUnknownIdentifier(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.hash = func(password.Plain) error { return password.ErrBusy }
	in := submit(flow.API)
	in.Identifier = "ben"
	if _, err := f.service().Login(t.Context(), in); !errors.Is(err, password.ErrBusy) {
		t.Errorf("Login = %v, want ErrBusy", err)
	}
	equal(t, "steps", f.steps, []string{"find ben", "hash"})
}

func TestUnreadableCredentialShowsNothingOfIt(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.anna.Credentials[1].Config = json.RawMessage(`{"hashed_password":7,"x":"hash-secret"}`)
	_, err := f.service().Login(t.Context(), submit(flow.API))
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), f.anna.ID.String()) {
		t.Errorf("Login = %v, want an error that names the identity only", err)
	}
}

// Of many failed logins only so many are told, and nobody waits for the others.
func TestFailedLoginsAreBounded(t *testing.T) {
	t.Parallel()
	f := newFakes()
	s := f.service()
	in := submit(flow.API)
	in.Identifier = "\x00" // so that nothing takes time but the hash
	clock := start
	s.Now = func() time.Time { return clock }
	try := func(times int) int {
		before := len(f.appended)
		for range times {
			if _, err := s.Login(t.Context(), in); err == nil {
				t.Fatal("Login of nobody succeeded")
			}
		}
		return len(f.appended) - before
	}
	if got := try(300); got != 100 {
		t.Errorf("%d of 300 at once are told, want 100", got)
	}
	clock = clock.Add(time.Second)
	if got := try(300); got != 20 {
		t.Errorf("%d of 300 a second later are told, want 20", got)
	}
	next := f.service() // as a reload of the configuration makes one
	next.Now, next.Failures = s.Now, s.Failures
	s = next
	if got := try(300); got != 0 {
		t.Errorf("%d of 300 by the next service are told, want none", got)
	}
}

// A login.failed that cannot be stored changes nothing of the answer, and one
// whose client has gone is stored all the same.
func TestFailedLoginThatCannotBeTold(t *testing.T) {
	t.Parallel()
	f := newFakes()
	down := errors.New("database is down")
	f.append = func() error { return down }
	in := submit(flow.API)
	in.Password = password.New("wrong")
	_, err := f.service().Login(t.Context(), in)
	if got, want := messages(t, err), map[string][]int64{"": {4000006}}; !sameMessages(got, want) || errors.Is(err, down) {
		t.Errorf("Login = %v with %v, want %v only", err, got, want)
	}
	if o := f.outcomes[0]; o.Result != login.WrongCredentials || !errors.Is(o.Trouble, down) {
		t.Errorf("outcome = %+v, want it with what went wrong", o)
	}

	f = newFakes()
	ctx, cancel := context.WithCancel(t.Context())
	f.hash = func(password.Plain) error { cancel(); return password.ErrMismatch }
	_, _ = f.service().Login(ctx, in)
	if o := f.outcomes[0]; len(f.appended) != 1 || o.Trouble != nil {
		t.Errorf("%d events and %v, want one in spite of the end of the request", len(f.appended), o.Trouble)
	}
}

func TestUnverifiedIsAnError(t *testing.T) {
	t.Parallel()
	u := &login.Unverified{Flow: &flow.Flow{}, Address: "anna@example.org"}
	if text := fmt.Sprint(u); strings.Contains(text, "anna") {
		t.Errorf("error text %q shows the address", text)
	}
}
