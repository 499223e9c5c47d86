package workers_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/events/natsserver"
	"github.com/usher-auth/usher/workers/internal/hookstest"
)

var discard = slog.New(slog.DiscardHandler)

// bus is a NATS server with the event stream, and connections to it with the
// rights that the parts of Usher have.
type bus struct {
	t      testing.TB // nil in examples
	dir    string
	keys   *events.Keys
	server *natsserver.Server
	url    string
	// hooks is what built-in workers use, parts are all connections.
	hooks *nats.Conn
	parts []*nats.Conn
	// provision manages the stream, api publishes.
	provision, api jetstream.JetStream
	// failed takes reports.
	failed *hookstest.Hooks
}

func newBus(t testing.TB) *bus {
	t.Helper()
	b, err := openBus(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b.t = t
	t.Cleanup(b.close)
	return b
}

func openBus(ctx context.Context, dir string) (*bus, error) {
	b := &bus{dir: dir}
	var err error
	if b.keys, err = events.LoadOrMakeKeys(filepath.Join(dir, "keys")); err != nil {
		return nil, err
	}
	if err := b.start(ctx, "127.0.0.1:-1"); err != nil {
		return nil, err
	}
	if err := b.open(ctx); err != nil {
		return nil, err
	}
	return b, b.startHooks(ctx)
}

// open connects the parts and makes the stream.
func (b *bus) open(ctx context.Context) error {
	provision, err := b.connect(ctx, events.UserProvision)
	if err != nil {
		return err
	}
	api, err := b.connect(ctx, events.UserAPIEvents)
	if err != nil {
		return err
	}
	if b.hooks, err = b.connect(ctx, events.UserHooks); err != nil {
		return err
	}
	if _, err := events.Provision(ctx, provision, events.StreamOptions{}, nil); err != nil {
		return err
	}
	if b.provision, err = jetstream.New(provision); err != nil {
		return err
	}
	b.api, err = jetstream.New(api)
	return err
}

// start starts the server, again after its Close with the address it had.
func (b *bus) start(ctx context.Context, listen string) error {
	config, err := b.keys.ServerConfig(events.ServerOptions{Listen: listen, StoreDir: filepath.Join(b.dir, "streams"), Name: "test"})
	if err != nil {
		return err
	}
	if b.server, err = natsserver.Start(ctx, config, natsserver.Options{Log: discard}); err != nil {
		return err
	}
	b.url = b.server.ClientURL()
	return nil
}

func (b *bus) connect(ctx context.Context, user string) (*nats.Conn, error) {
	credentials, err := b.keys.Credentials(user)
	if err != nil {
		return nil, err
	}
	nc, err := events.Connect(ctx, events.ConnectOptions{
		URL: b.url, Credentials: credentials, User: user, Name: "test", Log: discard,
	})
	if err == nil {
		b.parts = append(b.parts, nc)
	}
	return nc, err
}

// inside gives a connection within this process.
func (b *bus) inside(user string) *nats.Conn {
	b.t.Helper()
	credentials, err := b.keys.Credentials(user)
	if err != nil {
		b.t.Fatal(err)
	}
	nc, err := events.Connect(b.t.Context(), events.ConnectOptions{InProcess: b.server, Credentials: credentials, User: user, Name: "test", Log: discard})
	if err != nil {
		b.t.Fatal(err)
	}
	b.parts = append(b.parts, nc)
	return nc
}

func (b *bus) close() {
	b.failed.End()
	for _, nc := range b.parts {
		nc.Close()
	}
	b.server.Close()
}

// durable makes the durable consumer of a worker.
func (b *bus) durable(name string, ackWait time.Duration) {
	b.t.Helper()
	if err := b.makeDurable(b.t.Context(), name, ackWait); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bus) makeDurable(ctx context.Context, name string, ackWait time.Duration) error {
	_, err := b.provision.CreateConsumer(ctx, events.Stream, jetstream.ConsumerConfig{
		Durable: name, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait,
		FilterSubjects: []string{events.EventPrefix + ">", events.RetrySubject(name)}, MaxAckPending: 10_000,
	})
	return err
}

// publish publishes one identity.created per identity schema.
func (b *bus) publish(schemas ...string) []events.Event {
	b.t.Helper()
	all := make([]events.Event, len(schemas))
	for n, schema := range schemas {
		all[n] = newEvent(schema)
		if data, err := all[n].Encode(); err == nil {
			eventstest.Validate(b.t, data)
		}
		if err := b.publishEvent(b.t.Context(), all[n]); err != nil {
			b.t.Fatal(err)
		}
	}
	return all
}

// newEvent makes an identity.created; tests tell events apart by their schema.
func newEvent(schema string) events.Event {
	id := uuid.NewString()
	return events.New(
		events.IdentityCreated{IdentityID: id, SchemaID: schema, State: "active", Method: "password"}, time.Now(),
		events.About{Source: "/usher/registration", Subject: id, Actor: "person:" + id, RequestID: "request-1"},
	)
}

func (b *bus) publishEvent(ctx context.Context, e events.Event) error {
	data, err := e.Encode()
	if err != nil {
		return err
	}
	_, err = b.api.Publish(ctx, events.Subject(e.Type), data, jetstream.WithMsgID(e.ID))
	return err
}

func (b *bus) publishRaw(data string) {
	b.t.Helper()
	if _, err := b.api.Publish(b.t.Context(), events.Subject("identity.created"), []byte(data), jetstream.WithMsgID(uuid.NewString())); err != nil {
		b.t.Fatal(err)
	}
}

// info asks for the state of a durable consumer.
func (b *bus) info(name string) *jetstream.ConsumerInfo {
	b.t.Helper()
	c, err := b.provision.Consumer(b.t.Context(), events.Stream, name)
	if err != nil {
		b.t.Fatal(err)
	}
	return c.CachedInfo()
}

// settled wants nothing to be left of a durable's messages.
func (b *bus) settled(name string) {
	b.t.Helper()
	if i := b.info(name); i.NumAckPending != 0 || i.NumPending != 0 {
		b.t.Errorf("durable %s: %d ack pending, %d pending, want 0, 0", name, i.NumAckPending, i.NumPending)
	}
}

// exampleBus is a bus with the durable of one worker and one event for each
// identity schema.
func exampleBus(worker string, schemas ...string) (*bus, func()) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "usher-workers-")
	if err != nil {
		panic(err)
	}
	b, err := openBus(ctx, dir)
	if err == nil {
		err = b.makeDurable(ctx, worker, time.Minute)
	}
	for _, schema := range schemas {
		if err == nil {
			err = b.publishEvent(ctx, newEvent(schema))
		}
	}
	if err != nil {
		panic(errors.Join(err, os.RemoveAll(dir)))
	}
	return b, func() {
		b.close()
		_ = os.RemoveAll(dir)
	}
}
