package webhook_test

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/events/natsserver"
	"github.com/usher-auth/usher/workers/internal/hookstest"
)

// nobody stands where the id of an identity should be.
const nobody = "nobody"

var discard = slog.New(slog.DiscardHandler)

// bus is a NATS server with the event stream.
type bus struct {
	t                *testing.T
	hooks, provision *nats.Conn
	api              jetstream.JetStream
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
	connect := func(user string) *nats.Conn {
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
	}
	b := &bus{t: t, hooks: connect(events.UserHooks), provision: connect(events.UserProvision)}
	b.declare()
	if b.api, err = jetstream.New(connect(events.UserAPIEvents)); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(b.provision)
	if err != nil {
		t.Fatal(err)
	}
	hooks, err := hookstest.Start(t.Context(), connect(events.UserDelivery), js)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hooks.End)
	return b
}

// declare provisions the stream and the durable consumers of endpoints.
func (b *bus) declare(endpoints ...string) {
	b.t.Helper()
	var durables []events.Durable
	for _, name := range endpoints {
		durables = append(durables, events.Durable{Name: name, Types: []string{"identity.created", "login.succeeded", "address.verified", "identity.updated"}})
	}
	if _, err := events.Provision(b.t.Context(), b.provision, events.StreamOptions{}, durables); err != nil {
		b.t.Fatal(err)
	}
}

// publish publishes an event once before was told its id.
func (b *bus) publish(p events.Payload, before func(id string)) events.Event {
	b.t.Helper()
	e := events.New(p, time.Now(), events.About{Source: "/usher/registration", Actor: "client"})
	before(e.ID)
	data, err := e.Encode()
	if err != nil {
		b.t.Fatal(err)
	}
	if created, ok := p.(events.IdentityCreated); !ok || created.IdentityID != nobody {
		eventstest.Validate(b.t, data)
	}
	if _, err := b.api.PublishMsg(b.t.Context(), &nats.Msg{Subject: events.Subject(e.Type), Data: data, Header: nats.Header{events.HeaderEventID: {e.ID}}}); err != nil {
		b.t.Fatal(err)
	}
	return e
}
