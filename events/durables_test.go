package events_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"github.com/usher-auth/usher/events"
)

// stateOf is the state of a durable, as the hooks service sees it.
func stateOf(t *testing.T, b *bus, name string) events.DurableState {
	t.Helper()
	all, err := events.Durables(t.Context(), b.connect(events.UserDelivery))
	if err != nil {
		t.Fatal(err)
	}
	n := slices.IndexFunc(all, func(s events.DurableState) bool { return s.Name == name })
	if n < 0 {
		t.Fatalf("Durables() = %+v, want %s among them", all, name)
	}
	return all[n]
}

func TestDurablesTellHowFarTheyAre(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.provision(events.StreamOptions{}, declared...)
	fresh := stateOf(t, b, "crm-sync")
	if fresh != (events.DurableState{Name: "crm-sync", CreatedAt: fresh.CreatedAt}) || time.Since(fresh.CreatedAt) > time.Minute {
		t.Errorf("state of a fresh durable = %+v, want nothing but its name and that it was made just now", fresh)
	}
	five := messages(1, 5)
	publish(t, b, five[:3]...)
	hooks, err := jetstream.New(b.connect(events.UserHooks))
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := hooks.Consumer(t.Context(), events.Stream, "crm-sync")
	if err != nil {
		t.Fatal(err)
	}
	var got []jetstream.Msg
	for range 3 {
		m, err := consumer.Next()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	if err := got[0].DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := got[1].Nak(); err != nil {
		t.Fatal(err)
	}
	if _, err := consumer.Next(); err != nil { // the second again
		t.Fatal(err)
	}
	publish(t, b, five[3:]...) // not before: the bus takes a nak in its own time
	s := stateOf(t, b, "crm-sync")
	if s.DeliveredAt.IsZero() || time.Since(s.DeliveredAt) > time.Minute {
		t.Errorf("last delivery at %v, want just now", s.DeliveredAt)
	}
	want := events.DurableState{Name: "crm-sync", CreatedAt: fresh.CreatedAt, Pending: 2, AckPending: 2, Redelivered: 1, Delivered: 3, AckFloor: 1}
	if s.DeliveredAt = (time.Time{}); s != want {
		t.Errorf("state = %+v, want %+v", s, want)
	}
	if s := stateOf(t, b, "audit"); s.Pending != 5 {
		t.Errorf("the other durable = %+v, want 5 pending", s)
	}
}

func TestPauseDurable(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.provision(events.StreamOptions{}, declared...)
	delivery := b.connect(events.UserDelivery)
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	for _, until := range []time.Time{until, until.Add(time.Hour), {}} {
		if err := events.PauseDurable(t.Context(), delivery, "crm-sync", until); err != nil {
			t.Fatal(err)
		}
		if got := stateOf(t, b, "crm-sync").PausedUntil; !got.Equal(until) {
			t.Errorf("PauseDurable until %v: paused until %v", until, got)
		}
	}
	for _, name := range []string{"nobody", "a.b", ""} {
		err := events.PauseDurable(t.Context(), delivery, name, until)
		if err == nil || errors.Is(err, events.ErrNoDurable) != (name == "nobody") {
			t.Errorf("PauseDurable(%q) = %v, want an error, ErrNoDurable if there is none", name, err)
		}
	}
}

// TestARemovedDurableIsProvisionedAgain: somebody deletes it by hand.
func TestARemovedDurableIsProvisionedAgain(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	js := b.provision(events.StreamOptions{}, declared...)
	publish(t, b, messages(1, 3)...)
	if err := js.DeleteConsumer(t.Context(), events.Stream, "crm-sync"); err != nil {
		t.Fatal(err)
	}
	changes, err := provision(t, b, events.StreamOptions{}, declared)
	if want := []string{"created durable consumer crm-sync"}; !slices.Equal(changes, want) || err != nil {
		t.Errorf("Provision = %q, %v, want %q", changes, err, want)
	}
	if s := stateOf(t, b, "crm-sync"); s.Pending != 3 {
		t.Errorf("the new durable = %+v, want it to start with the oldest event", s)
	}
}

// TestARemovedWorkerIsPowerless: its credential is good for another while, and
// for nothing.
func TestARemovedWorkerIsPowerless(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.provision(events.StreamOptions{}, events.Durable{Name: "crm", Types: []string{"identity.created"}})
	publish(t, b, messages(1, 2)...)
	nc := b.connectTCP("crm")
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	own, err := js.Consumer(t.Context(), events.Stream, "crm")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := own.Next(); err != nil {
		t.Fatal(err)
	}
	provisioner := b.connect(events.UserProvision)
	for range 2 { // again changes nothing
		if err := events.RemoveDurable(t.Context(), provisioner, "crm"); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := own.Next(jetstream.FetchMaxWait(300 * time.Millisecond)); err == nil {
		t.Errorf("Next() after the removal = %s, want nothing", m.Data())
	}
	for name, at := range map[string]func(context.Context) error{
		"look at it": func(ctx context.Context) error { _, err := js.Consumer(ctx, events.Stream, "crm"); return err },
		"make it anew": func(ctx context.Context) error {
			_, err := js.CreateConsumer(ctx, events.Stream, jetstream.ConsumerConfig{Durable: "crm"})
			return err
		},
		"read the stream": func(ctx context.Context) error {
			_, err := nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+events.Stream, []byte(`{"seq":1}`))
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if err := at(ctx); err == nil {
			t.Errorf("a removed worker may %s", name)
		}
		cancel()
	}
}

func TestARetryReachesOneHook(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	js := b.provision(events.StreamOptions{}, declared...)
	p, err := events.NewPublisher(b.connect(events.UserDelivery))
	if err != nil {
		t.Fatal(err)
	}
	var seqs []uint64
	for range 2 { // again stores nothing
		seq, err := p.PublishRetry(t.Context(), events.Retry{
			Hook: "crm-sync", EventID: "id-1", MessageID: "crm-sync/id-1/1.2", Attempt: 2, Payload: []byte(`{"id":"id-1"}`),
		})
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, seq)
	}
	if !slices.Equal(seqs, []uint64{1, 1}) || stored(t, js) != 1 {
		t.Errorf("PublishRetry twice = %v, %d stored, want one message", seqs, stored(t, js))
	}
	if crm, audit := stateOf(t, b, "crm-sync"), stateOf(t, b, "audit"); crm.Pending != 1 || audit.Pending != 0 {
		t.Errorf("pending: %d for the hook and %d for another, want 1 and 0", crm.Pending, audit.Pending)
	}
	stream, err := js.Stream(t.Context(), events.Stream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Nats-Msg-Id": "crm-sync/id-1/1.2", "Usher-Event-Id": "id-1", "Usher-Attempt": "2", "Content-Type": "application/cloudevents+json",
		"Usher-Deadline": "", // none
	} {
		if got := m.Header.Get(name); got != want || m.Subject != "usher.hook.v1.crm-sync.retry" || string(m.Data) != `{"id":"id-1"}` {
			t.Errorf("retry %s %s: header %s = %q, want %q", m.Subject, m.Data, name, got, want)
		}
	}
	if _, err := p.PublishRetry(t.Context(), events.Retry{Hook: "*", EventID: "id-1", MessageID: "x", Attempt: 2}); err == nil {
		t.Error("PublishRetry to hook * = nil error, want it refused")
	}
}

// A check says until when somebody waits for it.
func TestARetryMayHaveADeadline(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	js := b.provision(events.StreamOptions{}, declared...)
	p, err := events.NewPublisher(b.connect(events.UserDelivery))
	if err != nil {
		t.Fatal(err)
	}
	seq, err := p.PublishRetry(t.Context(), events.Retry{
		Hook: "crm-sync", EventID: "id-1", MessageID: "crm-sync/id-1/check.0", Attempt: 1, Deadline: time.UnixMilli(1234), Payload: []byte("no JSON"),
	})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), events.Stream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetMsg(t.Context(), seq)
	if err != nil || m.Subject != "usher.hook.v1.crm-sync.retry" || m.Header.Get("Usher-Deadline") != "1234" || m.Header.Get("Usher-Event-Id") != "id-1" || m.Header.Get("Usher-Attempt") != "1" {
		t.Errorf("check = %+v, %v", m, err)
	}
}

// TestInstances: each program is seen under the name that the bus lets it have.
func TestInstances(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.provision(events.StreamOptions{}, declared...)
	for _, version := range []string{"1.0.0", "1.1.0"} {
		nc := b.connect(events.UserHooks)
		service, err := micro.AddService(nc, micro.Config{
			Name: "crm-sync", Version: version, StatsHandler: func(*micro.Endpoint) any { return map[string]int64{"done": 7} },
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := service.AddEndpoint("events", micro.HandlerFunc(func(micro.Request) {}), micro.WithEndpointSubject("_INBOX_hooks.x"+version)); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = service.Stop() }()
		flush(t, nc)
	}
	found, err := events.Instances(t.Context(), b.connect(events.UserAdminEvents), []string{"crm-sync", "nobody"}, 500*time.Millisecond)
	if got := found["crm-sync"]; err != nil || len(got) != 2 || got[0].ID == got[1].ID || got[0].Started.IsZero() || got[1].Counts["done"] != 7 || got[1].RoundTrip <= 0 || len(found) != 1 {
		t.Errorf("Instances = %+v, %v, want two of crm-sync", found, err)
	}
	rude := b.connect(events.UserHooks)
	if _, err := rude.Subscribe("$SRV.STATS.mail", func(m *nats.Msg) {
		_ = m.Respond([]byte(`{"id":"x\u001b[2J","version":"1.0.0\u001b[31m` + strings.Repeat("9", 1000) + `","endpoints":[{"data":{"done":"many"}}]}`))
	}); err != nil {
		t.Fatal(err)
	}
	flush(t, rude)
	found, err = events.Instances(t.Context(), b.connect(events.UserAdminEvents), []string{"mail"}, 500*time.Millisecond)
	if got := found["mail"]; err != nil || len(got) != 1 || strings.Contains(got[0].ID+got[0].Version, "\x1b") || len(got[0].Version) > 250 || len(got[0].Counts) > 0 {
		t.Errorf("Instances = %+v, %v, want one that a terminal can show", found, err)
	}
	if _, err := events.Instances(t.Context(), b.connect(events.UserAdminEvents), []string{"*"}, time.Second); err == nil {
		t.Error("Instances of * = nil error, want it refused")
	}
}

func TestAckSamples(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.provision(events.StreamOptions{}, declared...)
	publish(t, b, messages(1, 2)...)
	type sample struct {
		durable    string
		seq        uint64
		deliveries int
	}
	samples := make(chan sample, 8)
	delivery := b.connectTCP(events.UserDelivery)
	sub, err := events.AckSamples(delivery, func(durable string, seq uint64, deliveries int) { samples <- sample{durable, seq, deliveries} })
	if err != nil {
		t.Fatal(err)
	}
	flush(t, delivery)
	hooks := b.connectTCP(events.UserHooks)
	js, err := jetstream.New(hooks)
	if err != nil {
		t.Fatal(err)
	}
	// What others have the bus send to the subject is no sample.
	for _, from := range []string{"$JS.API.CONSUMER.INFO." + events.Stream + ".audit", "$JS.API.CONSUMER.MSG.NEXT." + events.Stream + ".audit"} {
		if err := hooks.PublishRequest(from, "$JS.EVENT.METRIC.CONSUMER.ACK."+events.Stream+".audit", nil); err != nil {
			t.Fatal(err)
		}
	}
	consumer, err := js.Consumer(t.Context(), events.Stream, "crm-sync")
	if err != nil {
		t.Fatal(err)
	}
	for n, settle := range []func(jetstream.Msg) error{
		func(m jetstream.Msg) error { return m.DoubleAck(t.Context()) },
		jetstream.Msg.Nak,
		func(m jetstream.Msg) error { return m.DoubleAck(t.Context()) },
	} {
		m, err := consumer.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := settle(m); err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
	}
	for _, want := range []sample{{"crm-sync", 1, 1}, {"crm-sync", 2, 2}} {
		if got := <-samples; got != want {
			t.Errorf("sample %+v, want %+v", got, want)
		}
	}
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	if len(samples) > 0 {
		t.Errorf("%d samples more, want none of a nak or of others", len(samples))
	}
}

// TestSharedAcksAreToldOnce: of two processes one is told of each, with its times.
func TestSharedAcksAreToldOnce(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.provision(events.StreamOptions{}, declared...)
	const all = 20
	published := messages(1, all)
	publish(t, b, published...)
	told := make(chan events.Acked, 3*all)
	for range 2 {
		nc := b.connectTCP(events.UserDelivery)
		if _, err := events.ShareAcks(nc, func(a events.Acked) { told <- a }); err != nil {
			t.Fatal(err)
		}
		flush(t, nc)
	}
	js, err := jetstream.New(b.connectTCP(events.UserHooks))
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.Consumer(t.Context(), events.Stream, "crm-sync")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]bool{}
	for range all {
		m, err := consumer.Next()
		if err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
		a := <-told
		if a.Durable != "crm-sync" || a.Deliveries != 1 || seen[a.StreamSeq] || a.Took <= 0 || a.At.Before(before.Add(-time.Second)) {
			t.Errorf("ack %+v, want each once, with its times", a)
		}
		seen[a.StreamSeq] = true
	}
	if len(told) > 0 {
		t.Errorf("%d acks were told twice", len(told))
	}
}

func TestOnlyWhoMaySeesDurables(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.provision(events.StreamOptions{}, declared...)
	if _, err := events.Durables(t.Context(), b.connect(events.UserProvision)); err != nil {
		t.Errorf("Durables() of the provisioner = %v", err)
	}
	if err := events.RemoveDurable(t.Context(), b.connect(events.UserProvision), "a.b"); err == nil || !strings.Contains(err.Error(), "a.b") {
		t.Errorf("RemoveDurable(a.b) = %v, want it refused by name", err)
	}
}
