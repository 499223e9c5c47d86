package relay_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/events/natsserver"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/relay"
	"github.com/usher-auth/usher/services/store"
)

// realBus is a server that can be stopped and started again.
type realBus struct {
	tb     testing.TB
	dir    string
	listen string
	keys   *events.Keys
	server *natsserver.Server
	log    *slog.Logger
}

func newRealBus(tb testing.TB) *realBus {
	tb.Helper()
	dir := tb.TempDir()
	keys, err := events.LoadOrMakeKeys(filepath.Join(dir, "keys"))
	if err != nil {
		tb.Fatal(err)
	}
	b := &realBus{tb: tb, dir: dir, listen: "127.0.0.1:-1", keys: keys, log: slog.New(slog.DiscardHandler)}
	b.start()
	tb.Cleanup(func() { b.server.Close() })
	if _, err := events.Provision(tb.Context(), b.connect(events.UserProvision), events.StreamOptions{}, nil); err != nil {
		tb.Fatal(err)
	}
	return b
}

// start starts the server, each time at the same address.
func (b *realBus) start() {
	b.tb.Helper()
	config, err := b.keys.ServerConfig(events.ServerOptions{Listen: b.listen, StoreDir: filepath.Join(b.dir, "store"), Name: "test"})
	if err != nil {
		b.tb.Fatal(err)
	}
	if b.server, err = natsserver.Start(context.WithoutCancel(b.tb.Context()), config, natsserver.Options{Log: b.log}); err != nil {
		b.tb.Fatal(err)
	}
	u, err := url.Parse(b.server.ClientURL())
	if err != nil {
		b.tb.Fatal(err)
	}
	b.listen = u.Host
}

func (b *realBus) connect(user string) *nats.Conn {
	b.tb.Helper()
	creds, err := b.keys.Credentials(user)
	if err != nil {
		b.tb.Fatal(err)
	}
	nc, err := events.Connect(b.tb.Context(), events.ConnectOptions{
		URL: b.server.ClientURL(), Credentials: creds, User: user, Name: user, Log: b.log,
	})
	if err != nil {
		b.tb.Fatal(err)
	}
	b.tb.Cleanup(nc.Close)
	return nc
}

func newRealStore(tb testing.TB) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), store.Options{DataDir: tb.TempDir(), CipherSecrets: []string{"a secret of at least 32 characters"}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return s
}

// TestRealStreamAndStore commits events of several identities at the same time
// while the bus is stopped and started: in the end the stream has each, the log
// has each once with its place in the stream, in order for each identity, and
// the chain of hashes is whole.
func TestRealStreamAndStore(t *testing.T) {
	t.Parallel()
	bus, db := newRealBus(t), newRealStore(t)
	publisher, err := events.NewPublisher(bus.connect(events.UserAPIEvents))
	if err != nil {
		t.Fatal(err)
	}
	kick := make(chan struct{}, 1)
	r := relay.Relay{
		Store: db, Publisher: publisher, Lead: db.Lead, Kick: kick,
		Log: bus.log, Poll: 50 * time.Millisecond, Window: 16, Gather: time.Millisecond,
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()

	const identities, each = 4, 60
	var committing sync.WaitGroup
	for range identities {
		committing.Go(func() {
			id := uuid.NewString()
			for n := range each {
				e := refused(id, fmt.Sprint("n", n))
				if err := db.Append(t.Context(), e); err != nil {
					t.Errorf("Append: %v", err)
				}
				select {
				case kick <- struct{}{}:
				default:
				}
			}
		})
	}
	bus.server.Close()
	bus.start()
	committing.Wait()

	var log []audit.Record
	for deadline := time.Now().Add(30 * time.Second); len(log) < identities*each && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if log, err = db.Events(t.Context(), audit.Query{Limit: 1000}); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	checkLog(t, bus, log, identities*each)
}

// refused is an event of an identity.
func refused(id, reason string) events.Event {
	return events.New(events.SessionRefused{IdentityID: id, FlowID: uuid.NewString(), Reason: reason}, time.Now(),
		events.About{Source: "/usher/registration", Subject: id, Actor: "client"})
}

func checkLog(t *testing.T, bus *realBus, log []audit.Record, want int) {
	t.Helper()
	if len(log) != want {
		t.Fatalf("the event log has %d events, want %d", len(log), want)
	}
	js, err := jetstream.New(bus.connect(events.UserProvision))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), events.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().State.Msgs; got != uint64(want) {
		t.Errorf("the stream has %d events, want %d", got, want)
	}
	var former audit.Hash
	inLog, inStream := map[string]int{}, map[string]uint64{}
	for n, r := range log {
		if r.Seq != int64(n+1) || r.Former != former || r.Hash != audit.Next(former, r.Payload) {
			t.Errorf("record %d is not bound to the one before it", r.Seq)
		}
		former = r.Hash
		eventstest.Validate(t, r.Payload)
		e, err := events.Decode(r.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if reason := fmt.Sprintf(`"reason":"n%d"`, inLog[r.Subject]); !bytes.Contains(e.Data, []byte(reason)) {
			t.Errorf("record %d of %s is %s, want %s", r.Seq, r.Subject, e.Data, reason)
		}
		inLog[r.Subject]++
		if r.StreamSeq <= inStream[r.Subject] {
			t.Errorf("event %s of %s is before a former one in the stream", e.ID, r.Subject)
		}
		inStream[r.Subject] = r.StreamSeq
		m, err := stream.GetMsg(t.Context(), r.StreamSeq)
		if err != nil || m.Header.Get(jetstream.MsgIDHeader) != r.EventID || !slices.Equal(m.Data, r.Payload) {
			t.Errorf("the stream has at %d another event than the log says: %v", r.StreamSeq, err)
		}
	}
}

// BenchmarkRelay empties an outbox of 256 events.
func BenchmarkRelay(b *testing.B) {
	bus, db := newRealBus(b), newRealStore(b)
	publisher, err := events.NewPublisher(bus.connect(events.UserAPIEvents))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		const waiting = 256
		id := ""
		for n := range waiting {
			if n%2 == 0 { // as registrations have it: two events of each identity
				id = uuid.NewString()
			}
			e := refused(id, "late")
			if err := db.Append(b.Context(), e); err != nil {
				b.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(b.Context())
		done := 0
		r := relay.Relay{Store: db, Publisher: publisher, Lead: db.Lead, Log: bus.log, Observe: func(s relay.Stats) {
			if done += s.Published; done == waiting {
				cancel()
			}
		}}
		b.StartTimer()
		if err := r.Run(ctx); err != nil {
			b.Fatal(err)
		}
		cancel()
	}
}
