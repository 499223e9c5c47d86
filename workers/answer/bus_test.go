package answer_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/webhook"
	"github.com/usher-auth/usher/workers"
	"github.com/usher-auth/usher/workers/answer"
)

var discard = slog.New(slog.DiscardHandler)

// bus is a real server, and a client of it as the API has one.
type bus struct {
	t      *testing.T
	keys   *events.Keys
	server *natsserver.Server
	asked  []webhook.Asked
	client *webhook.Client
}

func newBus(t *testing.T) *bus {
	t.Helper()
	dir := t.TempDir()
	b := &bus{t: t}
	var err error
	if b.keys, err = events.LoadOrMakeKeys(filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	config, err := b.keys.ServerConfig(events.ServerOptions{Listen: "127.0.0.1:-1", StoreDir: filepath.Join(dir, "store"), Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if b.server, err = natsserver.Start(t.Context(), config, natsserver.Options{Log: discard}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.server.Close)
	creds, err := b.keys.Credentials(events.UserAPIAuth)
	if err != nil {
		t.Fatal(err)
	}
	b.client, err = webhook.New(webhook.Options{
		Workers: &answer.Client{Conn: b.connect(events.UserAPIAuth, creds)},
		Asked:   func(a webhook.Asked) { b.asked = append(b.asked, a) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bus) connect(user string, creds []byte) *nats.Conn {
	b.t.Helper()
	nc, err := events.Connect(b.t.Context(), events.ConnectOptions{
		URL: b.server.ClientURL(), Credentials: creds, User: user, Name: user, Log: discard,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	return nc
}

// worker is a connection with the credential of an answering worker.
func (b *bus) worker(name string) *nats.Conn {
	b.t.Helper()
	m, err := b.keys.Minter()
	if err != nil {
		b.t.Fatal(err)
	}
	creds, err := m.AnswerCredentials(name, time.Now().Add(time.Hour))
	if err != nil {
		b.t.Fatal(err)
	}
	return b.connect(name, creds)
}

// run runs an answering worker made with the kit, until stop or the test's end.
func (b *bus) run(name string, handle func(context.Context, workers.Question) (workers.Reply, error)) (stop func()) {
	b.t.Helper()
	nc := b.worker(name)
	w := workers.Answer(name, handle, workers.WithConn(nc), workers.Logger(discard))
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("Run = %v, want nil once it was told to end", err)
		}
		ended <- nil
	}
	b.t.Cleanup(stop)
	for range 100 { // until it is listening
		if err := b.ask(name, 2*time.Second, &webhook.Call{Identity: anna()}); !errors.Is(err, events.ErrNoWorker) {
			b.asked = nil
			return stop
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.t.Fatal("the worker does not come")
	return nil
}

// raw runs a worker that is not made with the kit.
func (b *bus) raw(name string, handle nats.MsgHandler) {
	b.t.Helper()
	nc := b.worker(name)
	if _, err := nc.QueueSubscribe(events.SubjectHookAnswer(name), "q", handle); err != nil {
		b.t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bus) ask(name string, timeout time.Duration, call *webhook.Call) error {
	return b.client.Ask(b.t.Context(), webhook.Worker{Name: name, Timeout: timeout}, call)
}

func anna() *identity.Identity {
	return &identity.Identity{
		ID: uuid.New(), SchemaID: "default", State: identity.Active, Traits: json.RawMessage(`{"email":"anna@example.org"}`),
		Credentials: []identity.Credential{{Type: "password", Config: json.RawMessage(`{"hashed_password":"hidden"}`)}},
	}
}

func TestWorkerOfTheKitChangesAndRefuses(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.run("vet", func(_ context.Context, q workers.Question) (workers.Reply, error) {
		if strings.Contains(string(q.Identity.Traits), "mallory") {
			return workers.Refuse("#/traits/email", 4999001, "not you"), nil
		}
		return workers.Reply{Identity: &events.HookChange{Traits: json.RawMessage(`{"email":"bea@example.org"}`)}}, nil
	})

	call := &webhook.Call{Identity: anna()}
	if err := b.ask("vet", 2*time.Second, call); err != nil || string(call.Identity.Traits) != `{"email":"bea@example.org"}` {
		t.Errorf("Ask = %v, traits %s; want those of the answer", err, call.Identity.Traits)
	}
	call.Identity.Traits = json.RawMessage(`{"email":"mallory@example.org"}`)
	err := b.ask("vet", 2*time.Second, call)
	var refusal *webhook.Refusal
	want := webhook.Message{Node: "traits.email", ID: 4999001, Text: "not you", Type: "error"}
	if !errors.As(err, &refusal) || len(refusal.Messages) != 1 || refusal.Messages[0].Node != want.Node || refusal.Messages[0].ID != want.ID || refusal.Messages[0].Text != want.Text {
		t.Errorf("Ask = %v %+v, want a refusal with %+v", err, refusal, want)
	}
}

// Each way of giving no answer is told at once, or when the time is over, and
// an optional worker is passed over.
func TestWorkerGivesNoAnswer(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.run("fails", func(context.Context, workers.Question) (workers.Reply, error) {
		return workers.Reply{}, errors.New("secret reason")
	})
	b.run("panics", func(context.Context, workers.Question) (workers.Reply, error) { panic("secret reason") })
	b.run("gives-up", func(ctx context.Context, _ workers.Question) (workers.Reply, error) {
		<-ctx.Done()
		return workers.Reply{}, ctx.Err()
	})
	b.run("large", func(context.Context, workers.Question) (workers.Reply, error) {
		return workers.Refuse("", 1, strings.Repeat("x", 256_000)), nil
	})
	never := make(chan struct{})
	b.run("slow", func(context.Context, workers.Question) (workers.Reply, error) {
		<-never
		return workers.Reply{}, nil
	})
	defer close(never)
	b.run("huge", func(context.Context, workers.Question) (workers.Reply, error) {
		return workers.Reply{Identity: &events.HookChange{Traits: json.RawMessage(`"` + strings.Repeat("x", 10<<20) + `"`)}}, nil
	})
	b.raw("nonsense", func(m *nats.Msg) { _ = m.Respond([]byte("\x00<html>secret")) })
	b.raw("nothing", func(m *nats.Msg) { _ = m.Respond(nil) })
	b.raw("silent", func(*nats.Msg) {})
	// What the bus does not take, the client of NATS refuses to send.
	b.raw("too-huge", func(m *nats.Msg) { _ = m.Respond(make([]byte, 10<<20)) })

	for name, want := range map[string]struct {
		answer  string
		timeout time.Duration
	}{
		"nobody":   {webhook.Missing, 10 * time.Second},
		"fails":    {webhook.Broken, 10 * time.Second},
		"panics":   {webhook.Broken, 10 * time.Second},
		"huge":     {webhook.Broken, 10 * time.Second},
		"large":    {webhook.Broken, 10 * time.Second},
		"gives-up": {webhook.Late, 100 * time.Millisecond},
		"nonsense": {webhook.Broken, 10 * time.Second},
		"nothing":  {webhook.Broken, 10 * time.Second},
		"slow":     {webhook.Late, 100 * time.Millisecond},
		"silent":   {webhook.Late, 100 * time.Millisecond},
		"too-huge": {webhook.Late, 100 * time.Millisecond},
	} {
		b.asked = nil
		call := &webhook.Call{Identity: anna()}
		err := b.ask(name, want.timeout, call)
		var failed *webhook.Failed
		if !errors.As(err, &failed) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: Ask = %v, want a Failed that quotes nothing", name, err)
		}
		if err := b.client.Ask(t.Context(), webhook.Worker{Name: name, Timeout: want.timeout, Optional: true}, call); err != nil {
			t.Errorf("%s: Ask of an optional worker = %v, want nil", name, err)
		}
		if string(call.Identity.Traits) != string(anna().Traits) {
			t.Errorf("%s: it changed the traits to %.100s", name, call.Identity.Traits)
		}
		if len(b.asked) != 2 || b.asked[0].Answer != want.answer || b.asked[0].WentOn || b.asked[1].Answer != want.answer || !b.asked[1].WentOn {
			t.Errorf("%s: asked = %+v, want %s, once not passed over and once so", name, b.asked, want.answer)
		}
		if took := b.asked[0].Took; took > 5*time.Second {
			t.Errorf("%s: it took %s", name, took)
		}
	}
}

// A question that the bus does not take is no answer either.
func TestQuestionThatIsTooLarge(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.run("vet", func(context.Context, workers.Question) (workers.Reply, error) { return workers.Reply{}, nil })
	call := &webhook.Call{Identity: anna()}
	call.Flow.TransientPayload = json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)
	if err := b.ask("vet", time.Second, call); !errors.Is(err, nats.ErrMaxPayload) || b.asked[0].Answer != webhook.Broken {
		t.Errorf("Ask = %v, want a question that is too large", err)
	}
}

// A worker that is told to end answers what it has accepted, and another of
// the same name takes what comes then.
func TestWorkersTakeTurns(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	accepted, goOn := make(chan struct{}), make(chan struct{})
	first := true
	stop := b.run("vet", func(context.Context, workers.Question) (workers.Reply, error) {
		if first { // whether it listens
			first = false
			return workers.Reply{}, nil
		}
		close(accepted)
		<-goOn
		return workers.Reply{}, nil
	})
	got := make(chan error, 1)
	go func() { got <- b.ask("vet", 5*time.Second, &webhook.Call{Identity: anna()}) }()
	<-accepted
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	close(goOn)
	<-stopped
	if err := <-got; err != nil {
		t.Errorf("Ask = %v, want the answer of a worker that ends", err)
	}
	if err := b.ask("vet", time.Second, &webhook.Call{Identity: anna()}); !errors.Is(err, events.ErrNoWorker) {
		t.Errorf("Ask = %v, want nobody at once", err)
	}
	b.run("vet", func(context.Context, workers.Question) (workers.Reply, error) { return workers.Reply{}, nil })
	if err := b.ask("vet", time.Second, &webhook.Call{Identity: anna()}); err != nil {
		t.Errorf("Ask = %v, want the other's answer", err)
	}
}

// A credential for something else is said at once, in one line.
func TestWorkerThatMayNotAnswer(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	m, err := b.keys.Minter()
	if err != nil {
		t.Fatal(err)
	}
	forEvents, err := m.WorkerCredentials("vet", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for name, nc := range map[string]*nats.Conn{"vet": b.connect("vet", forEvents), "other": b.worker("vet")} {
		w := workers.Answer(name, nil, workers.WithConn(nc), workers.Logger(discard))
		err := w.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), events.SubjectHookAnswer(name)) || !strings.Contains(err.Error(), "usher worker rotate "+name) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Run of %s = %v, want one line with the subject and what mends it", name, err)
		}
	}
}
