package registration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

func TestRefusingHookSaysNo(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.plan.Before = steps("a", "b", "c")
	f.refuse = func(endpoint string, _ *webhook.Call) error {
		if endpoint != "b" {
			return nil
		}
		return &webhook.Refusal{Messages: []webhook.Message{
			{Node: "traits.email", ID: 42, Text: "not here", Type: "error", Context: json.RawMessage(`{"a":1}`)},
			{Node: "traits.email", ID: 43},
			{Node: "", ID: 44},
		}}
	}
	_, err := f.service().Register(t.Context(), submit(flow.API))
	if got, want := messages(t, err), map[string][]int64{"traits.email": {42, 43}, "": {44}}; !sameMessages(got, want) {
		t.Errorf("messages = %v, want %v", got, want)
	}
	var invalid *flow.Invalid
	_ = errors.As(err, &invalid)
	want := flow.Message{ID: 42, Text: "not here", Type: "error", Context: json.RawMessage(`{"a":1}`)}
	if diff := cmp.Diff(want, invalid.Form.Messages["traits.email"][0]); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	if invalid.Form.Values["traits.username"] != "anna" {
		t.Errorf("the form lost what was entered: %v", invalid.Form.Values)
	}
	equal(t, "steps", f.steps, []string{"policy", "refuse a", "refuse b"})
	if got := f.outcomes[0].Result; got != registration.Refused {
		t.Errorf("outcome = %s, want %s", got, registration.Refused)
	}
}

func TestRefusingHookFails(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.plan.Before = steps("a", "b")
	f.refuse = func(string, *webhook.Call) error {
		return &webhook.Failed{Endpoint: "a", Status: 500, Err: errors.New("no answer")}
	}
	_, err := f.service().Register(t.Context(), submit(flow.API))
	var failed *webhook.Failed
	if !errors.As(err, &failed) {
		t.Errorf("Register = %v, want the hook's failure", err)
	}
	equal(t, "steps", f.steps, []string{"policy", "refuse a"})
	if got := f.outcomes[0].Result; got != registration.HookFailed {
		t.Errorf("outcome = %s, want %s", got, registration.HookFailed)
	}
}

// What a worker does is what a refusing endpoint does, and it is told how long
// it has.
func TestWorkerIsAskedAmongTheRefusingHooks(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.plan.Before = []hook.Step{asking("a", hook.Refuse), steps("b")[0], asking("c", hook.Continue)}
	f.refuse = func(endpoint string, c *webhook.Call) error {
		switch endpoint {
		case "a":
			c.Identity.Traits = json.RawMessage(`{"username":"ben","name":{}}`)
		default:
			if got := string(c.Identity.Traits); got != `{"username":"ben","name":{}}` {
				t.Errorf("%s sees %s", endpoint, got)
			}
		}
		return nil
	}
	if _, err := f.service().Register(t.Context(), submit(flow.API)); err != nil {
		t.Fatalf("Register: %v", err)
	}
	equal(t, "steps", f.steps, []string{"policy", "ask a", "refuse b", "ask c", "hash", "commit", "session"})
	equal(t, "asked", f.asked, []webhook.Worker{
		{Name: "a", Timeout: 3 * time.Second}, {Name: "c", Timeout: 3 * time.Second, Optional: true},
	})
	equal(t, "identifiers", f.records[0].Identity.Credentials[0].Identifiers, []string{"ben"})
	if c := f.calls[0]; c.EventID != "" || c.Request.Cookies["c"] != "cookie-secret" || string(c.Flow.TransientPayload) != `{"campaign":"spring"}` {
		t.Errorf("call = %+v, want what an endpoint is told", c)
	}
}

func TestWorkerSaysNoOrFails(t *testing.T) {
	t.Parallel()
	for result, err := range map[string]error{
		registration.Refused:    &webhook.Refusal{Messages: []webhook.Message{{Node: "traits.email", ID: 42}}},
		registration.HookFailed: &webhook.Failed{Endpoint: "a", Kind: "worker", Err: errors.New("no answer")},
	} {
		f := newFakes(t)
		f.plan.Before = []hook.Step{asking("a", hook.Refuse), asking("b", hook.Refuse)}
		f.refuse = func(string, *webhook.Call) error { return err }
		if _, got := f.service().Register(t.Context(), submit(flow.API)); !errors.Is(got, err) {
			t.Errorf("%s: Register = %v, want %v", result, got, err)
		}
		equal(t, result+": steps", f.steps, []string{"policy", "ask a"})
		if got := f.outcomes[0].Result; got != result {
			t.Errorf("outcome = %s, want %s", got, result)
		}
	}
}

func TestRefusingHookChangesTheIdentity(t *testing.T) {
	t.Parallel()
	verified := start.Add(-time.Hour)
	for name, c := range map[string]struct {
		change      map[string]func(*identity.Identity) // by endpoint
		want        map[string][]int64                  // messages, none if it is registered
		identifiers []string
		verified    bool
		schema      string
		internal    bool
	}{
		"not at all": {identifiers: []string{"anna@example.org", "anna"}},
		"its state and metadata": {
			change: map[string]func(*identity.Identity){"a": func(i *identity.Identity) {
				i.State, i.MetadataPublic = identity.Inactive, json.RawMessage(`{"vip":true}`)
			}},
			identifiers: []string{"anna@example.org", "anna"},
		},
		"its address": {
			change: map[string]func(*identity.Identity){"a": func(i *identity.Identity) {
				i.Traits = json.RawMessage(`{"email":"Ben@example.org","name":{}}`)
			}},
			identifiers: []string{"ben@example.org"},
		},
		"its address, which is verified": {
			change: map[string]func(*identity.Identity){"a": func(i *identity.Identity) {
				i.Traits = json.RawMessage(`{"email":"ben@example.org","name":{}}`)
				i.Addresses = append(i.Addresses, identity.Address{
					Via: "email", Value: "ben@example.org", Verified: true, VerifiedAt: verified, Status: identity.AddressCompleted,
				})
			}},
			identifiers: []string{"ben@example.org"}, verified: true,
		},
		"there and back": {
			change: map[string]func(*identity.Identity){
				"a": func(i *identity.Identity) {
					i.Traits = json.RawMessage(`{"email":"ben@example.org","name":{}}`)
					i.Addresses = append(i.Addresses, identity.Address{Via: "email", Value: "ben@example.org"})
				},
				"b": func(i *identity.Identity) { i.Traits = json.RawMessage(goodTraits) },
			},
			identifiers: []string{"anna@example.org", "anna"},
		},
		"what breaks the schema": {
			change: map[string]func(*identity.Identity){"a": func(i *identity.Identity) { i.Traits = json.RawMessage(`{"email":"no","name":{}}`) }},
			want:   map[string][]int64{"traits.email": {4000040}},
		},
		"what leaves no identifier": {
			change: map[string]func(*identity.Identity){"a": func(i *identity.Identity) { i.Traits = json.RawMessage(`{"name":{}}`) }},
			want:   map[string][]int64{"": {4000009}},
		},
		"what another hook mends": {
			change: map[string]func(*identity.Identity){
				"a": func(i *identity.Identity) { i.Traits = json.RawMessage(`{"name":{}}`) },
				"b": func(i *identity.Identity) { i.Traits = json.RawMessage(`{"username":"carl","name":{}}`) },
			},
			identifiers: []string{"carl"},
		},
		"its schema": {
			change:      map[string]func(*identity.Identity){"a": func(i *identity.Identity) { i.SchemaID = "other" }},
			identifiers: []string{"anna@example.org", "anna"}, schema: "other",
		},
		"its schema to none": {
			change:   map[string]func(*identity.Identity){"a": func(i *identity.Identity) { i.SchemaID = "none" }},
			internal: true,
		},
	} {
		f := newFakes(t)
		f.plan.Before = steps("a", "b")
		f.refuse = func(endpoint string, call *webhook.Call) error {
			if change := c.change[endpoint]; change != nil {
				change(call.Identity)
			}
			return nil
		}
		_, err := f.service().Register(t.Context(), submit(flow.API))
		switch {
		case c.internal:
			if err == nil || len(f.records) > 0 {
				t.Errorf("%s: Register = %v, want an error and nothing stored", name, err)
			}
			continue
		case c.want != nil:
			if got := messages(t, err); !sameMessages(got, c.want) || len(f.records) > 0 {
				t.Errorf("%s: messages = %v, want %v and nothing stored", name, got, c.want)
			}
			continue
		case err != nil:
			t.Errorf("%s: Register: %v", name, err)
			continue
		}
		i := f.records[0].Identity
		equal(t, name+": identifiers", i.Credentials[0].Identifiers, c.identifiers)
		if c.schema != "" && i.SchemaID != c.schema {
			t.Errorf("%s: schema = %s, want %s", name, i.SchemaID, c.schema)
		}
		for _, a := range i.Addresses {
			if a.Value != c.identifiers[0] || a.ID.Version() != 4 || a.Verified != c.verified || a.VerifiedAt.Equal(verified) != c.verified {
				t.Errorf("%s: address = %+v, want %s, verified: %t", name, a, c.identifiers[0], c.verified)
			}
		}
	}
}

func TestRefusingHookSeesWhatTheOneBeforeItChanged(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.plan.Before = steps("a", "b")
	f.refuse = func(endpoint string, c *webhook.Call) error {
		if endpoint == "a" {
			c.Identity.Traits = json.RawMessage(`{"username":"ben","name":{}}`)
		} else if got := string(c.Identity.Traits); got != `{"username":"ben","name":{}}` {
			t.Errorf("b sees %s", got)
		}
		return nil
	}
	if _, err := f.service().Register(t.Context(), submit(flow.API)); err != nil {
		t.Fatalf("Register: %v", err)
	}
	for n, c := range f.calls {
		if c.EventID != "" || c.Request.Cookies["c"] != "cookie-secret" || string(c.Flow.TransientPayload) != `{"campaign":"spring"}` {
			t.Errorf("call %d = %+v, want no event yet, the cookies and the transient payload", n, c)
		}
	}
}

func TestWaitingHookFailsAfterTheCommit(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.plan.Waiting = steps("a", "b")
	broken := &webhook.Failed{Endpoint: "a", Status: 500, Err: errors.New("no answer")}
	f.notify = func(string, *webhook.Call) error { return broken }
	in := submit(flow.API)
	s := f.service()
	got, err := s.Register(t.Context(), in)
	if got != nil || !errors.Is(err, broken) {
		t.Errorf("Register = %+v, %v, want the hook's failure", got, err)
	}
	equal(t, "steps", f.steps, []string{"policy", "hash", "commit", "notify a"})
	if len(f.records) != 1 {
		t.Errorf("%d people are stored, want the one: the account exists", len(f.records))
	}
	if o := f.outcomes[0]; o.Result != registration.HookFailed {
		t.Errorf("outcome = %s, want %s", o.Result, registration.HookFailed)
	}

	// Whoever submits again gets the session once the hook is mended; the hook
	// knows by the event's id that it is the same registration.
	f.notify = nil
	again, err := s.Repeat(t.Context(), in)
	if err != nil || again.Session == nil {
		t.Fatalf("Repeat = %+v, %v, want the session", again, err)
	}
	for _, c := range f.calls {
		if c.EventID != f.records[0].Event.ID {
			t.Errorf("a hook is called with event %q, want %s each time", c.EventID, f.records[0].Event.ID)
		}
	}
}

func TestEndOfTheRequestDoesNotTakeTheCommitBack(t *testing.T) {
	t.Parallel()
	for name, issue := range map[string]func(context.Context, session.Request) (*session.Session, error){
		"with a session": nil,
		"without": func(context.Context, session.Request) (*session.Session, error) {
			return nil, session.ErrUnavailable
		},
	} {
		f := newFakes(t)
		f.plan.Waiting = steps("a")
		f.issue = issue
		ctx, cancel := context.WithCancel(t.Context())
		s := f.service()
		s.Store = cancelling{f, cancel}
		got, err := s.Register(ctx, submit(flow.API))
		if err != nil || got.Identity == nil || (got.Session == nil) != (issue != nil) {
			t.Errorf("%s: Register = %+v, %v, want the result as if nobody had gone", name, got, err)
		}
		if got != nil && issue != nil && !errors.Is(got.Missing, session.ErrUnavailable) {
			t.Errorf("%s: missing = %v, want ErrUnavailable only", name, got.Missing)
		}
	}
}

// cancelling ends the request as soon as the commit is done.
type cancelling struct {
	*fakes
	cancel context.CancelFunc
}

func (c cancelling) Register(ctx context.Context, r registration.Record) error {
	err := c.fakes.Register(ctx, r)
	c.cancel()
	return err
}

func TestWithoutSessionWorker(t *testing.T) {
	t.Parallel()
	for reason, why := range map[string]error{
		"unavailable":       fmt.Errorf("%w: no responders", session.ErrUnavailable),
		"late":              session.ErrLate,
		"grant_used":        session.ErrGrantUsed,
		"identity_gone":     session.ErrIdentityGone,
		"identity_inactive": session.ErrIdentityInactive,
		"invalid":           session.ErrInvalid,
		"error":             errors.New("bug"),
	} {
		f := newFakes(t)
		f.issue = func(context.Context, session.Request) (*session.Session, error) { return nil, why }
		s := f.service()
		got, err := s.Register(t.Context(), submit(flow.API))
		if err != nil {
			t.Fatalf("%s: Register: %v", reason, err)
		}
		if got.Session != nil || got.Token != (session.Token{}) || !errors.Is(got.Missing, why) {
			t.Errorf("%s: result has session %v, token %q, missing %v; want neither, and why", reason, got.Session, got.Token.Reveal(), got.Missing)
		}
		if got.MissingReason() != reason {
			t.Errorf("MissingReason() = %q, want %q", got.MissingReason(), reason)
		}
		e := f.appended[0]
		want := fmt.Sprintf(`{"identity_id":%q,"flow_id":%q,"reason":%q}`, got.Identity.ID, f.records[0].Grant.FlowID, reason)
		if e.Type != "session.refused" || string(e.Data) != want || e.RequestID != "http-1" || e.Subject != got.Identity.ID.String() {
			t.Errorf("%s: event = %s %s, want session.refused %s", reason, e.Type, e.Data, want)
		}
		payload, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		eventstest.Validate(t, payload)
		if o := f.outcomes[0]; o.Result != registration.NoSession || o.Hop != hopTime {
			t.Errorf("%s: outcome = %+v, want %s after %v", reason, o, registration.NoSession, hopTime)
		}

		s.FailWithoutSession = true
		failing := submit(flow.API)
		failing.Traits = json.RawMessage(`{"username":"ben","name":{}}`)
		got, err = s.Register(t.Context(), failing)
		if got != nil || !errors.Is(err, registration.ErrNoSession) || !errors.Is(err, why) {
			t.Errorf("%s: Register = %+v, %v, want ErrNoSession and why", reason, got, err)
		}
		if len(f.records) != 2 {
			t.Errorf("%s: %d people are stored, want both", reason, len(f.records))
		}
		if o := f.outcomes[1]; o.Result != registration.NoSession {
			t.Errorf("%s: outcome = %s, want %s", reason, o.Result, registration.NoSession)
		}
	}
}

func TestRefusedSessionThatCannotBeToldIsNoFailure(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	down := errors.New("database is down")
	f.issue = func(context.Context, session.Request) (*session.Session, error) { return nil, session.ErrUnavailable }
	f.append = func() error { return down }
	got, err := f.service().Register(t.Context(), submit(flow.API))
	if err != nil || !errors.Is(got.Missing, session.ErrUnavailable) || !errors.Is(got.Missing, down) {
		t.Errorf("Register = %+v, %v, want a result that misses the session for both reasons", got, err)
	}
}

func TestFrozenSessionWorkerCostsItsTimeAndNoMore(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.issue = func(ctx context.Context, _ session.Request) (*session.Session, error) {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Fatal("the worker may take for ever")
		}
		<-ctx.Done()
		return nil, fmt.Errorf("%w: %w", session.ErrUnavailable, ctx.Err())
	}
	s := f.service()
	s.IssueTimeout = 10 * time.Millisecond
	got, err := s.Register(t.Context(), submit(flow.API))
	if err != nil || !errors.Is(got.Missing, session.ErrUnavailable) {
		t.Errorf("Register = %+v, %v, want a result without session", got, err)
	}
}

func TestSessionOffIssuesNone(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.plan = hook.Plan{}
	got, err := f.service().Register(t.Context(), submit(flow.Browser))
	if err != nil {
		t.Fatalf("Register: %v", err)
	}
	if got.Session != nil || got.Token != (session.Token{}) || got.Missing != nil || len(f.requests) > 0 {
		t.Errorf("result = %+v after %v, want no session and nothing missing", got, f.steps)
	}
}
