package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/storetest"
	"github.com/usher-auth/usher/services/timeline"
)

// watchedBus is a bus with the durable consumer "crm".
type watchedBus struct {
	tb      testing.TB
	connect func(user string) *nats.Conn
}

func newWatchedBus(tb testing.TB) watchedBus {
	tb.Helper()
	dir := tb.TempDir()
	keys, err := events.LoadOrMakeKeys(filepath.Join(dir, "keys"))
	if err != nil {
		tb.Fatal(err)
	}
	config, err := keys.ServerConfig(events.ServerOptions{Listen: "127.0.0.1:-1", StoreDir: filepath.Join(dir, "streams"), Name: "test"})
	if err != nil {
		tb.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	server, err := natsserver.Start(tb.Context(), config, natsserver.Options{Log: quiet})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(server.Close)
	b := watchedBus{tb, func(user string) *nats.Conn {
		credentials, err := keys.Credentials(user)
		if err != nil {
			tb.Fatal(err)
		}
		nc, err := events.Connect(tb.Context(), events.ConnectOptions{InProcess: server, Credentials: credentials, User: user, Name: "test", Log: quiet})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(nc.Close)
		return nc
	}}
	crm := events.Durable{Name: "crm", Types: []string{"identity.created"}}
	if _, err := events.Provision(tb.Context(), b.connect(events.UserProvision), events.StreamOptions{}, []events.Durable{crm}); err != nil {
		tb.Fatal(err)
	}
	return b
}

// publish publishes events.
func (b watchedBus) publish(count int) {
	b.tb.Helper()
	publisher, err := events.NewPublisher(b.connect(events.UserAPIEvents))
	if err != nil {
		b.tb.Fatal(err)
	}
	var messages []events.Message
	for range count {
		id := uuid.NewString()
		messages = append(messages, events.Message{ID: id, Type: "identity.created", Payload: []byte(`{"id":"` + id + `"}`)})
	}
	for _, ack := range publisher.Publish(b.tb.Context(), messages) {
		if ack.Err != nil {
			b.tb.Fatal(ack.Err)
		}
	}
}

// worker takes events and acks them.
type watchedWorker struct {
	tb       testing.TB
	consumer jetstream.Consumer
}

func (b watchedBus) worker() watchedWorker {
	b.tb.Helper()
	js, err := jetstream.New(b.connect(events.UserHooks))
	if err != nil {
		b.tb.Fatal(err)
	}
	c, err := js.Consumer(b.tb.Context(), events.Stream, "crm")
	if err != nil {
		b.tb.Fatal(err)
	}
	return watchedWorker{b.tb, c}
}

func (w watchedWorker) ack(count int) {
	w.tb.Helper()
	batch, err := w.consumer.Fetch(count, jetstream.FetchMaxWait(20*time.Second))
	if err != nil {
		w.tb.Fatal(err)
	}
	for m := range batch.Messages() {
		count--
		if err := m.Ack(); err != nil {
			w.tb.Fatal(err)
		}
	}
	if count != 0 {
		w.tb.Fatalf("%d events did not come", count)
	}
}

// kept is a store of deliveries.
type kept struct {
	mu    sync.Mutex
	all   map[string]timeline.Delivery
	count int
	err   error
}

func (k *kept) SaveDeliveries(_ context.Context, seen []timeline.Delivery, _ int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return k.err
	}
	if k.all == nil {
		k.all = map[string]timeline.Delivery{}
	}
	for _, d := range seen {
		k.all[fmt.Sprint(d.Hook, d.StreamSeq)] = d
		k.count++
	}
	return nil
}

// TestDeliveriesAreKeptOnce: of two processes, whoever sees an ack, and what was
// seen last is kept at the end.
func TestDeliveriesAreKeptOnce(t *testing.T) {
	t.Parallel()
	b := newWatchedBus(t)
	var k kept
	ctx, cancel := context.WithCancel(t.Context())
	var both sync.WaitGroup
	var watching []*deliveries
	for range 2 {
		d, nc := newDeliveries(&k, slog.New(slog.DiscardHandler)), b.connect(events.UserDelivery)
		watching = append(watching, d)
		both.Go(func() {
			if err := d.run(ctx, nc); err != nil {
				t.Error(err)
			}
		})
		for nc.NumSubscriptions() == 0 {
			time.Sleep(time.Millisecond)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	const all = 100
	b.publish(all)
	b.worker().ack(all)
	seen := func() int {
		k.mu.Lock()
		n := k.count
		k.mu.Unlock()
		for _, d := range watching {
			d.mu.Lock()
			n += len(d.seen)
			d.mu.Unlock()
		}
		return n
	}
	for until := time.Now().Add(10 * time.Second); seen() < all && time.Now().Before(until); {
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	both.Wait()
	if len(k.all) != all || k.count != all {
		t.Fatalf("kept are %d deliveries of %d messages, want %d once", k.count, len(k.all), all)
	}
	if d := k.all["crm1"]; d.Deliveries != 1 || d.AckedAt.IsZero() || d.Took <= 0 || d.EventID != "" {
		t.Errorf("the first is %+v, want its ack with its times", d)
	}
}

// publishing is a publisher whose stream gives the sequence 41.
type publishing struct{ err error }

func (p publishing) PublishRetry(context.Context, delivery.Retry) (uint64, error) { return 41, p.err }

// TestRetriesAreKnownByTheirEvent: the ack of a retry names only its place in the stream.
func TestRetriesAreKnownByTheirEvent(t *testing.T) {
	t.Parallel()
	var k kept
	d := newDeliveries(&k, slog.New(slog.DiscardHandler))
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	now := func() time.Time { return at }
	retry := delivery.Retry{Hook: "crm", EventID: "e", Attempt: 2}
	check := retry
	check.Deadline = at
	for _, p := range []struct {
		publisher delivery.Publisher
		retry     delivery.Retry
	}{{publishing{errors.New("the bus is away")}, retry}, {publishing{}, check}, {publishing{}, retry}} {
		_, _ = noting{p.publisher, d, now}.PublishRetry(t.Context(), p.retry)
	}
	d.acked(events.Acked{Durable: "crm", StreamSeq: 41, Deliveries: 1, At: at.Add(time.Second), Took: time.Millisecond})
	d.keep(t.Context())
	want := timeline.Delivery{Hook: "crm", StreamSeq: 41, EventID: "e", Attempt: 2, PublishedAt: at, Deliveries: 1, AckedAt: at.Add(time.Second), Took: time.Millisecond}
	if got := k.all["crm41"]; k.count != 1 || got != want {
		t.Errorf("kept %+v, want %+v alone", k.all, want)
	}
}

// TestDeliveriesAreBoundedInMemory: whether the database takes them or not.
func TestDeliveriesAreBoundedInMemory(t *testing.T) {
	t.Parallel()
	k := kept{err: errors.New("the database is away")}
	d := newDeliveries(&k, slog.New(slog.DiscardHandler))
	for range 2 {
		for n := range 3 * maxSeen {
			d.acked(events.Acked{Durable: "crm", StreamSeq: uint64(n)})
		}
		if len(d.seen) != maxSeen {
			t.Errorf("%d deliveries in memory, want %d", len(d.seen), maxSeen)
		}
		d.keep(t.Context())
		if len(d.seen) != 0 {
			t.Errorf("%d deliveries wait for a database that is away, want none", len(d.seen))
		}
	}
}

// BenchmarkDeliveries is what a thousand acks cost, in CPU of this whole process
// (the worker, the bus and who watches), watched and not.
func BenchmarkDeliveries(b *testing.B) {
	for _, c := range []struct {
		name    string
		watched bool
		dsn     func() string
	}{
		{"unwatched", false, func() string { return "memory" }},
		{"sqlite", true, func() string { return "memory" }},
		{"postgres", true, func() string { return storetest.PostgreSQL(b) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			st, err := store.Open(b.Context(), store.Options{DSN: c.dsn(), CipherSecrets: []string{storetest.Secret}})
			if err != nil {
				b.Fatal(err)
			}
			defer st.Close()
			if err := st.Migrate(b.Context()); err != nil {
				b.Fatal(err)
			}
			benchDeliveries(b, st, c.watched)
		})
	}
}

func benchDeliveries(b *testing.B, st *store.Store, watched bool) {
	const acks = 1000
	bus := newWatchedBus(b)
	d := newDeliveries(st, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(b.Context())
	var end sync.WaitGroup
	defer end.Wait()
	defer cancel()
	if watched {
		nc := bus.connect(events.UserDelivery)
		end.Go(func() { _ = d.run(ctx, nc) })
	}
	w := bus.worker()
	var spent time.Duration
	for b.Loop() {
		b.StopTimer()
		bus.publish(acks)
		b.StartTimer()
		before := cpu()
		w.ack(acks)
		time.Sleep(100 * time.Millisecond) // the samples come behind the acks
		d.keep(ctx)
		spent += cpu() - before
	}
	b.ReportMetric(float64(spent.Microseconds())/1000/float64(b.N), "cpu-ms/1000acks")
}

// cpu is what this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
