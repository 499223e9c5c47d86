package registration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

func TestStepsComeInOrder(t *testing.T) {
	t.Parallel()
	on := hook.Session{On: true}
	for name, c := range map[string]struct {
		plan hook.Plan
		want []string
	}{
		"nothing configured": {hook.Plan{}, []string{"policy", "hash", "commit"}},
		"session":            {hook.Plan{Session: on}, []string{"policy", "hash", "commit", "session"}},
		"background hooks":   {hook.Plan{Session: on, Background: steps("a")}, []string{"policy", "hash", "commit", "session"}},
		"all kinds": {
			hook.Plan{Session: on, Before: steps("a", "b"), Waiting: steps("c", "d", "c"), Background: steps("e")},
			[]string{"policy", "refuse a", "refuse b", "hash", "commit", "notify c", "notify d", "notify c", "session"},
		},
	} {
		for _, kind := range []flow.Type{flow.API, flow.Browser} {
			f := newFakes(t)
			f.plan = c.plan
			if _, err := f.service().Register(t.Context(), submit(kind)); err != nil {
				t.Errorf("%s: Register: %v", name, err)
			}
			equal(t, name+": steps", f.steps, c.want)
		}
	}
}

func TestResultCarriesTheSession(t *testing.T) {
	t.Parallel()
	for kind, prefix := range map[flow.Type]string{flow.API: session.NativePrefix, flow.Browser: session.BrowserPrefix} {
		f := newFakes(t)
		in := submit(kind)
		got, err := f.service().Register(t.Context(), in)
		if err != nil {
			t.Fatalf("Register: %v", err)
		}
		if got.Session == nil || got.Session.IdentityID != got.Identity.ID || got.Missing != nil {
			t.Errorf("session = %+v, missing %v, want one of identity %s", got.Session, got.Missing, got.Identity.ID)
		}
		if !strings.HasPrefix(got.Token.Reveal(), prefix) {
			t.Errorf("token of a flow of type %s begins with %.7s, want %s", kind, got.Token.Reveal(), prefix)
		}
		if got.ReturnTo != in.Flow.ReturnTo || got.FlowType != kind {
			t.Errorf("result is for %q of type %s, want the flow's", got.ReturnTo, got.FlowType)
		}
		r := f.requests[0]
		want := session.Request{
			ID: r.ID, Deadline: r.RequestedAt.Add(time.Minute), RequestedAt: start.Add(hashTime + commitTime),
			GrantID: f.records[0].Grant.ID, FlowID: in.Flow.ID, IdentityID: got.Identity.ID,
			Method: "password", AAL: "aal1", Digest: got.Token.Digest(), Lifespan: 24 * time.Hour,
			ClientAddr: in.Client.Addr, UserAgent: "test/1", TraceParent: in.Client.TraceParent, HTTPRequest: "http-1",
		}
		if diff := cmp.Diff(want, r); diff != "" || r.ID == "" {
			t.Errorf("the worker was asked for something else (-want +got):\n%s", diff)
		}
	}
}

func TestRecordIsOneCommit(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.plan = hook.Plan{Session: hook.Session{On: true}, Before: steps("check"), Background: steps("crm", "mail")}
	in := submit(flow.Browser)
	if _, err := f.service().Register(t.Context(), in); err != nil {
		t.Fatalf("Register: %v", err)
	}
	r := f.records[0]
	at := start.Add(hookTime + hashTime) // the account is as old as its commit

	i := r.Identity
	if i.ID.Version() != 4 || i.SchemaID != "person" || i.State != identity.Active || string(i.Traits) != goodTraits {
		t.Errorf("identity = %+v, want the submitted one, active", i)
	}
	if !i.CreatedAt.Equal(at) || !i.UpdatedAt.Equal(at) || !i.StateChangedAt.Equal(at) {
		t.Errorf("identity is of %v, %v and %v, want %v", i.CreatedAt, i.UpdatedAt, i.StateChangedAt, at)
	}
	credential := identity.Credential{
		Type: "password", Identifiers: []string{"anna@example.org", "anna"}, CreatedAt: at, UpdatedAt: at,
		Config: fmt.Appendf(nil, `{"hashed_password":%q}`, phc(in.Password)),
	}
	if diff := cmp.Diff([]identity.Credential{credential}, i.Credentials); diff != "" {
		t.Errorf("credentials (-want +got):\n%s", diff)
	}
	address := identity.Address{
		Via: "email", Value: "anna@example.org", Verifiable: true, Identifier: true,
		Status: identity.AddressPending, CreatedAt: at, UpdatedAt: at,
	}
	address.ID = i.Addresses[0].ID
	if diff := cmp.Diff([]identity.Address{address}, i.Addresses); diff != "" || address.ID == uuid.Nil {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}

	grant := registration.Grant{
		ID: r.Grant.ID, FlowID: in.Flow.ID, IdentityID: i.ID, EventID: uuid.MustParse(r.Event.ID), FlowType: flow.Browser,
		ReturnTo: in.Flow.ReturnTo, Method: "password", CreatedAt: at,
		Steps: registration.Steps{ReceivedAt: start, CheckedAt: start.Add(hookTime), HashedAt: at},
	}
	if diff := cmp.Diff(grant, r.Grant); diff != "" || grant.ID == uuid.Nil {
		t.Errorf("grant (-want +got):\n%s", diff)
	}

	for n, endpoint := range []string{"crm", "mail"} {
		want := webhook.Due{EventID: grant.EventID, Endpoint: endpoint, Input: webhook.Input{
			Flow: webhook.Flow{
				ID: in.Flow.ID.String(), Type: "browser", RequestURL: in.Flow.RequestURL, ReturnTo: in.Flow.ReturnTo,
				IssuedAt: in.Flow.IssuedAt, ExpiresAt: in.Flow.ExpiresAt, TransientPayload: in.TransientPayload,
			},
			Request:   webhook.Request{Method: "POST", URL: "https://id.example.org/"}, // no cookies: they would be stored
			RequestID: "http-1", TraceParent: in.Client.TraceParent,
		}}
		if diff := cmp.Diff(want, r.Inputs[n]); diff != "" {
			t.Errorf("input of %s (-want +got):\n%s", endpoint, diff)
		}
	}
	if len(r.Inputs) != 2 {
		t.Errorf("%d hook inputs are stored, want one for each background hook", len(r.Inputs))
	}
}

func TestEventOfTheCommit(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	in := submit(flow.API)
	if _, err := f.service().Register(t.Context(), in); err != nil {
		t.Fatalf("Register: %v", err)
	}
	e, i := f.records[0].Event, f.records[0].Identity
	data := fmt.Sprintf(`{"identity_id":%q,"schema_id":"person","state":"active","method":"password","flow_id":%q,`+
		`"flow_type":"api","session_planned":true,"network":"192.0.2.0/24"}`, i.ID, in.Flow.ID)
	want := events.Event{
		ID: e.ID, SpecVersion: "1.0", Source: "/usher/registration", Type: "identity.created", Subject: i.ID.String(),
		Time: i.CreatedAt, Sequence: "1", DataContentType: "application/json", DataSchema: "urn:usher:event:identity.created:1",
		RequestID: "http-1", Actor: "person:" + i.ID.String(), TraceParent: in.Client.TraceParent, Data: json.RawMessage(data),
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	payload, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	eventstest.Validate(t, payload)
	for _, personal := range []string{"anna", "Anna", "192.0.2.77", "spring"} {
		if strings.Contains(string(payload), personal) {
			t.Errorf("the event holds personal data, %q: %s", personal, payload)
		}
	}
}

func TestInputIsJudgedInTheContractsOrder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change   func(*registration.Submit)
		policy   *password.Violation
		want     map[string][]int64
		steps    []string
		internal bool
	}{
		"no password": {
			change: func(in *registration.Submit) { in.Password = password.Plain{} },
			want:   map[string][]int64{"password": {4000002}},
		},
		"an empty password and broken traits, all at once": {
			change: func(in *registration.Submit) {
				in.Password, in.Traits = password.New(""), json.RawMessage(`{"email":"no","name":{"first":"longer than ten"}}`)
			},
			want: map[string][]int64{"password": {4000002}, "traits.email": {4000040}, "traits.name.first": {4000017}},
		},
		"broken traits hide the policy": {
			change: func(in *registration.Submit) { in.Traits = json.RawMessage(`{"email":"a@b.c"}`) },
			policy: &password.Violation{Rule: "listed"},
			want:   map[string][]int64{"traits.name": {4000002}},
		},
		"no identifier": {
			change: func(in *registration.Submit) { in.Traits = json.RawMessage(`{"name":{}}`) },
			policy: &password.Violation{Rule: "listed"},
			want:   map[string][]int64{"": {4000009}},
		},
		"a password against the policy": {
			change: func(*registration.Submit) {},
			policy: &password.Violation{Rule: "min_length", Context: map[string]any{"min_length": 8, "actual_length": 3}},
			want:   map[string][]int64{"password": {4000032}},
			steps:  []string{"policy"},
		},
		"a schema that is gone": {
			change:   func(in *registration.Submit) { in.Flow.SchemaID = "gone" },
			internal: true,
		},
	} {
		f := newFakes(t)
		f.plan.Before = steps("never")
		f.policy = func(password.Plain, []string) *password.Violation { return c.policy }
		in := submit(flow.API)
		c.change(&in)
		got, err := f.service().Register(t.Context(), in)
		if got != nil || err == nil {
			t.Errorf("%s: Register = %+v, %v, want an error", name, got, err)
			continue
		}
		equal(t, name+": steps", f.steps, c.steps)
		if c.internal {
			if result := f.outcomes[0].Result; result != registration.Broken {
				t.Errorf("%s: outcome = %s, want %s", name, result, registration.Broken)
			}
			continue
		}
		if got := messages(t, err); !sameMessages(got, c.want) {
			t.Errorf("%s: messages = %v, want %v", name, got, c.want)
		}
		if result := f.outcomes[0].Result; result != registration.Invalid {
			t.Errorf("%s: outcome = %s, want %s", name, result, registration.Invalid)
		}
	}
}

func TestRefusedFormKeepsWhatWasEnteredButThePassword(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.policy = func(password.Plain, []string) *password.Violation { return &password.Violation{Rule: "similar"} }
	_, err := f.service().Register(t.Context(), submit(flow.API))
	var invalid *flow.Invalid
	if !errors.As(err, &invalid) {
		t.Fatalf("Register = %v, want input that can be mended", err)
	}
	want := map[string]any{"traits.email": "Anna@Example.org", "traits.username": "anna", "traits.name.first": "Anna"}
	if diff := cmp.Diff(want, invalid.Form.Values); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestTakenIdentifier(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	s := f.service()
	if _, err := s.Register(t.Context(), submit(flow.API)); err != nil {
		t.Fatalf("Register: %v", err)
	}
	again := submit(flow.API)
	again.Traits = json.RawMessage(`{"email":"ANNA@example.ORG","name":{}}`)
	_, err := s.Register(t.Context(), again)
	if got, want := messages(t, err), map[string][]int64{"": {4000007}}; !sameMessages(got, want) {
		t.Errorf("messages = %v, want %v", got, want)
	}
	// It is found after hashing, so that it takes as long as a success.
	equal(t, "steps", f.steps[4:], []string{"policy", "hash", "commit"})
}

func TestFailuresBeforeTheCommitStoreNothing(t *testing.T) {
	t.Parallel()
	broken := errors.New("database is down")
	for name, c := range map[string]struct {
		set    func(*fakes)
		want   error
		result string
	}{
		"hash queue full": {func(f *fakes) { f.hash = func() error { return password.ErrBusy } }, password.ErrBusy, registration.Busy},
		"database down":   {func(f *fakes) { f.register = func() error { return broken } }, broken, registration.Broken},
	} {
		f := newFakes(t)
		f.plan.Waiting = steps("never")
		c.set(f)
		got, err := f.service().Register(t.Context(), submit(flow.API))
		if got != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: Register = %+v, %v, want %v", name, got, err, c.want)
		}
		if len(f.requests) > 0 || len(f.calls) > 0 || len(f.appended) > 0 {
			t.Errorf("%s: steps behind the commit ran: %v", name, f.steps)
		}
		if o := f.outcomes[0]; o.Result != c.result {
			t.Errorf("%s: outcome = %s, want %s", name, o.Result, c.result)
		}
	}
}

func TestOutcomeTellsWhatTheStepsTook(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.plan = hook.Plan{Session: hook.Session{On: true}, Before: steps("a"), Waiting: steps("b", "c")}
	if _, err := f.service().Register(t.Context(), submit(flow.API)); err != nil {
		t.Fatalf("Register: %v", err)
	}
	want := []registration.Outcome{{
		Method: "password", Result: registration.OK,
		Check: hookTime, Hash: hashTime, Commit: commitTime, Wait: 2 * hookTime, Hop: hopTime,
	}}
	if diff := cmp.Diff(want, f.outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

// TestSecretsReachOnlyWhomTheyAreFor looks for the password, its hash and the
// token in all that leaves the use case.
func TestSecretsReachOnlyWhomTheyAreFor(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.plan = hook.Plan{Session: hook.Session{On: true}, Before: steps("a"), Waiting: steps("b"), Background: steps("c")}
	in := submit(flow.API)
	got, err := f.service().Register(t.Context(), in)
	if err != nil {
		t.Fatalf("Register: %v", err)
	}
	secrets := []string{goodPassword, phc(in.Password), got.Token.Reveal()}
	for what, value := range map[string]any{
		"result":           got,
		"hook calls":       f.calls,
		"hook inputs":      f.records[0].Inputs,
		"event":            string(f.records[0].Event.Data),
		"session requests": f.requests,
		"submit":           in,
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
	for _, c := range f.calls[1:] {
		if c.Identity.Credentials != nil {
			t.Errorf("a hook behind the commit gets credentials: %+v", c.Identity.Credentials)
		}
	}
	if got.Identity.Credentials != nil {
		t.Errorf("the result holds credentials: %+v", got.Identity.Credentials)
	}
	if len(f.records[0].Identity.Credentials[0].Config) == 0 {
		t.Errorf("the credential was not stored")
	}
}

func TestConcurrentSubmitsOfOneFlowMakeOnePerson(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	s := f.service()
	s.Observe = nil
	in := submit(flow.API)
	const submits = 50
	results, errs := make(chan *registration.Result, submits), make(chan error, submits)
	for range submits {
		go func() {
			r, err := s.Register(context.Background(), in)
			results <- r
			errs <- err
		}()
	}
	tokens := map[string]bool{}
	for range submits {
		if err := <-errs; err != nil {
			t.Fatalf("Register: %v", err)
		}
		r := <-results
		if r.Identity.ID != f.records[0].Identity.ID {
			t.Errorf("identity = %s, want %s for all", r.Identity.ID, f.records[0].Identity.ID)
		}
		tokens[r.Token.Reveal()] = true
	}
	if len(f.records) != 1 || len(tokens) != submits {
		t.Errorf("%d submits made %d people and %d tokens, want one and a token each", submits, len(f.records), len(tokens))
	}
}
