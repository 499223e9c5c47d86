package registration_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

const personSchema = `{
  "type": "object",
  "properties": {
    "traits": {
      "type": "object",
      "properties": {
        "email": {"type": "string", "format": "email", "ory.sh/kratos": {
          "credentials": {"password": {"identifier": true}}, "verification": {"via": "email"}}},
        "username": {"type": "string", "ory.sh/kratos": {"credentials": {"password": {"identifier": true}}}},
        "name": {"type": "object", "properties": {"first": {"type": "string", "maxLength": 10}}}
      },
      "required": ["name"],
      "additionalProperties": false
    }
  }
}`

const anythingSchema = `{"type": "object", "properties": {"traits": {"type": "object"}}}`

// What each step takes, so that what was measured can be told.
const (
	hookTime   = 7 * time.Millisecond
	hashTime   = 100 * time.Millisecond
	commitTime = 11 * time.Millisecond
	hopTime    = 13 * time.Millisecond
)

var start = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// fakes are all that a [registration.Service] needs. They record the steps in
// their order; a function that is set takes the place of what they do by
// themselves, which is what the real ones do.
type fakes struct {
	mu    sync.Mutex
	steps []string
	now   time.Time

	schemas  map[string]*identity.Schema
	plan     hook.Plan
	taken    map[string]bool
	grants   map[uuid.UUID]registration.Grant
	people   map[uuid.UUID]*identity.Identity
	records  []registration.Record
	appended []events.Event
	flows    map[uuid.UUID]flow.Flow
	requests []session.Request
	calls    []webhook.Call
	outcomes []registration.Outcome

	policy         func(p password.Plain, identifiers []string) *password.Violation
	hash           func() error
	register       func() error
	grant          func() error
	append         func() error
	asked          []webhook.Worker
	refuse, notify func(endpoint string, c *webhook.Call) error
	issue          func(ctx context.Context, r session.Request) (*session.Session, error)
}

func newFakes(t interface {
	Helper()
	Fatal(args ...any)
},
) *fakes {
	t.Helper()
	f := &fakes{
		now:     start,
		schemas: map[string]*identity.Schema{},
		plan:    hook.Plan{Session: hook.Session{On: true}},
		taken:   map[string]bool{},
		grants:  map[uuid.UUID]registration.Grant{},
		people:  map[uuid.UUID]*identity.Identity{},
		flows:   map[uuid.UUID]flow.Flow{},
	}
	for id, document := range map[string]string{"person": personSchema, "other": personSchema, "anything": anythingSchema} {
		s, err := identity.Compile(id, []byte(document))
		if err != nil {
			t.Fatal(err)
		}
		f.schemas[id] = s
	}
	return f
}

func (f *fakes) service() *registration.Service {
	return &registration.Service{
		Store: f, Schemas: f, Policy: f, Passwords: f, Hooks: f, Workers: f, Sessions: f,
		Plan:         func(string) hook.Plan { return f.plan },
		Lifespan:     24 * time.Hour,
		IssueTimeout: time.Minute,
		Now:          f.clock,
		Observe:      func(_ context.Context, o registration.Outcome) { f.outcomes = append(f.outcomes, o) },
	}
}

func (f *fakes) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// step records a step and the time that it takes.
func (f *fakes) step(name string, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steps = append(f.steps, name)
	f.now = f.now.Add(took)
}

func (f *fakes) Schema(id string) (*identity.Schema, bool) {
	s, ok := f.schemas[id]
	return s, ok
}

func (f *fakes) Check(p password.Plain, identifiers []string) *password.Violation {
	f.step("policy", 0)
	if f.policy == nil {
		return nil
	}
	return f.policy(p, identifiers)
}

func (f *fakes) Hash(_ context.Context, p password.Plain) (string, error) {
	f.step("hash", hashTime)
	if f.hash != nil {
		return "", f.hash()
	}
	return phc(p), nil
}

func (f *fakes) Verify(_ context.Context, p password.Plain, hash string) error {
	f.step("verify", hashTime)
	if hash != phc(p) {
		return password.ErrMismatch
	}
	return nil
}

// phc is the hash of a password, made in no time; it has the form of bcrypt's.
func phc(p password.Plain) string {
	sum := sha256.Sum256([]byte(p.Reveal()))
	return "$2a$12$" + hex.EncodeToString(sum[:])[:53]
}

func (f *fakes) Register(ctx context.Context, r registration.Record) error {
	f.step("commit", commitTime)
	if f.register != nil {
		return f.register()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, used := f.grants[r.Grant.FlowID]; used {
		return registration.ErrFlowUsed
	}
	for _, id := range r.Identity.Credentials[0].Identifiers {
		if f.taken[id] {
			return identity.ErrExists
		}
	}
	for _, id := range r.Identity.Credentials[0].Identifiers {
		f.taken[id] = true
	}
	stored := *r.Identity
	f.people[stored.ID] = &stored
	f.grants[r.Grant.FlowID] = r.Grant
	f.records = append(f.records, r)
	if r.Verification != nil {
		f.flows[r.Verification.Flow.ID] = *r.Verification.Flow
	}
	return nil
}

func (f *fakes) Flow(_ context.Context, id uuid.UUID) (*flow.Flow, error) {
	f.step("flow", 0)
	stored, ok := f.flows[id]
	if !ok {
		return nil, flow.ErrNotFound
	}
	return &stored, nil
}

func (f *fakes) SaveFlow(ctx context.Context, saved *flow.Flow) error {
	f.step("save flow", 0)
	f.flows[saved.ID] = *saved
	return ctx.Err()
}

func (f *fakes) Grant(_ context.Context, flowID uuid.UUID) (registration.Grant, *identity.Identity, error) {
	f.step("grant", 0)
	if f.grant != nil {
		return registration.Grant{}, nil, f.grant()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	g, ok := f.grants[flowID]
	if !ok {
		return registration.Grant{}, nil, identity.ErrNotFound
	}
	stored := *f.people[g.IdentityID]
	return g, &stored, nil
}

func (f *fakes) Append(ctx context.Context, e events.Event) error {
	f.step("append "+e.Type, 0)
	if f.append != nil {
		return f.append()
	}
	f.appended = append(f.appended, e)
	return ctx.Err()
}

func (f *fakes) Refuse(ctx context.Context, endpoint string, c *webhook.Call) error {
	return f.call(ctx, "refuse "+endpoint, endpoint, c, f.refuse)
}

func (f *fakes) Ask(ctx context.Context, w webhook.Worker, c *webhook.Call) error {
	f.asked = append(f.asked, w)
	return f.call(ctx, "ask "+w.Name, w.Name, c, f.refuse)
}

func (f *fakes) Notify(ctx context.Context, endpoint string, c *webhook.Call) error {
	return f.call(ctx, "notify "+endpoint, endpoint, c, f.notify)
}

func (f *fakes) call(ctx context.Context, step, endpoint string, c *webhook.Call, does func(string, *webhook.Call) error) error {
	f.step(step, hookTime)
	seen := *c
	told := *c.Identity // as it is now
	told.Credentials, told.Addresses = slices.Clone(told.Credentials), slices.Clone(told.Addresses)
	seen.Identity = &told
	f.calls = append(f.calls, seen)
	if does != nil {
		return does(endpoint, c)
	}
	return ctx.Err()
}

func (f *fakes) Issue(ctx context.Context, r session.Request) (*session.Session, error) {
	f.step("session", hopTime)
	f.mu.Lock()
	f.requests = append(f.requests, r)
	f.mu.Unlock()
	if f.issue != nil {
		return f.issue(ctx, r)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &session.Session{ID: uuid.New(), IdentityID: r.IdentityID, AAL: r.AAL}
	f.mu.Lock()
	defer f.mu.Unlock()
	if g, ok := f.grants[r.FlowID]; ok {
		g.SessionID = s.ID
		f.grants[r.FlowID] = g
	}
	return s, nil
}

const (
	goodTraits   = `{"email":"Anna@Example.org","username":"anna","name":{"first":"Anna"}}`
	goodPassword = "correct horse battery staple"
)

func submit(t flow.Type) registration.Submit {
	return registration.Submit{
		Flow: &flow.Flow{
			ID: uuid.New(), Kind: flow.Registration, Type: t, SchemaID: "person",
			RequestURL: "https://id.example.org/registration", ReturnTo: "https://app.example.org/",
			IssuedAt: start.Add(-time.Minute), ExpiresAt: start.Add(time.Hour),
		},
		Method:           "password",
		Traits:           json.RawMessage(goodTraits),
		Password:         password.New(goodPassword),
		TransientPayload: json.RawMessage(`{"campaign":"spring"}`),
		Client: flow.Client{
			Addr: "192.0.2.77:4711", UserAgent: "test/1", RequestID: "http-1",
			TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		},
		Request:    webhook.Request{Method: "POST", URL: "https://id.example.org/", Cookies: map[string]string{"c": "cookie-secret"}},
		ReceivedAt: start,
	}
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

// messages are the ids by node of the form that err holds.
func messages(t *testing.T, err error) map[string][]int64 {
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
	return ids
}

func sameMessages(a, b map[string][]int64) bool { return maps.EqualFunc(a, b, slices.Equal) }

// asking is a step that asks a worker.
func asking(name string, onMissing hook.Outcome) hook.Step {
	return hook.Step{Kind: hook.KindWorker, Endpoint: name, Asked: hook.Asked{Timeout: 3 * time.Second, OnMissing: onMissing}}
}
