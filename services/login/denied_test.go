package login_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/webhook"
)

func TestWhatWasNotEntered(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*login.Submit)
		want   map[string][]int64
		values map[string]any
	}{
		"no identifier": {func(in *login.Submit) { in.Identifier = "" }, map[string][]int64{"identifier": {4000002}}, nil},
		"no password": {
			func(in *login.Submit) { in.Password = password.Plain{} },
			map[string][]int64{"password": {4000002}},
			map[string]any{"identifier": " Anna@Example.org"},
		},
		"neither": {
			func(in *login.Submit) { in.Identifier, in.Password = "", password.New("") },
			map[string][]int64{"identifier": {4000002}, "password": {4000002}},
			nil,
		},
	} {
		f := newFakes()
		in := submit(flow.API)
		c.change(&in)
		got, err := f.service().Login(t.Context(), in)
		if got != nil {
			t.Errorf("%s: Login = %+v, want nothing", name, got)
		}
		if got := messages(t, err); !sameMessages(got, c.want) {
			t.Errorf("%s: messages = %v, want %v", name, got, c.want)
		}
		var invalid *flow.Invalid
		_ = errors.As(err, &invalid)
		if diff := cmp.Diff(c.values, invalid.Form.Values); diff != "" {
			t.Errorf("%s: values (-want +got):\n%s", name, diff)
		}
		equal(t, name+": steps", f.steps, nil)
		if got := f.outcomes[0].Result; got != login.Invalid {
			t.Errorf("%s: outcome = %s, want %s", name, got, login.Invalid)
		}
	}
}

// Whatever is wrong, the answer is the same and costs one hash.
func TestWrongCredentials(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*fakes, *login.Submit)
		whose  bool // Anna's identifier was entered
	}{
		"password":              {func(_ *fakes, in *login.Submit) { in.Password = password.New("wrong") }, true},
		"identifier":            {func(_ *fakes, in *login.Submit) { in.Identifier = "ben@example.org" }, false},
		"both":                  {func(_ *fakes, in *login.Submit) { in.Identifier, in.Password = "ben", password.New("wrong") }, false},
		"only white space":      {func(_ *fakes, in *login.Submit) { in.Identifier = "  " }, false},
		"control characters":    {func(_ *fakes, in *login.Submit) { in.Identifier = "an\x00na" }, false},
		"too long":              {func(_ *fakes, in *login.Submit) { in.Identifier = strings.Repeat("a", 60_000) }, false},
		"no password is stored": {func(f *fakes, _ *login.Submit) { f.anna.Credentials = f.anna.Credentials[:1] }, true},
		"an empty one is":       {func(f *fakes, _ *login.Submit) { f.anna.Credentials[1].Config = json.RawMessage(`{}`) }, true},
		"of a disabled person": {func(f *fakes, in *login.Submit) {
			f.anna.State, in.Password = identity.Inactive, password.New("wrong")
		}, true},
		"of an unverified person": {func(f *fakes, in *login.Submit) {
			f.plan.RequireVerified, f.anna.Addresses[0].Verified, in.Password = true, false, password.New("wrong")
		}, true},
	} {
		f := newFakes()
		f.plan = hook.LoginPlan{Before: steps("never"), RequireVerified: f.plan.RequireVerified}
		f.outdated = true
		in := submit(flow.Browser)
		c.change(f, &in)
		got, err := f.service().Login(t.Context(), in)
		if got != nil {
			t.Errorf("%s: Login = %+v, want nothing", name, got)
		}
		if got, want := messages(t, err), map[string][]int64{"": {4000006}}; !sameMessages(got, want) {
			t.Errorf("%s: messages = %v, want %v", name, got, want)
		}
		if n := f.hashes(); n != 1 {
			t.Errorf("%s: %d passwords were hashed, want 1: %v", name, n, f.steps)
		}
		if last := f.steps[len(f.steps)-1]; last != "append login.failed" || len(f.calls)+len(f.opened)+len(f.requests) > 0 {
			t.Errorf("%s: steps = %v, want only the event behind the hash", name, f.steps)
		}
		wantFailed(t, name, f, in, "credentials", c.whose, "client")
		if o := f.outcomes[0]; o.Result != login.WrongCredentials || o.Hash != hashTime {
			t.Errorf("%s: outcome = %+v, want %s after %v", name, o, login.WrongCredentials, hashTime)
		}
	}
}

// wantFailed holds the one event of f against what it must say.
func wantFailed(t *testing.T, name string, f *fakes, in login.Submit, reason string, whose bool, actor string) {
	t.Helper()
	want := events.Event{
		SpecVersion: "1.0", Source: "/usher/login", Type: "login.failed", DataContentType: "application/json",
		DataSchema: "urn:usher:event:login.failed:1", RequestID: "http-1", Actor: actor, TraceParent: in.Client.TraceParent,
	}
	data := events.LoginFailed{Method: "password", Reason: reason, FlowID: in.Flow.ID.String(), Network: "192.0.2.0/24"}
	if whose {
		want.Subject, data.IdentityID = f.anna.ID.String(), f.anna.ID.String()
	}
	want.Data, _ = json.Marshal(data)
	if len(f.appended) != 1 {
		t.Errorf("%s: %d events, want one", name, len(f.appended))
		return
	}
	if diff := cmp.Diff(want, f.appended[0], cmpopts.IgnoreFields(events.Event{}, "ID", "Time")); diff != "" {
		t.Errorf("%s: event (-want +got):\n%s", name, diff)
	}
	payload, err := f.appended[0].Encode()
	if err != nil {
		t.Fatal(err)
	}
	eventstest.Validate(t, payload)
}

// The answers to an unknown identifier and to a wrong password differ in
// nothing but what was entered.
func TestUnknownIdentifierLooksLikeAWrongPassword(t *testing.T) {
	t.Parallel()
	f := newFakes()
	form := func(identifier string) (string, error) {
		in := submit(flow.API)
		in.Identifier, in.Password = identifier, password.New("wrong")
		_, err := f.service().Login(t.Context(), in)
		var invalid *flow.Invalid
		if !errors.As(err, &invalid) {
			return "", err
		}
		text, _ := json.Marshal(invalid.Form)
		return strings.ReplaceAll(string(text), identifier, "x"), err
	}
	known, a := form("anna@example.org")
	unknown, b := form("ben@example.org")
	if known != unknown || a.Error() != b.Error() || known == "" {
		t.Errorf("known: %s (%v), unknown: %s (%v), want the same", known, a, unknown, b)
	}
}

func TestFormKeepsTheIdentifierWithinBounds(t *testing.T) {
	t.Parallel()
	for entered, want := range map[string]string{
		" Anna@Example.org":             " Anna@Example.org",
		strings.Repeat("a", 300):        strings.Repeat("a", 254),
		strings.Repeat("a", 253) + "éa": strings.Repeat("a", 253),
	} {
		f := newFakes()
		in := submit(flow.API)
		in.Identifier, in.Password = entered, password.New("wrong")
		_, err := f.service().Login(t.Context(), in)
		var invalid *flow.Invalid
		if !errors.As(err, &invalid) || invalid.Form.Values["identifier"] != want || len(invalid.Form.Values) != 1 {
			t.Errorf("identifier of %d bytes is kept as %v (%v), want %d bytes", len(entered), invalid, err, len(want))
		}
	}
}

// What is told only behind the right password.
func TestDeniedInSpiteOfThePassword(t *testing.T) {
	t.Parallel()
	no := func(string, *webhook.Call) error {
		return &webhook.Refusal{Messages: []webhook.Message{
			{Node: "identifier", ID: 42, Text: "not you", Type: "error", Context: json.RawMessage(`{"a":1}`)}, {ID: 43},
		}}
	}
	for name, c := range map[string]struct {
		set    func(*fakes, *login.Service)
		want   map[string][]int64
		steps  []string
		reason string
	}{
		"disabled": {
			func(f *fakes, _ *login.Service) { f.anna.State = identity.Inactive },
			map[string][]int64{"": {4010011}},
			nil,
			login.Disabled,
		},
		"in a state that this program does not know": {
			func(f *fakes, _ *login.Service) { f.anna.State = "locked" },
			map[string][]int64{"": {4010011}},
			nil,
			login.Disabled,
		},
		"refused": {
			func(f *fakes, _ *login.Service) { f.refuse = no },
			map[string][]int64{"identifier": {42}, "": {43}},
			[]string{"refuse a"},
			login.Refused,
		},
		"unverified, as it was said of old": {
			func(f *fakes, s *login.Service) { s.LegacyGate, f.anna.Addresses[0].Verified = true, false },
			map[string][]int64{"": {4000010}},
			[]string{"refuse a", "refuse b", "open"},
			login.NotVerified,
		},
	} {
		f := newFakes()
		f.plan = hook.LoginPlan{
			Before: steps("a", "b"), RequireVerified: true, Waiting: steps("never"), Background: steps("never"),
			Verification: true, RevokeOthers: true,
		}
		f.outdated = true
		s := f.service()
		c.set(f, s)
		in := submit(flow.API)
		got, err := s.Login(t.Context(), in)
		if got != nil {
			t.Errorf("%s: Login = %+v, want nothing", name, got)
		}
		if got := messages(t, err); !sameMessages(got, c.want) {
			t.Errorf("%s: messages = %v, want %v", name, got, c.want)
		}
		var refusal *webhook.Refusal
		if errors.As(err, &refusal) != (c.reason == login.Refused) {
			t.Errorf("%s: error = %v, want a hook's refusal only where one said no", name, err)
		}
		equal(t, name+": steps", f.went(t), append(c.steps, "append login.failed"))
		wantFailed(t, name, f, in, c.reason, true, "person:"+f.anna.ID.String())
		if o := f.outcomes[0]; o.Result != c.reason {
			t.Errorf("%s: outcome = %s, want %s", name, o.Result, c.reason)
		}
	}
}

func TestRefusingHookKeepsTheForm(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.plan.Before = steps("a")
	f.refuse = func(string, *webhook.Call) error {
		return &webhook.Refusal{Messages: []webhook.Message{{Node: "identifier", ID: 42, Text: "not you", Type: "error", Context: json.RawMessage(`{"a":1}`)}}}
	}
	_, err := f.service().Login(t.Context(), submit(flow.API))
	var invalid *flow.Invalid
	if !errors.As(err, &invalid) {
		t.Fatalf("Login = %v, want a form", err)
	}
	want := flow.Form{
		Values:   map[string]any{"identifier": " Anna@Example.org"},
		Messages: map[string][]flow.Message{"identifier": {{ID: 42, Text: "not you", Type: "error", Context: json.RawMessage(`{"a":1}`)}}},
	}
	if diff := cmp.Diff(want, invalid.Form); diff != "" {
		t.Errorf("form (-want +got):\n%s", diff)
	}
}

// A worker is asked among the refusing hooks, and says no as they do.
func TestWorkerIsAskedAmongTheRefusingHooks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err    error
		result string
		steps  []string
	}{
		"yes": {nil, login.OK, []string{"ask a", "refuse b", "ask c", "session"}},
		"no": {
			&webhook.Refusal{Messages: []webhook.Message{{Node: "identifier", ID: 42}}},
			login.Refused,
			[]string{"ask a", "refuse b", "ask c", "append login.failed"},
		},
		"broken": {
			&webhook.Failed{Endpoint: "c", Kind: "worker", Err: errors.New("no answer")},
			login.HookFailed,
			[]string{"ask a", "refuse b", "ask c"},
		},
	} {
		f := newFakes()
		f.plan = hook.LoginPlan{Before: []hook.Step{asking("a", hook.Continue), steps("b")[0], asking("c", hook.Refuse)}}
		f.refuse = func(endpoint string, call *webhook.Call) error {
			if call.Identity.Credentials != nil {
				t.Errorf("%s: %s is told the credentials", name, endpoint)
			}
			call.Identity.Traits = nil
			if endpoint == "c" {
				return c.err
			}
			return nil
		}
		if _, err := f.service().Login(t.Context(), submit(flow.API)); !errors.Is(err, c.err) {
			t.Errorf("%s: Login = %v, want %v", name, err, c.err)
		}
		equal(t, name+": steps", f.went(t), c.steps)
		equal(t, name+": asked", f.asked, []webhook.Worker{
			{Name: "a", Timeout: 3 * time.Second, Optional: true}, {Name: "c", Timeout: 3 * time.Second},
		})
		if o := f.outcomes[0]; o.Result != c.result {
			t.Errorf("%s: outcome = %s, want %s", name, o.Result, c.result)
		}
		if f.anna.Traits == nil {
			t.Errorf("%s: a worker changed the stored identity", name)
		}
	}
}

// A hook's answer is not the store: nothing that it says of the person opens the gate.
func TestNoHookOpensTheGate(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.anna.Addresses[0].Verified = false
	f.plan = hook.LoginPlan{Before: steps("a", "b"), RequireVerified: true}
	f.refuse = func(_ string, c *webhook.Call) error {
		if c.Identity.Addresses[0].Verified {
			t.Error("a hook sees what the one before it changed")
		}
		c.Identity.Addresses[0].Verified, c.Identity.State, c.Identity.Epoch = true, identity.Inactive, 9
		return nil
	}
	_, err := f.service().Login(t.Context(), submit(flow.API))
	var unverified *login.Unverified
	if !errors.As(err, &unverified) {
		t.Errorf("Login = %v, want the gate shut", err)
	}
}

func TestGate(t *testing.T) {
	t.Parallel()
	address := func(value string, verifiable, verified bool) identity.Address {
		return identity.Address{Value: value, Verifiable: verifiable, Verified: verified}
	}
	for name, c := range map[string]struct {
		addresses []identity.Address
		opened    string // the address whose verification is opened; empty if she is let through
		none      bool   // nothing could be verified
	}{
		"verified":                  {addresses: []identity.Address{address("a", true, true)}},
		"any is verified":           {addresses: []identity.Address{address("a", true, false), address("b", true, true)}},
		"none is verified":          {addresses: []identity.Address{address("a", true, false), address("b", true, false)}, opened: "a"},
		"the first verifiable":      {addresses: []identity.Address{address("a", false, false), address("b", true, false)}, opened: "b"},
		"verified, but not by code": {addresses: []identity.Address{address("a", false, true), address("b", true, false)}, opened: "b"},
		"a code was only sent": {
			addresses: []identity.Address{{Value: "a", Verifiable: true, Status: identity.AddressSent}}, opened: "a",
		},
		"once verified, as the status says": {
			addresses: []identity.Address{{Value: "a", Verifiable: true, Status: identity.AddressCompleted}}, opened: "a",
		},
		"nothing to verify": {addresses: []identity.Address{address("a", false, true)}, none: true},
		"no address":        {none: true},
	} {
		f := newFakes()
		f.anna.Addresses = c.addresses
		f.plan.RequireVerified = true
		in := submit(flow.Browser)
		got, err := f.service().Login(t.Context(), in)
		var unverified *login.Unverified
		switch {
		case c.none:
			if !errors.Is(err, login.ErrNoAddress) || len(f.opened)+len(f.appended)+len(f.requests) > 0 || f.outcomes[0].Result != login.Broken {
				t.Errorf("%s: Login = %+v, %v after %v, want ErrNoAddress", name, got, err, f.steps)
			}
		case c.opened != "":
			if got != nil || !errors.As(err, &unverified) || unverified.Address != c.opened || len(f.opened) != 1 || f.opened[0].Value != c.opened {
				t.Errorf("%s: Login = %+v, %v, want it to wait for %s", name, got, err, c.opened)
				continue
			}
			if v := unverified.Flow; v.Kind != flow.Verification || v.Type != flow.Browser {
				t.Errorf("%s: flow = %+v, want a verification of the login's type", name, v)
			}
			wantFailed(t, name, f, in, "unverified", true, "person:"+f.anna.ID.String())
			if len(f.requests) > 0 {
				t.Errorf("%s: a session was asked for", name)
			}
		case err != nil || len(f.opened) > 0 || got.Session == nil:
			t.Errorf("%s: Login = %+v, %v, want a session and no verification", name, got, err)
		case !f.requests[0].Verified:
			t.Errorf("%s: the session is asked for without the gate: what was verified may not be any more", name)
		}
	}
}
