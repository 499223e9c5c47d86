package delivery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
	"github.com/usher-auth/usher/services/delivery"
	workerdelivery "github.com/usher-auth/usher/workers/delivery"
)

var discard = slog.New(slog.DiscardHandler)

// bus is a NATS server with the event stream and the durable consumer "crm".
type bus struct {
	t       *testing.T
	connect func(user string) *nats.Conn
}

func newBus(t *testing.T) *bus {
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
	server, err := natsserver.Start(t.Context(), config, natsserver.Options{Log: discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	b := &bus{t: t, connect: func(user string) *nats.Conn {
		credentials, err := keys.Credentials(user)
		if err != nil {
			t.Fatal(err)
		}
		nc, err := events.Connect(t.Context(), events.ConnectOptions{
			InProcess: server, Credentials: credentials, User: user, Name: "test", Log: discard,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}}
	durables := []events.Durable{{Name: "crm", Types: []string{"identity.created"}}, {Name: "other", Types: []string{"identity.created"}}}
	if _, err := events.Provision(t.Context(), b.connect(events.UserProvision), events.StreamOptions{}, durables); err != nil {
		t.Fatal(err)
	}
	return b
}

// service is a service that answers as it is told.
type service struct {
	report func(hook string, r events.HookFailed) (events.HookFailedReply, error)
	acked  chan string
	ended  func()
}

func (s *service) Report(_ context.Context, hook string, r events.HookFailed) (events.HookFailedReply, error) {
	return s.report(hook, r)
}

func (s *service) Acked(hook string, seq uint64) { s.acked <- fmt.Sprintf("%s %d", hook, seq) }

func (s *service) Run(ctx context.Context) error {
	<-ctx.Done()
	s.ended()
	return nil
}

// run runs the service until stop, which wants it to end well.
func (b *bus) run(s workerdelivery.Service) (stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	nc := b.connect(events.UserDelivery)
	go func() {
		ended <- workerdelivery.Run(ctx, nc, workerdelivery.Options{Service: s, Version: "1.0.0", Log: discard})
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("Run = %v, want nil", err)
		}
	})
	b.t.Cleanup(stop)
	return stop
}

// ask reports as a worker does, until the service is there.
func (b *bus) ask(nc *nats.Conn, hook string, body string) (events.HookFailedReply, error) {
	b.t.Helper()
	for {
		data, err := events.Ask(b.t.Context(), nc, events.SubjectHookFailed(hook), uuid.NewString(), time.Now().Add(5*time.Second), []byte(body))
		if errors.Is(err, events.ErrNoWorker) && b.t.Context().Err() == nil {
			continue
		}
		var reply events.HookFailedReply
		if err == nil {
			err = json.Unmarshal(data, &reply)
		}
		return reply, err
	}
}

func TestReportsAreAnsweredWithWhatBecomesOfTheEvent(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	var got events.HookFailed
	s := &service{ended: func() {}, report: func(hook string, r events.HookFailed) (events.HookFailedReply, error) {
		got = r
		switch hook {
		case "crm":
			return events.HookFailedReply{State: "waiting", Next: "2026-01-02T03:04:05Z"}, nil
		case "unknown":
			return events.HookFailedReply{}, fmt.Errorf("hook: %w", delivery.ErrNoHook)
		case "wrong":
			return events.HookFailedReply{}, &delivery.Invalid{Text: "attempt is out of range"}
		}
		return events.HookFailedReply{}, errors.New("password=secret: the database is down")
	}}
	b.run(s)
	hooks := b.connect(events.UserHooks)
	want := events.HookFailed{EventID: uuid.NewString(), Attempt: 3, Reason: "no", Permanent: true, After: 2.5, StreamSeq: 17}
	body, _ := json.Marshal(want)
	if reply, err := b.ask(hooks, "crm", string(body)); err != nil || reply.State != "waiting" || reply.Next != "2026-01-02T03:04:05Z" {
		t.Errorf("reply = %+v, %v", reply, err)
	}
	if got != want {
		t.Errorf("the service got %+v, want %+v", got, want)
	}
	for _, c := range []struct{ hook, body, code string }{
		{"unknown", "{}", events.CodeNoHook},
		{"wrong", "{}", events.CodeInvalid},
		{"broken", "{}", events.CodeError},
		{"crm", "[", events.CodeInvalid},
		{"crm", `{"attempt":"one"}`, events.CodeInvalid},
		{"crm", `{"reason":"` + strings.Repeat("x", 20_000) + `"}`, events.CodeInvalid},
	} {
		_, err := b.ask(hooks, c.hook, c.body)
		if !errors.Is(err, &events.Refused{Code: c.code}) || strings.Contains(err.Error(), "secret") {
			t.Errorf("report of %s %.30s = %v, want it refused as %s", c.hook, c.body, err, c.code)
		}
	}
}

func TestAcksAreToldAndTheEndIsOrderly(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	ran := make(chan struct{})
	s := &service{acked: make(chan string, 10), ended: func() { close(ran) }, report: func(string, events.HookFailed) (events.HookFailedReply, error) {
		return events.HookFailedReply{State: "dead"}, nil
	}}
	stop := b.run(s)
	if _, err := b.ask(b.connect(events.UserHooks), "crm", "{}"); err != nil { // it listens
		t.Fatal(err)
	}
	h := newHook(b, "crm")
	b.publish()
	if err := h.next().Ack(); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-s.acked:
		if got != "crm 1" {
			t.Errorf("acked = %q, want \"crm 1\"", got)
		}
	case <-time.After(10 * time.Second):
		t.Error("the ack was not told")
	}
	stop()
	select {
	case <-ran:
	default:
		t.Errorf("Run has ended before the service")
	}
}

// publish publishes an event.
func (b *bus) publish() events.Event {
	b.t.Helper()
	publisher, err := events.NewPublisher(b.connect(events.UserAPIEvents))
	if err != nil {
		b.t.Fatal(err)
	}
	e := events.New(events.IdentityCreated{IdentityID: uuid.NewString()}, time.Now(), events.About{Source: "/usher/test", Actor: "system:test"})
	payload, err := e.Encode()
	if err != nil {
		b.t.Fatal(err)
	}
	if ack := publisher.Publish(b.t.Context(), []events.Message{{ID: e.ID, Type: e.Type, Payload: payload}})[0]; ack.Err != nil {
		b.t.Fatal(ack.Err)
	}
	return e
}

// hook takes messages from a durable consumer.
type hook struct {
	t        *testing.T
	consumer jetstream.Consumer
}

func newHook(b *bus, name string) *hook {
	b.t.Helper()
	js, err := jetstream.New(b.connect(events.UserHooks))
	if err != nil {
		b.t.Fatal(err)
	}
	c, err := js.Consumer(b.t.Context(), events.Stream, name)
	if err != nil {
		b.t.Fatal(err)
	}
	return &hook{b.t, c}
}

func (h *hook) next() jetstream.Msg {
	h.t.Helper()
	m, err := h.consumer.Next(jetstream.FetchMaxWait(20 * time.Second))
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

func TestBusPublishesOnceToOneHookAndPausesIt(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	on, err := workerdelivery.NewBus(b.connect(events.UserDelivery))
	if err != nil {
		t.Fatal(err)
	}
	e := b.publish()
	r := delivery.Retry{Hook: "crm", EventID: e.ID, MessageID: "crm/" + e.ID + "/1.2", Attempt: 2, Payload: []byte("{}")}
	for range 2 {
		if seq, err := on.PublishRetry(t.Context(), r); seq != 2 || err != nil {
			t.Fatalf("PublishRetry = %d, %v, want 2", seq, err)
		}
	}
	crm := newHook(b, "crm")
	first, second := crm.next(), crm.next()
	if h := second.Headers(); h.Get(events.HeaderAttempt) != "2" || h.Get(events.HeaderEventID) != e.ID || second.Subject() != events.RetrySubject("crm") {
		t.Errorf("retry = %v on %s", second.Headers(), second.Subject())
	}
	all, err := on.Consumers(t.Context())
	if err != nil || len(all) != 2 || all["crm"].AckFloor != 0 {
		t.Fatalf("Consumers = %+v, %v", all, err)
	}
	for _, m := range []jetstream.Msg{first, second} {
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	if err := on.Pause(t.Context(), "crm", until); err != nil {
		t.Fatal(err)
	}
	if all, err = on.Consumers(t.Context()); err != nil || all["crm"].AckFloor != 2 || !all["crm"].PausedUntil.Equal(until) || !all["other"].PausedUntil.IsZero() {
		t.Errorf("Consumers = %+v, %v, want crm's floor at 2, paused until %v", all, err, until)
	}
	made := all["crm"].CreatedAt
	if err := on.Pause(t.Context(), "crm", time.Time{}); err != nil {
		t.Fatal(err)
	}
	if all, err = on.Consumers(t.Context()); err != nil || !all["crm"].CreatedAt.Equal(made) || time.Since(made) > time.Minute {
		t.Errorf("the consumer was made %v, then %v, %v, want it a moment ago and to stay", made, all["crm"].CreatedAt, err)
	}
	if !all["crm"].PausedUntil.IsZero() {
		t.Errorf("Consumers = %+v, %v, want none paused", all, err)
	}
	if m, _ := newHook(b, "other").consumer.FetchNoWait(10); m != nil {
		for got := range m.Messages() {
			if got.Subject() == events.RetrySubject("crm") {
				t.Errorf("another hook got the retry")
			}
		}
	}
}
