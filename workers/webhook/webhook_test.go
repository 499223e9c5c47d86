package webhook_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/identity"
	webhooks "github.com/usher-auth/usher/services/webhook"
	"github.com/usher-auth/usher/workers"
	"github.com/usher-auth/usher/workers/webhook"
)

var errBroken = errors.New("broken")

// stored is the state that deliveries work on.
type stored struct {
	mu         sync.Mutex
	inputs     map[string]webhooks.Input // by event id and endpoint
	identities map[uuid.UUID]*identity.Identity
	// loadFails, deleteFails are how many of the next calls fail.
	loadFails, deleteFails int
}

func (s *stored) HookInput(_ context.Context, eventID uuid.UUID, endpoint string) (webhooks.Input, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loadFails > 0 {
		s.loadFails--
		return webhooks.Input{}, false, errBroken
	}
	in, ok := s.inputs[eventID.String()+endpoint]
	return in, ok, nil
}

func (s *stored) DeleteHookInput(ctx context.Context, eventID uuid.UUID, endpoint string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deleteFails > 0 {
		s.deleteFails--
		return errBroken
	}
	delete(s.inputs, eventID.String()+endpoint)
	return ctx.Err()
}

func (s *stored) Identity(_ context.Context, id uuid.UUID) (*identity.Identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.identities[id]; ok {
		return i, nil
	}
	return nil, identity.ErrNotFound
}

// receiver is an endpoint that answers with the given statuses, then 200.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	statuses []int
	got      []string // idempotency key and body
}

func newReceiver(t *testing.T, statuses ...int) *receiver {
	t.Helper()
	r := &receiver{statuses: statuses}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		body, err := io.ReadAll(in.Body)
		if err != nil {
			t.Errorf("read request: %v", err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, in.Header.Get("Idempotency-Key")+" "+string(body))
		if len(r.statuses) > 0 {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(r.statuses[0])
			r.statuses = r.statuses[1:]
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) calls() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got
}

const body = `function(ctx) if ctx.flow.type == "browser" then error "cancel" else
	{ email: ctx.identity.traits.email, campaign: ctx.flow.transient_payload.campaign }`

func TestDelivery(t *testing.T) {
	t.Parallel()
	done, retry, dead := workers.Done, workers.Retry, workers.Dead
	for name, tc := range map[string]struct {
		change   func(*stored, *events.IdentityCreated)
		statuses []int
		outcomes []workers.Outcome
		next     time.Duration // of the first attempt, if it matters
		calls    int
		left     int // inputs, at the end
	}{
		"takes it":         {outcomes: []workers.Outcome{done}, calls: 1},
		"is not meant":     {change: func(s *stored, _ *events.IdentityCreated) { clear(s.inputs) }, outcomes: []workers.Outcome{done}},
		"person is erased": {change: func(s *stored, _ *events.IdentityCreated) { clear(s.identities) }, outcomes: []workers.Outcome{done}},
		"template cancels": {change: browser, outcomes: []workers.Outcome{done}},
		"store breaks":     {change: func(s *stored, _ *events.IdentityCreated) { s.loadFails = 1 }, outcomes: []workers.Outcome{retry, done}, calls: 1},
		"deletion breaks":  {change: func(s *stored, _ *events.IdentityCreated) { s.deleteFails = 1 }, outcomes: []workers.Outcome{retry, done}, calls: 2},
		"refuses for good": {statuses: []int{500}, outcomes: []workers.Outcome{retry}, next: time.Hour, calls: 1, left: 1},
		"asks to wait":     {statuses: []int{429}, outcomes: []workers.Outcome{retry}, next: time.Hour, calls: 1, left: 1},
		"redirects":        {statuses: []int{302}, outcomes: []workers.Outcome{retry}, calls: 1, left: 1},
		"names nobody":     {change: func(_ *stored, e *events.IdentityCreated) { e.IdentityID = nobody }, outcomes: []workers.Outcome{dead}, left: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			r := newReceiver(t, tc.statuses...)
			endpoint := webhooks.Endpoint{ID: "audit", URL: r.URL, Body: body, Ignore: true}
			s, created := newStored()
			if tc.change != nil {
				tc.change(s, &created)
			}
			event := b.publish(created, func(id string) { s.move(id, endpoint.Name()) })

			attempts, stop := b.run(t, s, endpoint)
			for n, want := range tc.outcomes {
				a := receive(t, attempts, "attempt")
				if a.Outcome != want || a.Number != n+1 {
					t.Errorf("attempt %d = %+v, want %s", n+1, a, want)
				}
				if n == 0 && tc.next != 0 && (tc.next-a.Next).Abs() > time.Minute {
					t.Errorf("next attempt in %s, want %s", a.Next, tc.next)
				}
			}
			stop()
			want := slices.Repeat([]string{event.ID + ` {"campaign":"spring","email":"ada@example.com"}`}, tc.calls)
			if got := r.calls(); !slices.Equal(got, want) {
				t.Errorf("endpoint got %q, want %q", got, want)
			}
			if n := len(s.inputs); n != tc.left {
				t.Errorf("%d inputs are left, want %d", n, tc.left)
			}
		})
	}
}

// Each of the events that a person's way makes reaches an endpoint in the same
// way, about the same person.
func TestEventsBehindTheRegistration(t *testing.T) {
	t.Parallel()
	session, flow := uuid.NewString(), uuid.NewString()
	for name, about := range map[string]func(person string) events.Payload{
		"login.succeeded": func(person string) events.Payload {
			return events.LoginSucceeded{IdentityID: person, SessionID: session, Method: "password", FlowID: flow}
		},
		"address.verified": func(person string) events.Payload {
			return events.AddressVerified{IdentityID: person, AddressID: uuid.NewString(), Via: "email", FlowID: flow}
		},
		"identity.updated": func(person string) events.Payload {
			return events.IdentityUpdated{IdentityID: person, Changed: []string{"traits"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			r := newReceiver(t)
			endpoint := webhooks.Endpoint{ID: "audit", URL: r.URL, Body: body, Ignore: true}
			s, created := newStored()
			// One that the endpoint is not meant for comes first.
			b.publish(about(created.IdentityID), func(string) {})
			event := b.publish(about(created.IdentityID), func(id string) { s.move(id, endpoint.Name()) })

			attempts, stop := b.run(t, s, endpoint)
			for range 2 {
				if a := receive(t, attempts, "attempt"); a.Outcome != workers.Done {
					t.Errorf("attempt = %+v, want done", a)
				}
			}
			stop()
			want := []string{event.ID + ` {"campaign":"spring","email":"ada@example.com"}`}
			if got := r.calls(); !slices.Equal(got, want) {
				t.Errorf("endpoint got %q, want %q", got, want)
			}
			if len(s.inputs) > 0 {
				t.Errorf("inputs are left: %v", s.inputs)
			}
		})
	}
}

func browser(s *stored, _ *events.IdentityCreated) {
	for key, in := range s.inputs {
		in.Flow.Type = "browser"
		s.inputs[key] = in
	}
}

// newStored has one identity and one input, whose event is not known yet.
func newStored() (*stored, events.IdentityCreated) {
	i := &identity.Identity{ID: uuid.New(), Traits: []byte(`{"email":"ada@example.com"}`)}
	in := webhooks.Input{Flow: webhooks.Flow{Type: "api", TransientPayload: []byte(`{"campaign":"spring"}`)}}
	return &stored{
		inputs:     map[string]webhooks.Input{"": in},
		identities: map[uuid.UUID]*identity.Identity{i.ID: i},
	}, events.IdentityCreated{IdentityID: i.ID.String(), SchemaID: "default", State: "active", Method: "password"}
}

// move makes the input that of an event and endpoints.
func (s *stored) move(eventID string, endpoints ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in, ok := s.inputs[""]
	delete(s.inputs, "")
	for _, name := range endpoints {
		if ok {
			s.inputs[eventID+name] = in
		}
	}
}

func TestDeadEndpointDoesNotHoldBackAnother(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	dead, alive := newReceiver(t), newReceiver(t)
	dead.Close()
	s, created := newStored()
	a := webhooks.Endpoint{ID: "dead", URL: dead.URL, Body: body, Ignore: true}
	z := webhooks.Endpoint{ID: "alive", URL: alive.URL, Body: body, Ignore: true}
	b.publish(created, func(id string) { s.move(id, a.Name(), z.Name()) })

	failed, stopDead := b.run(t, s, a)
	if got := receive(t, failed, "attempt"); got.Outcome != workers.Retry || !strings.Contains(got.Err.Error(), "webhook-dead") {
		t.Errorf("attempt at a dead endpoint = %+v, want a retry that names it", got)
	}
	delivered, stopAlive := b.run(t, s, z)
	if got := receive(t, delivered, "attempt"); got.Outcome != workers.Done {
		t.Errorf("attempt = %+v, want done", got)
	}
	stopAlive()
	stopDead()
	if len(alive.calls()) != 1 || len(s.inputs) != 1 {
		t.Errorf("%d calls, %d inputs left, want 1, 1", len(alive.calls()), len(s.inputs))
	}
}

// run runs the worker of an endpoint until stop, which wants it to end well.
func (b *bus) run(t *testing.T, s *stored, e webhooks.Endpoint) (attempts <-chan workers.Attempt, stop func()) {
	t.Helper()
	b.declare(e.Name())
	client, err := webhooks.New(webhooks.Options{Endpoints: []webhooks.Endpoint{e}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	observed := make(chan workers.Attempt, 100)
	w := webhook.Background{Inputs: s, Identities: s, Endpoints: client}.Worker(e.Name(),
		workers.WithConn(b.hooks), workers.Logger(discard),
		workers.Observe(func(a workers.Attempt) { observed <- a }))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(cancel)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	return observed, func() {
		t.Helper()
		cancel()
		if err := receive(t, ended, "end of Run"); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	}
}

func receive[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("no %s within 20 s", what)
		panic("unreachable")
	}
}
