package login_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

// What each step takes, so that what was measured can be told.
const (
	hookTime = 7 * time.Millisecond
	hashTime = 100 * time.Millisecond
	hopTime  = 13 * time.Millisecond
)

const goodPassword = "correct horse battery staple"

var start = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// fakes are all that a [login.Service] needs. They record the steps in their
// order; a function that is set takes the place of what they do by themselves.
type fakes struct {
	mu    sync.Mutex
	steps []string
	now   time.Time

	plan     hook.LoginPlan
	anna     *identity.Identity // verified, signs in with her address
	people   map[string]*identity.Identity
	outdated bool

	calls    []webhook.Call
	due      []webhook.Due
	appended []events.Event
	requests []session.Request
	opened   []identity.Address
	which    []session.Which
	revoked  []events.Event
	replaced []json.RawMessage // former, then new
	outcomes []login.Outcome

	find           func() error
	hash           func(p password.Plain) error
	asked          []webhook.Worker
	refuse, notify func(endpoint string, c *webhook.Call) error
	open           func() error
	saveDue        func() error
	issue          func(ctx context.Context, r session.Request) (*session.Session, error)
	revoke         func(ctx context.Context) error
	replace        func() error
	linked         []uuid.UUID
	updated        []events.Event
	link           func() error
	append         func() error
}

func newFakes() *fakes {
	f := &fakes{now: start, people: map[string]*identity.Identity{}}
	f.anna = f.person("anna@example.org", goodPassword, identity.Address{Verifiable: true, Verified: true, Value: "anna@example.org"})
	return f
}

// person adds one who signs in with an identifier.
func (f *fakes) person(identifier, text string, addresses ...identity.Address) *identity.Identity {
	i := &identity.Identity{
		ID: uuid.New(), SchemaID: "person", State: identity.Active, Epoch: 3, Traits: json.RawMessage(`{}`), Addresses: addresses,
		Credentials: []identity.Credential{
			{Type: "oidc", Config: json.RawMessage(`{}`)},
			{Type: "password", Identifiers: []string{identifier}, Config: config(text)},
		},
	}
	for n := range addresses {
		addresses[n].ID, addresses[n].Via = uuid.New(), "email"
	}
	f.people[identifier] = i
	return i
}

// change puts another in Anna's place: who has read her keeps what was read.
func (f *fakes) change(how func(i *identity.Identity)) {
	next := *f.anna
	how(&next)
	for identifier, i := range f.people {
		if i == f.anna {
			f.people[identifier] = &next
		}
	}
}

func (f *fakes) byID(id uuid.UUID) *identity.Identity {
	for _, i := range f.people {
		if i.ID == id {
			return i
		}
	}
	return nil
}

// config is a stored password.
func config(text string) json.RawMessage {
	return json.RawMessage(`{"hashed_password":"` + phc(password.New(text)) + `"}`)
}

func (f *fakes) service() *login.Service {
	return &login.Service{
		Store: f, Passwords: f, Hooks: f, Workers: f, Sessions: f, Verification: f,
		Plan: func(method string) hook.LoginPlan {
			f.plan.Method = method
			return f.plan
		},
		Lifespan:     24 * time.Hour,
		IssueTimeout: time.Minute,
		Now:          f.clock,
		Observe:      func(o login.Outcome) { f.outcomes = append(f.outcomes, o) },
		Failures:     &login.Failures{},
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

func (f *fakes) IdentityByIdentifier(ctx context.Context, identifier string) (*identity.Identity, error) {
	f.step("find "+identifier, 0)
	if f.find != nil {
		return nil, f.find()
	}
	i, ok := f.people[identifier]
	if !ok {
		return nil, identity.ErrNotFound
	}
	return i, ctx.Err()
}

func (f *fakes) Hash(_ context.Context, p password.Plain) (string, error) {
	f.step("hash", hashTime)
	if f.hash != nil {
		return "", f.hash(p)
	}
	return phc(p), nil
}

func (f *fakes) Verify(_ context.Context, p password.Plain, hash string) error {
	if hash == "" { // as the pool does, at once
		return password.ErrUnknownHash
	}
	f.step("verify", hashTime)
	if f.hash != nil {
		return f.hash(p)
	}
	if hash != phc(p) {
		return password.ErrMismatch
	}
	return nil
}

func (f *fakes) Outdated(string) bool { return f.outdated }

// phc is the hash of a password, made in no time; it has the form of bcrypt's.
func phc(p password.Plain) string {
	sum := sha256.Sum256([]byte(p.Reveal()))
	return "$2a$12$" + hex.EncodeToString(sum[:])[:53]
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
	f.calls = append(f.calls, *c)
	if does != nil {
		return does(endpoint, c)
	}
	return ctx.Err()
}

func (f *fakes) Open(ctx context.Context, i *identity.Identity, a identity.Address, in login.Submit) (*flow.Flow, error) {
	f.step("open", 0)
	f.opened = append(f.opened, a)
	if f.open != nil {
		return nil, f.open()
	}
	if i.Credentials != nil {
		return nil, errors.New("the verification is given credentials")
	}
	return flow.NewVerification(*in.Flow, a.Value, flow.MethodCode, f.clock(), time.Hour), ctx.Err()
}

func (f *fakes) SaveDue(ctx context.Context, due []webhook.Due) error {
	f.step("save due", 0)
	f.due = append(f.due, due...)
	if f.saveDue != nil {
		return f.saveDue()
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
	id := r.Refresh
	if id == uuid.Nil {
		id = uuid.New()
	}
	return &session.Session{ID: id, IdentityID: r.IdentityID, AAL: r.AAL}, nil
}

func (f *fakes) RevokeSessions(ctx context.Context, w session.Which, event session.Revocation) (int, error) {
	f.step("revoke", 0)
	f.which = append(f.which, w)
	f.revoked = append(f.revoked, event(uuid.New(), 5))
	if f.revoke != nil {
		return 0, f.revoke(ctx)
	}
	return 1, ctx.Err()
}

func (f *fakes) ReplaceCredential(ctx context.Context, _ uuid.UUID, kind string, former, config json.RawMessage) error {
	f.step("replace "+kind, 0)
	f.replaced = append(f.replaced, former, config)
	if f.replace != nil {
		return f.replace()
	}
	return ctx.Err()
}

// UpdateIdentity does as the store does, but for who comes at the same time.
func (f *fakes) UpdateIdentity(ctx context.Context, id uuid.UUID, decide func(*identity.Identity) (*identity.Change, error)) error {
	f.step("link", 0)
	f.linked = append(f.linked, id)
	if f.link != nil {
		if err := f.link(); err != nil {
			return err
		}
	}
	change, err := decide(f.byID(id))
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	if change == nil {
		return nil
	}
	*f.byID(id) = *change.Identity
	f.updated = append(f.updated, change.Updated(8))
	return ctx.Err()
}

func (f *fakes) AppendSoon(ctx context.Context, e events.Event) error {
	f.step("append "+e.Type, 0)
	f.mu.Lock()
	f.appended = append(f.appended, e)
	f.mu.Unlock()
	if f.append != nil {
		return f.append()
	}
	return ctx.Err()
}

func submit(t flow.Type) login.Submit {
	return login.Submit{
		Flow: &flow.Flow{
			ID: uuid.New(), Kind: flow.Login, Type: t, State: flow.ChooseMethod,
			RequestURL: "https://id.example.org/login", ReturnTo: "https://app.example.org/",
			IssuedAt: start.Add(-time.Minute), ExpiresAt: start.Add(time.Hour),
		},
		Method:           "password",
		Identifier:       " Anna@Example.org",
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

// refreshing is a submit of a flow that makes a session of an identity fresh.
func refreshing(t flow.Type, identityID uuid.UUID) login.Submit {
	in := submit(t)
	in.Flow.Refresh = true
	in.Current = &login.Current{
		Session: &session.Session{ID: uuid.New(), IdentityID: identityID},
		Token:   session.NewToken(session.NativePrefix),
	}
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

// hashes is how many passwords were hashed or compared.
func (f *fakes) hashes() (n int) {
	for _, s := range f.steps {
		if s == "hash" || s == "verify" {
			n++
		}
	}
	return n
}

// went gives the steps but for the first two, which are the same for all who
// come as far.
func (f *fakes) went(t *testing.T) []string {
	t.Helper()
	if len(f.steps) < 2 || !strings.HasPrefix(f.steps[0], "find ") || f.steps[1] != "verify" {
		t.Fatalf("steps = %v, want them to begin with find and verify", f.steps)
	}
	return f.steps[2:]
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
