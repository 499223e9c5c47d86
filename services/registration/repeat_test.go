package registration_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
)

// registered is a world in which in was submitted once.
func registered(t *testing.T, in registration.Submit) (*fakes, *registration.Service, *registration.Result) {
	t.Helper()
	f := newFakes(t)
	f.plan.Waiting = steps("a")
	s := f.service()
	first, err := s.Register(t.Context(), in)
	if err != nil {
		t.Fatalf("Register: %v", err)
	}
	f.steps, f.outcomes = nil, nil
	return f, s, first
}

func TestRepeatedSubmitGetsANewToken(t *testing.T) {
	t.Parallel()
	for _, kind := range []flow.Type{flow.API, flow.Browser} {
		in := submit(kind)
		f, s, first := registered(t, in)
		in.Traits = json.RawMessage(`{"username":" ANNA ","email":"anna@EXAMPLE.org","name":{"first":"A."}}`)
		// The flow's row may be gone: what it said stands in the grant.
		in.Flow = &flow.Flow{ID: in.Flow.ID, Kind: flow.Registration, Type: flow.API, SchemaID: "person"}
		got, err := s.Repeat(t.Context(), in)
		if err != nil {
			t.Fatalf("Repeat: %v", err)
		}
		if got.Identity.ID != first.Identity.ID || got.Identity.Credentials != nil {
			t.Errorf("identity = %+v, want %s without credentials", got.Identity, first.Identity.ID)
		}
		if got.Session == nil || got.Token == first.Token || got.Token.Reveal()[:7] != first.Token.Reveal()[:7] {
			t.Errorf("session %v, token %.7s, want a new token of the same kind as %.7s", got.Session, got.Token.Reveal(), first.Token.Reveal())
		}
		if got.ReturnTo != first.ReturnTo || got.FlowType != kind {
			t.Errorf("result is for %q of type %s, want %q of type %s", got.ReturnTo, got.FlowType, first.ReturnTo, kind)
		}
		if a, b := f.requests[0], f.requests[1]; a.GrantID != b.GrantID || a.ID == b.ID || a.Digest == b.Digest || b.RequestedAt.Before(a.RequestedAt) {
			t.Errorf("requests = %+v and %+v, want the same grant with another id and digest, later", a, b)
		}
		// The waiting hook has run: a session came after it.
		equal(t, "steps", f.steps, []string{"grant", "verify", "session"})
		want := registration.Outcome{Method: "password", Result: registration.Repeated, Check: f.outcomes[0].Check, Hop: hopTime}
		if f.outcomes[0] != want {
			t.Errorf("outcome = %+v, want %+v", f.outcomes[0], want)
		}
	}
}

func TestRepeatGoesOnWithoutTheRequestAndInItsEpoch(t *testing.T) {
	t.Parallel()
	in := submit(flow.API)
	f, s, first := registered(t, in)
	f.people[first.Identity.ID].Epoch = 3
	ctx, cancel := context.WithCancel(t.Context())
	f.issue = func(ctx context.Context, r session.Request) (*session.Session, error) {
		cancel()
		if r.Epoch != 3 {
			t.Errorf("the worker was asked for epoch %d, want the identity's", r.Epoch)
		}
		return &session.Session{ID: uuid.New(), IdentityID: r.IdentityID}, ctx.Err()
	}
	if got, err := s.Repeat(ctx, in); err != nil || got.Session == nil || got.Missing != nil {
		t.Errorf("Repeat whose request ends = %+v, %v, want the session as if nobody had gone", got, err)
	}
}

func TestRegisterOfAUsedFlowRepeatsIt(t *testing.T) {
	t.Parallel()
	in := submit(flow.API)
	f, s, first := registered(t, in)
	got, err := s.Register(t.Context(), in)
	if err != nil || got.Identity.ID != first.Identity.ID || got.Session == nil || got.Token == first.Token {
		t.Errorf("Register = %+v, %v, want the same identity with a new token", got, err)
	}
	equal(t, "steps", f.steps, []string{"policy", "hash", "commit", "grant", "verify", "session"})
	if len(f.outcomes) != 1 || f.outcomes[0].Result != registration.Repeated {
		t.Errorf("outcomes = %+v, want one, %s", f.outcomes, registration.Repeated)
	}
	if len(f.records) != 1 {
		t.Errorf("%d people are stored, want one", len(f.records))
	}
}

func TestRepeatAfterAMissingSessionRunsTheWaitingHooksToo(t *testing.T) {
	t.Parallel()
	in := submit(flow.API)
	f, s, _ := registered(t, in)
	g := f.grants[in.Flow.ID]
	g.SessionID = uuid.Nil
	f.grants[in.Flow.ID] = g
	got, err := s.Repeat(t.Context(), in)
	if err != nil || got.Session == nil {
		t.Errorf("Repeat = %+v, %v, want the session", got, err)
	}
	equal(t, "steps", f.steps, []string{"grant", "verify", "notify a", "session"})
}

func TestWhatIsNoRepetition(t *testing.T) {
	t.Parallel()
	broken := errors.New("database is down")
	for name, c := range map[string]struct {
		change func(*fakes, *registration.Submit)
		want   error
		steps  []string
		result string
	}{
		"another password": {
			change: func(_ *fakes, in *registration.Submit) { in.Password = password.New("another") },
			want:   registration.ErrFlowUsed, steps: []string{"grant", "verify"}, result: registration.FlowUsed,
		},
		"no password": {
			change: func(_ *fakes, in *registration.Submit) { in.Password = password.Plain{} },
			want:   registration.ErrFlowUsed, steps: []string{"grant"}, result: registration.FlowUsed,
		},
		"another identifier": {
			change: func(_ *fakes, in *registration.Submit) {
				in.Traits = json.RawMessage(`{"email":"anna@example.org","username":"ben","name":{}}`)
			},
			want: registration.ErrFlowUsed, steps: []string{"grant"}, result: registration.FlowUsed,
		},
		"fewer identifiers": {
			change: func(_ *fakes, in *registration.Submit) {
				in.Traits = json.RawMessage(`{"email":"anna@example.org","name":{}}`)
			},
			want: registration.ErrFlowUsed, steps: []string{"grant"}, result: registration.FlowUsed,
		},
		"broken traits": {
			change: func(_ *fakes, in *registration.Submit) { in.Traits = json.RawMessage(`{`) },
			want:   registration.ErrFlowUsed, steps: []string{"grant"}, result: registration.FlowUsed,
		},
		"another flow": {
			change: func(_ *fakes, in *registration.Submit) { in.Flow.ID = uuid.New() },
			want:   registration.ErrFlowUsed, steps: []string{"grant"}, result: registration.FlowUsed,
		},
		"too late": {
			change: func(f *fakes, in *registration.Submit) {
				f.now = f.grants[in.Flow.ID].CreatedAt.Add(session.RepeatWindow + 1)
			},
			want: registration.ErrFlowUsed, steps: []string{"grant"}, result: registration.FlowUsed,
		},
		"a schema that is gone": {
			change: func(f *fakes, _ *registration.Submit) { f.schemas = nil },
			want:   registration.ErrFlowUsed, steps: []string{"grant"}, result: registration.FlowUsed,
		},
		"a database that is down": {
			change: func(f *fakes, _ *registration.Submit) { f.grant = func() error { return broken } },
			want:   broken, steps: []string{"grant"}, result: registration.Broken,
		},
	} {
		in := submit(flow.API)
		f, s, _ := registered(t, in)
		c.change(f, &in)
		got, err := s.Repeat(t.Context(), in)
		if got != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: Repeat = %+v, %v, want %v", name, got, err, c.want)
		}
		equal(t, name+": steps", f.steps, c.steps)
		if o := f.outcomes[0]; o.Result != c.result {
			t.Errorf("%s: outcome = %s, want %s", name, o.Result, c.result)
		}
	}
}

func TestRepeatUntilTheWindowsEnd(t *testing.T) {
	t.Parallel()
	in := submit(flow.API)
	f, s, _ := registered(t, in)
	f.now = f.grants[in.Flow.ID].CreatedAt.Add(session.RepeatWindow)
	if _, err := s.Repeat(t.Context(), in); err != nil {
		t.Errorf("Repeat after %v: %v", session.RepeatWindow, err)
	}
	f.now = f.now.Add(time.Microsecond)
	if _, err := s.Repeat(t.Context(), in); !errors.Is(err, registration.ErrFlowUsed) {
		t.Errorf("Repeat after more than %v = %v, want ErrFlowUsed", session.RepeatWindow, err)
	}
}

func TestRepeatFollowsThePlanOfTheGrant(t *testing.T) {
	t.Parallel()
	in := submit(flow.Browser)
	_, s, _ := registered(t, in)
	s.Plan = func(method string) hook.Plan {
		if method != "password" {
			t.Errorf("Plan(%q), want the grant's", method)
		}
		return hook.Plan{}
	}
	in.Flow, in.Method = &flow.Flow{ID: in.Flow.ID, Type: flow.API}, "other"
	got, err := s.Repeat(t.Context(), in)
	if err != nil || got.Session != nil {
		t.Errorf("Repeat with session off = %+v, %v, want no session", got, err)
	}
}

// The grant, not the submit, says that the person is let in who must verify first.
func TestBypassOfTheGrantIsAskedFor(t *testing.T) {
	t.Parallel()
	for _, bypass := range []bool{false, true} {
		f := newFakes(t)
		s := f.service()
		in := submit(flow.API)
		if _, err := s.Register(t.Context(), in); err != nil {
			t.Fatalf("Register: %v", err)
		}
		g := f.grants[in.Flow.ID]
		g.Bypass = bypass
		f.grants[in.Flow.ID] = g
		if _, err := s.Repeat(t.Context(), in); err != nil {
			t.Fatalf("Repeat: %v", err)
		}
		if got := f.requests[1].Bypass; got != bypass {
			t.Errorf("the request says bypass: %t, the grant %t", got, bypass)
		}
	}
}
