package delivery_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/store"
	workerdelivery "github.com/usher-auth/usher/workers/delivery"
)

// real is a service on a real bus and SQLite, with a hook that follows the protocol.
type real struct {
	t       *testing.T
	connect func(user string) *nats.Conn
	log     *eventLog
	hooks   *nats.Conn
	publish *events.Publisher
	service *delivery.Service
	store   *store.Store

	mu    sync.Mutex
	fails map[string]int // still to come, by event
	seen  map[string][]int
}

func newReal(t *testing.T) *real {
	t.Helper()
	dir := t.TempDir()
	keys, err := events.LoadOrMakeKeys(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := keys.ServerConfig(events.ServerOptions{Listen: "127.0.0.1:-1", StoreDir: filepath.Join(dir, "streams"), Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	discard := slog.New(slog.DiscardHandler)
	server, err := natsserver.Start(t.Context(), config, natsserver.Options{Log: discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	r := &real{t: t, log: &eventLog{}, fails: map[string]int{}, seen: map[string][]int{}}
	r.connect = func(user string) *nats.Conn {
		credentials, err := keys.Credentials(user)
		if err != nil {
			t.Fatal(err)
		}
		nc, err := events.Connect(t.Context(), events.ConnectOptions{InProcess: server, Credentials: credentials, User: user, Name: "test", Log: discard})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	if r.store, err = store.Open(t.Context(), store.Options{DSN: "memory", CipherSecrets: []string{"a secret of thirty-two characters"}, Log: discard}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.store.Close() })
	if err := r.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	durables := []events.Durable{{Name: "crm", Types: []string{"identity.created"}}}
	if _, err := events.Provision(t.Context(), r.connect(events.UserProvision), events.StreamOptions{}, durables); err != nil {
		t.Fatal(err)
	}
	if r.publish, err = events.NewPublisher(r.connect(events.UserAPIEvents)); err != nil {
		t.Fatal(err)
	}
	r.hooks = r.connect(events.UserHooks)
	return r
}

// event publishes an event that the hook fails at so often, and logs it.
func (r *real) event(fails int) string {
	r.t.Helper()
	id := r.log.add(r.t, events.IdentityCreated{IdentityID: uuid.NewString()}, time.Now())
	r.mu.Lock()
	r.fails[id] = fails
	r.mu.Unlock()
	payload, eventType, err := r.log.EventPayload(r.t.Context(), uuid.MustParse(id))
	if err != nil {
		r.t.Fatal(err)
	}
	if ack := r.publish.Publish(r.t.Context(), []events.Message{{ID: id, Type: eventType, Payload: payload}})[0]; ack.Err != nil {
		r.t.Fatal(ack.Err)
	}
	return id
}

// serve runs a process of the service until stop.
func (r *real) serve() (stop func()) {
	r.t.Helper()
	nc := r.connect(events.UserDelivery)
	bus, err := workerdelivery.NewBus(nc)
	if err != nil {
		r.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	r.service = delivery.New(delivery.Options{
		Failures: r.store, EventLog: r.log, History: r.log, Publisher: bus, Consumers: bus, Ledger: r.store,
		Declared: hooks{"crm": {Kind: delivery.Worker, Types: []string{"identity.created"}}}, Log: log, Now: time.Now,
		Ladder: func(delivery.Hook) delivery.Ladder {
			return delivery.Ladder{20 * time.Millisecond, 50 * time.Millisecond}
		},
	})
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- workerdelivery.Run(ctx, nc, workerdelivery.Options{Service: r.service, Version: "1.0.0", Log: log})
	}()
	return func() {
		r.t.Helper()
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("Run = %v, want nil", err)
		}
	}
}

// work is the hook: done is ack; failed is report, then ack; no answer is nak.
func (r *real) work(ctx context.Context) {
	js, err := jetstream.New(r.hooks)
	if err != nil {
		r.t.Error(err)
		return
	}
	for consumer, err := js.Consumer(ctx, events.Stream, "crm"); ctx.Err() == nil; {
		if err != nil {
			r.t.Error(err)
			return
		}
		m, err := consumer.Next(jetstream.FetchMaxWait(time.Second))
		if err != nil {
			continue
		}
		if r.handle(ctx, m) {
			_ = m.Ack()
		} else {
			_ = m.NakWithDelay(100 * time.Millisecond)
		}
	}
}

func (r *real) handle(ctx context.Context, m jetstream.Msg) (settled bool) {
	e, err := events.Decode(m.Data())
	if err != nil {
		r.t.Error(err)
	}
	attempt := 1
	if n, err := strconv.Atoi(m.Headers().Get(events.HeaderAttempt)); err == nil {
		attempt = n
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fails[e.ID] > 0 {
		meta, _ := m.Metadata()
		body, _ := json.Marshal(events.HookFailed{EventID: e.ID, Attempt: attempt, Reason: "it failed", StreamSeq: meta.Sequence.Stream})
		_, err := events.Ask(ctx, r.hooks, events.SubjectHookFailed("crm"), uuid.NewString(), time.Now().Add(2*time.Second), body)
		if err != nil {
			return false
		}
		r.fails[e.ID]--
	}
	r.seen[e.ID] = append(r.seen[e.ID], attempt)
	return true
}

// attempts are those that the hook has settled.
func (r *real) attempts(id string) []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]int(nil), r.seen[id]...)
}

// failure is the hook's at an event, zero if there is none.
func (r *real) failure(id string) delivery.Failure {
	r.t.Helper()
	f, err := r.store.Failure(r.t.Context(), "crm", uuid.MustParse(id))
	if err != nil && !errors.Is(err, delivery.ErrNoFailure) {
		r.t.Fatal(err)
	}
	return f
}

// eventually waits until a failure has a state.
func (r *real) eventually(id string, want delivery.State) {
	r.t.Helper()
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		f := r.failure(id)
		if f.State == want {
			return
		}
		if time.Now().After(until) {
			r.t.Fatalf("failure = %+v after 20 s, want %s", f, want)
		}
	}
}

func TestOnARealBus(t *testing.T) {
	t.Parallel()
	r := newReal(t)
	stop := r.serve()
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	working.Go(func() { r.work(ctx) })
	defer working.Wait()
	defer cancel()

	well, twice, dead := r.event(0), r.event(2), r.event(3)
	r.eventually(twice, delivery.Done)
	r.eventually(dead, delivery.Dead)
	for id, want := range map[string]int{well: 1, twice: 3, dead: 3} {
		if got := r.attempts(id); len(got) != want || got[len(got)-1] != want {
			t.Errorf("attempts = %v, want 1 to %d", got, want)
		}
	}
	if f := r.failure(well); f.State != "" {
		t.Errorf("what went well has a failure: %+v", f)
	}

	// The service is away while the hook fails: it gets the event again.
	stop()
	away := r.event(1)
	time.Sleep(300 * time.Millisecond)
	if got := r.attempts(away); len(got) != 0 {
		t.Errorf("attempts = %v were settled without an answer", got)
	}
	defer func() { stop() }()
	stop = r.serve()
	r.eventually(away, delivery.Done)

	// What was dead is delivered again, and done.
	if n, err := r.service.Redeliver(t.Context(), delivery.FailureQuery{Hook: "crm"}, delivery.Author{Actor: "admin:anna"}); n != 1 || err != nil {
		t.Fatalf("Redeliver = %d, %v, want 1", n, err)
	}
	r.eventually(dead, delivery.Done)
	if got := r.attempts(dead); len(got) != 4 || got[3] != 1 {
		t.Errorf("attempts = %v, want the fourth to be the first of its round", got)
	}
}
