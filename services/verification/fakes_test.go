package verification_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/verification"
	"github.com/usher-auth/usher/services/webhook"
)

const goodCode = "907351"

var start = time.Date(2026, 11, 24, 12, 0, 0, 123456000, time.UTC)

// fakes are all that a [verification.Service] needs. They record the steps in
// their order; a function that is set takes the place of what they do by
// themselves.
type fakes struct {
	steps []string
	plan  hook.AfterPlan
	anna  *identity.Identity
	first bool // no address of hers was verified before
	used  bool // the code
	tries int

	created, saved []flow.Flow
	changed        flow.Flow // as another request has left it
	appended       []events.Event
	proofs, looks  []verification.Proof
	stored         []events.Event // with the verification
	calls          []webhook.Call
	troubles       []error

	create, save, count, append, load func() error
	verify                            func() error
	notify                            func(endpoint string) error
}

func newFakes() *fakes {
	return &fakes{first: true, anna: &identity.Identity{
		ID: uuid.New(), State: identity.Active, Traits: json.RawMessage(`{}`),
		Addresses:   []identity.Address{{ID: uuid.New(), Via: "email", Value: "anna@example.org", Verifiable: true}},
		Credentials: []identity.Credential{{Type: "password", Config: json.RawMessage(`{"hashed_password":"hash-secret"}`)}},
	}}
}

func (f *fakes) service() *verification.Service {
	return &verification.Service{
		Store: f, Hooks: f, Plan: func() hook.AfterPlan { return f.plan }, MaxTries: 5, Lifespan: time.Hour, Method: flow.MethodCode,
		Now:     func() time.Time { return start },
		Trouble: func(err error) { f.troubles = append(f.troubles, err) },
	}
}

// step records a step and gives what does, if it is set, or that ctx has ended.
func (f *fakes) step(ctx context.Context, name string, does func() error) error {
	f.steps = append(f.steps, name)
	if does != nil {
		return does()
	}
	return ctx.Err()
}

func (f *fakes) CreateFlow(ctx context.Context, created *flow.Flow) error {
	f.created = append(f.created, *created)
	return f.step(ctx, "create", f.create)
}

func (f *fakes) SaveFlow(ctx context.Context, saved *flow.Flow) error {
	f.saved = append(f.saved, *saved)
	return f.step(ctx, "save", f.save)
}

func (f *fakes) Flow(ctx context.Context, _ uuid.UUID) (*flow.Flow, error) {
	changed := f.changed
	return &changed, f.step(ctx, "flow", nil)
}

func (f *fakes) CountTry(ctx context.Context, _ uuid.UUID) (int, error) {
	f.tries++
	return f.tries, f.step(ctx, "count", f.count)
}

func (f *fakes) ForgiveTry(ctx context.Context, _ uuid.UUID) error {
	f.tries--
	return f.step(ctx, "forgive", nil)
}

func (f *fakes) HoldsCode(ctx context.Context, p verification.Proof) error {
	f.looks = append(f.looks, p)
	if err := f.step(ctx, "look", f.verify); err != nil {
		return err
	}
	if p.Code != goodCode {
		return verification.ErrWrongCode
	}
	return nil
}

func (f *fakes) Append(ctx context.Context, e events.Event) error {
	f.appended = append(f.appended, e)
	return f.step(ctx, "append "+e.Type, f.append)
}

func (f *fakes) Identity(ctx context.Context, id uuid.UUID) (*identity.Identity, error) {
	if err := f.step(ctx, "load", f.load); err != nil {
		return nil, err
	}
	if id != f.anna.ID {
		return nil, identity.ErrNotFound
	}
	return f.anna, nil
}

func (f *fakes) Verify(ctx context.Context, p verification.Proof) (verification.Verified, error) {
	f.proofs = append(f.proofs, p)
	if err := f.step(ctx, "verify", f.verify); err != nil {
		return verification.Verified{}, err
	}
	if p.Code != goodCode {
		return verification.Verified{}, verification.ErrWrongCode
	}
	v := verification.Verified{IdentityID: f.anna.ID, AddressID: f.anna.Addresses[0].ID, Via: "email", Again: f.used}
	if f.used {
		return v, nil
	}
	f.used = true
	sequence := int64(6)
	f.stored = p.Events(v, f.first, func() int64 { sequence++; return sequence })
	return v, nil
}

func (f *fakes) Notify(ctx context.Context, endpoint string, c *webhook.Call) error {
	f.calls = append(f.calls, *c)
	if err := f.step(ctx, "notify "+endpoint, nil); err != nil {
		return err
	}
	if f.notify != nil {
		return f.notify(endpoint)
	}
	return nil
}

func submit() verification.Submit {
	return verification.Submit{
		Method: flow.MethodCode,
		Flow: &flow.Flow{
			ID: uuid.New(), Kind: flow.Verification, Type: flow.Browser, State: flow.ChooseMethod,
			RequestURL: "https://id.example.org/verification", ReturnTo: "https://app.example.org/", CSRF: []byte{1},
			Form: flow.Form{
				Values:   map[string]any{"email": "former@example.org"},
				Messages: map[string][]flow.Message{"": {flow.Generic("Something was wrong.")}},
			},
			IssuedAt: start.Add(-time.Minute), ExpiresAt: start.Add(time.Hour),
		},
		TransientPayload: json.RawMessage(`{"campaign":"spring"}`),
		Client: flow.Client{
			Addr: "192.0.2.77:4711", UserAgent: "test/1", RequestID: "http-1",
			TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		},
		Request: webhook.Request{Method: "POST", URL: "https://id.example.org/", Cookies: map[string]string{"c": "cookie-secret"}},
	}
}

// entered is a submit of an address, coded one of a code.
func entered(email string) verification.Submit {
	in := submit()
	in.Email = email
	return in
}

func coded(code string) verification.Submit {
	in := submit()
	in.Flow.State, in.Code = flow.SentEmail, code
	return in
}

// steps of a plan by endpoint name.
func steps(endpoints ...string) []hook.Step {
	var all []hook.Step
	for _, e := range endpoints {
		all = append(all, hook.Step{Kind: hook.KindWebHook, Endpoint: e})
	}
	return all
}

func equal[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

// form is what err shows, with the ids of its messages by node.
func form(t *testing.T, err error) (flow.Form, map[string][]int64) {
	t.Helper()
	var invalid *flow.Invalid
	if !errors.As(err, &invalid) {
		t.Fatalf("error = %v, want one that a person can mend", err)
	}
	ids := map[string][]int64{}
	for node, said := range invalid.Form.Messages {
		for _, m := range said {
			ids[node] = append(ids[node], m.ID)
		}
	}
	return invalid.Form, ids
}

func sameMessages(a, b map[string][]int64) bool { return maps.EqualFunc(a, b, slices.Equal) }
