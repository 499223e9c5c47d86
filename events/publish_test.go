package events_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
)

// message is the n-th of different events.
func message(n int) events.Message {
	return events.Message{ID: fmt.Sprintf("id-%d", n), Type: "identity.created", Payload: fmt.Appendf(nil, `{"n":%d}`, n)}
}

func messages(from, to int) (list []events.Message) {
	for n := from; n <= to; n++ {
		list = append(list, message(n))
	}
	return list
}

// publish publishes as the relay does, and fails on any error.
func publish(tb testing.TB, b *bus, m ...events.Message) []events.Ack {
	tb.Helper()
	p, err := events.NewPublisher(b.connect(events.UserAPIEvents))
	if err != nil {
		tb.Fatal(err)
	}
	acks := p.Publish(context.Background(), m)
	for n, a := range acks {
		if a.Err != nil {
			tb.Fatalf("Publish(%s) = %v", m[n].ID, a.Err)
		}
	}
	return acks
}

func stored(tb testing.TB, js jetstream.JetStream) uint64 {
	tb.Helper()
	s, err := js.Stream(context.Background(), events.Stream)
	if err != nil {
		tb.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

func TestPublishStoresInOrderWithHeaders(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	js := b.provision(events.StreamOptions{})
	list := messages(1, 100)
	list[0].TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for n, a := range publish(t, b, list...) {
		if a.StreamSeq != uint64(n+1) {
			t.Fatalf("Publish: message %d has stream sequence %d, want %d", n, a.StreamSeq, n+1)
		}
	}
	stream, err := js.Stream(t.Context(), events.Stream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject != "usher.evt.v1.identity.created" || string(m.Data) != `{"n":1}` {
		t.Errorf("stored %s on %s, want the payload as it was on the type's subject", m.Data, m.Subject)
	}
	for name, want := range map[string]string{
		"Nats-Msg-Id":          "id-1",
		"Content-Type":         "application/cloudevents+json",
		"traceparent":          list[0].TraceParent,
		"Nats-Expected-Stream": "USHER_EVENTS",
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("header %s = %q, want %q", name, got, want)
		}
	}
	if m, err := stream.GetMsg(t.Context(), 2); err != nil || m.Header.Values("traceparent") != nil {
		t.Errorf("headers of an event without a trace = %v, %v, want no traceparent", m.Header, err)
	}
}

// TestAnEventIsStoredOnce publishes again what a relay would that was killed
// between the acknowledgement and its commit, also after the bus was restarted.
func TestAnEventIsStoredOnce(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.provision(events.StreamOptions{})
	first := publish(t, b, messages(1, 20)...)
	for round := range 2 {
		for n, again := range publish(t, b, messages(1, 20)...) {
			if again != first[n] {
				t.Errorf("round %d: Publish again of %d = %+v, want %+v", round, n, again, first[n])
			}
		}
		if n := stored(t, b.provision(events.StreamOptions{})); n != 20 {
			t.Errorf("round %d: the stream holds %d events, want 20", round, n)
		}
		b.server.Close()
		b.start()
	}
}

// TestAFullStreamRefusesAndDropsNothing: what a hook has not read yet is never
// dropped, the outbox holds what does not fit.
func TestAFullStreamRefusesAndDropsNothing(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	js := b.provision(events.StreamOptions{MaxBytes: 8 << 10})
	p, err := events.NewPublisher(b.connect(events.UserAPIEvents))
	if err != nil {
		t.Fatal(err)
	}
	acks := p.Publish(t.Context(), messages(1, 200))
	accepted := 0
	for n, a := range acks {
		if a.Err == nil {
			accepted++
			continue
		}
		var api *jetstream.APIError
		if !errors.As(a.Err, &api) || !events.IsFull(a.Err) || events.IsStoreFull(a.Err) {
			t.Fatalf("Publish(%d) into a full stream = %v, want the bus's refusal, known as such", n, a.Err)
		}
	}
	if accepted == 0 || accepted == len(acks) {
		t.Fatalf("%d of %d events fitted, want some", accepted, len(acks))
	}
	stream, err := js.Stream(t.Context(), events.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if n := stored(t, js); n != uint64(accepted) {
		t.Errorf("the stream holds %d events, want the %d accepted", n, accepted)
	}
	for n, a := range acks {
		if a.Err != nil {
			continue
		}
		m, err := stream.GetMsg(t.Context(), a.StreamSeq)
		if err != nil || m.Header.Get("Nats-Msg-Id") != message(n+1).ID {
			t.Fatalf("stream sequence %d = %v, want event %s", a.StreamSeq, err, message(n+1).ID)
		}
	}
	if _, err := events.Provision(t.Context(), js.Conn(), events.StreamOptions{MaxBytes: 1 << 20}, nil); err != nil {
		t.Fatal(err)
	}
	publish(t, b, messages(1, 200)...)
	if n := stored(t, js); n != 200 {
		t.Errorf("with room again the stream holds %d events, want 200, each once", n)
	}
}

// TestAFullStoreRefusesAndDropsNothing: a server takes as much as it is told to, and
// says so in a way that is known. A stream that may have more than the server has is
// refused, and one that is there stays as it is.
func TestAFullStoreRefusesAndDropsNothing(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.server.Close()
	var err error
	if b.config, err = b.keys.ServerConfig(events.ServerOptions{Listen: "127.0.0.1:-1", StoreDir: t.TempDir(), MaxStore: 64 << 10, Name: "test"}); err != nil {
		t.Fatal(err)
	}
	b.start()
	js := b.provision(events.StreamOptions{})
	p, err := events.NewPublisher(b.connect(events.UserAPIEvents))
	if err != nil {
		t.Fatal(err)
	}
	full := func(list []events.Message) (accepted int) {
		t.Helper()
		for n, a := range p.Publish(t.Context(), list) {
			if a.Err == nil {
				accepted++
			} else if !events.IsFull(a.Err) || !events.IsStoreFull(a.Err) {
				t.Fatalf("Publish(%s) into a full store = %v, want the bus's refusal, known as such", list[n].ID, a.Err)
			}
		}
		return accepted
	}
	accepted := full(messages(1, 1000))
	if n := stored(t, js); accepted == 0 || accepted == 1000 || n != uint64(accepted) {
		t.Fatalf("%d of 1000 events were accepted and %d are there, want some and all of them", accepted, n)
	}
	if _, err := p.PublishTogether(t.Context(), messages(2001, 2020)); !events.IsFull(err) {
		t.Errorf("PublishTogether into a full store = %v, want the bus's refusal, known as such", err)
	}
	_, err = provision(t, b, events.StreamOptions{MaxBytes: 1 << 20}, nil)
	if !events.OnlyKept(err) || !strings.Contains(err.Error(), "max_bytes is -1, want 1048576") {
		t.Errorf("Provision of more than the store has = %v, want an error that says so, and that the stream is of use", err)
	}
	if used, most, err := b.server.Store(); err != nil || most != 64<<10 || used < 60<<10 {
		t.Errorf("Store() = %d of %d, %v, want it nearly full", used, most, err)
	}
}

func TestPublishSaysWhatIsNotStored(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	nc := b.connect(events.UserAPIEvents)
	p, err := events.NewPublisher(nc)
	if err != nil {
		t.Fatal(err)
	}
	if acks := p.Publish(t.Context(), nil); len(acks) != 0 {
		t.Errorf("Publish(nothing) = %v, want nothing", acks)
	}
	if acks := p.Publish(t.Context(), messages(1, 3)); acks[0].Err == nil || acks[1].Err == nil || acks[2].Err == nil {
		t.Errorf("Publish without a stream = %v, want an error for each", acks)
	}

	b.provision(events.StreamOptions{})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if acks := p.Publish(ended, messages(1, 1)); acks[0].Err != nil && !errors.Is(acks[0].Err, context.Canceled) {
		t.Errorf("Publish with an ended context = %v, want it stored or context.Canceled", acks)
	}

	b.server.Close()
	eventually(t, "the connection notices", func() bool { return !nc.IsConnected() })
	begin := time.Now()
	if acks := p.Publish(t.Context(), messages(2, 3)); acks[0].Err == nil || acks[1].Err == nil || time.Since(begin) > time.Second {
		t.Errorf("Publish without a bus = %v after %v, want errors at once", acks, time.Since(begin))
	}
}
