package login_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

func TestLogin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flow   flow.Type
		prefix string
	}{{flow.API, session.NativePrefix}, {flow.Browser, session.BrowserPrefix}} {
		f := newFakes()
		in := submit(c.flow)
		got, err := f.service().Login(t.Context(), in)
		if err != nil {
			t.Fatalf("%s: Login: %v", c.flow, err)
		}
		if got.Session == nil || got.Identity.ID != f.anna.ID || !strings.HasPrefix(got.Token.Reveal(), c.prefix) || got.Verification != nil {
			t.Errorf("%s: Login = %+v with %q, want a session and a token that begins with %s", c.flow, got, got.Token.Reveal(), c.prefix)
		}
		r := f.requests[0]
		want := session.Request{
			ID: r.ID, Deadline: start.Add(hashTime + time.Minute), RequestedAt: start.Add(hashTime), FlowID: in.Flow.ID, IdentityID: f.anna.ID,
			Method: "password", AAL: "aal1", Digest: got.Token.Digest(), Epoch: 3, Lifespan: 24 * time.Hour, ClientAddr: in.Client.Addr,
			UserAgent: "test/1", TraceParent: in.Client.TraceParent, HTTPRequest: "http-1", Login: r.Login,
		}
		if diff := cmp.Diff(want, r); diff != "" {
			t.Errorf("%s: request (-want +got):\n%s", c.flow, diff)
		}
		if r.Login.Version() != 7 {
			t.Errorf("%s: id of login.succeeded = %s, want a UUIDv7", c.flow, r.Login)
		}
		equal(t, "steps", f.steps, []string{"find anna@example.org", "verify", "session"})
		if diff := cmp.Diff([]login.Outcome{{Method: "password", Result: login.OK, Hash: hashTime, Hop: hopTime}}, f.outcomes); diff != "" {
			t.Errorf("%s: outcome (-want +got):\n%s", c.flow, diff)
		}
	}
}

func TestStepsComeInOrder(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.anna.Addresses = append(f.anna.Addresses, identity.Address{ID: uuid.New(), Verifiable: true, Value: "new@example.org"})
	f.plan = hook.LoginPlan{
		Before: steps("a", "b"), RequireVerified: true, RevokeOthers: true, Verification: true, ShowVerification: true,
		Waiting: steps("w", "x"), Background: steps("y", "z"),
	}
	f.outdated = true
	got, err := f.service().Login(t.Context(), submit(flow.API))
	if err != nil {
		t.Fatalf("Login: %v", err)
	}
	equal(t, "steps", f.went(t), []string{
		"refuse a", "refuse b", "notify w", "notify x", "save due", "session", "revoke", "open", "hash", "replace password",
	})
	if got.Verification == nil || got.VerificationAddress != "new@example.org" {
		t.Errorf("result shows the verification %+v of %q, want that of the new address", got.Verification, got.VerificationAddress)
	}
}

// Background endpoints get login.succeeded by its id, which was chosen before
// the session was asked for; what is kept for them holds no cookies.
func TestHooksAreToldOfTheLogin(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.plan = hook.LoginPlan{Before: steps("a"), Waiting: steps("w"), Background: steps("y", "z")}
	in := submit(flow.Browser)
	if _, err := f.service().Login(t.Context(), in); err != nil {
		t.Fatalf("Login: %v", err)
	}
	eventID := f.requests[0].Login
	input := webhook.Input{
		Flow: webhook.Flow{
			ID: in.Flow.ID.String(), Type: "browser", RequestURL: in.Flow.RequestURL, ReturnTo: in.Flow.ReturnTo,
			IssuedAt: in.Flow.IssuedAt, ExpiresAt: in.Flow.ExpiresAt, TransientPayload: in.TransientPayload,
		},
		Request:   webhook.Request{Method: "POST", URL: "https://id.example.org/"},
		RequestID: "http-1", TraceParent: in.Client.TraceParent,
	}
	want := []webhook.Due{{EventID: eventID, Endpoint: "y", Input: input}, {EventID: eventID, Endpoint: "z", Input: input}}
	if diff := cmp.Diff(want, f.due); diff != "" {
		t.Errorf("due (-want +got):\n%s", diff)
	}
	input.Request.Cookies = in.Request.Cookies
	person := *f.anna
	person.Credentials = nil
	calls := []webhook.Call{{Input: input, Identity: &person}, {Input: input, Identity: &person, EventID: eventID.String()}}
	if diff := cmp.Diff(calls, f.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestWithoutBackgroundHooksNothingIsKept(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.saveDue = func() error { return errors.New("asked for nothing") }
	if _, err := f.service().Login(t.Context(), submit(flow.API)); err != nil {
		t.Errorf("Login: %v", err)
	}
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   func(f *fakes) login.Submit
		kept bool
	}{
		"the same person":   {func(f *fakes) login.Submit { return refreshing(flow.API, f.anna.ID) }, true},
		"another person":    {func(*fakes) login.Submit { return refreshing(flow.API, uuid.New()) }, false},
		"no session":        {func(f *fakes) login.Submit { in := refreshing(flow.API, f.anna.ID); in.Current = nil; return in }, false},
		"not asked for":     {func(f *fakes) login.Submit { in := refreshing(flow.API, f.anna.ID); in.Flow.Refresh = false; return in }, false},
		"in a browser flow": {func(f *fakes) login.Submit { return refreshing(flow.Browser, f.anna.ID) }, true},
	} {
		f := newFakes()
		f.plan.RevokeOthers = true
		in := c.in(f)
		got, err := f.service().Login(t.Context(), in)
		if err != nil {
			t.Fatalf("%s: Login: %v", name, err)
		}
		r := f.requests[0]
		result := login.OK
		if c.kept {
			result = login.Refreshed
			if r.Refresh != in.Current.Session.ID || got.Session.ID != r.Refresh || r.Digest != in.Current.Token.Digest() || got.Token != in.Current.Token {
				t.Errorf("%s: session %s of request %+v, want the current one with its token", name, got.Session.ID, r)
			}
		} else if r.Refresh != uuid.Nil || in.Current != nil && (r.Digest == in.Current.Token.Digest() || got.Token == in.Current.Token) {
			t.Errorf("%s: request = %+v, want a new session with a token of its own", name, r)
		}
		if r.Login == uuid.Nil || r.Digest != got.Token.Digest() || r.ID == "" || r.Deadline.IsZero() {
			t.Errorf("%s: request = %+v, want a login with the digest of the result's token", name, r)
		}
		if w := f.which[0]; w.But != got.Session.ID {
			t.Errorf("%s: revoked are %+v, want all but %s", name, w, got.Session.ID)
		}
		if got := f.outcomes[0].Result; got != result {
			t.Errorf("%s: outcome = %s, want %s", name, got, result)
		}
	}
}

// A refresh is a login: the bypass of a registration does not last for it.
func TestRefreshIsGated(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.anna.Addresses[0].Verified = false
	f.plan.RequireVerified = true
	_, err := f.service().Login(t.Context(), refreshing(flow.API, f.anna.ID))
	var unverified *login.Unverified
	if !errors.As(err, &unverified) || len(f.requests) > 0 {
		t.Errorf("Login = %v, want the gate shut", err)
	}
}

func TestNoSession(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*fakes) login.Submit{
		"new":     func(*fakes) login.Submit { return submit(flow.API) },
		"refresh": func(f *fakes) login.Submit { return refreshing(flow.API, f.anna.ID) },
	} {
		for _, why := range []error{session.ErrUnavailable, session.ErrIdentityInactive, session.ErrIdentityGone, session.ErrLate} {
			f := newFakes()
			f.plan = hook.LoginPlan{RevokeOthers: true, Verification: true}
			f.outdated = true
			f.issue = func(context.Context, session.Request) (*session.Session, error) {
				return &session.Session{}, fmt.Errorf("bus: %w", why)
			}
			got, err := f.service().Login(t.Context(), change(f))
			if got != nil || !errors.Is(err, login.ErrNoSession) || !errors.Is(err, why) {
				t.Errorf("%s: Login = %+v, %v, want ErrNoSession and %v", name, got, err, why)
			}
			equal(t, name+": steps", f.went(t), []string{"session"})
			if o := f.outcomes[0]; o.Result != login.NoSession || o.Hop != hopTime {
				t.Errorf("%s: outcome = %+v, want %s after %v", name, o, login.NoSession, hopTime)
			}
		}
	}
}

func TestFrozenSessionWorkerCostsItsTimeAndNoMore(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.issue = func(ctx context.Context, _ session.Request) (*session.Session, error) {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Fatal("the worker may take for ever")
		}
		<-ctx.Done()
		return nil, fmt.Errorf("%w: %w", session.ErrUnavailable, ctx.Err())
	}
	s := f.service()
	s.IssueTimeout = 10 * time.Millisecond
	if _, err := s.Login(t.Context(), submit(flow.API)); !errors.Is(err, login.ErrNoSession) {
		t.Errorf("Login = %v, want ErrNoSession", err)
	}
}

// Once the session was asked for, the end of the request changes nothing.
func TestEndOfTheRequestDoesNotTakeTheSessionBack(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.anna.Addresses = append(f.anna.Addresses, identity.Address{ID: uuid.New(), Verifiable: true, Value: "new@example.org"})
	f.plan = hook.LoginPlan{RevokeOthers: true, Verification: true, ShowVerification: true}
	f.outdated = true
	ctx, cancel := context.WithCancel(t.Context())
	f.issue = func(ctx context.Context, r session.Request) (*session.Session, error) {
		cancel()
		return &session.Session{ID: uuid.New(), IdentityID: r.IdentityID}, ctx.Err()
	}
	got, err := f.service().Login(ctx, submit(flow.API))
	if err != nil || got.Session == nil || got.Verification == nil {
		t.Fatalf("Login = %+v, %v, want the result as if nobody had gone", got, err)
	}
	equal(t, "steps", f.went(t), []string{"session", "revoke", "open", "hash", "replace password"})
	if o := f.outcomes[0]; o.Trouble != nil {
		t.Errorf("outcome = %+v, want no trouble", o)
	}
}

// Before, it ends the login: nobody waits for that session.
func TestEndOfTheRequestBeforeTheSession(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.plan.Waiting = steps("w")
	ctx, cancel := context.WithCancel(t.Context())
	f.notify = func(string, *webhook.Call) error { cancel(); return ctx.Err() }
	if got, err := f.service().Login(ctx, submit(flow.API)); !errors.Is(err, context.Canceled) || len(f.requests) > 0 {
		t.Errorf("Login = %+v, %v, want it ended", got, err)
	}
}
