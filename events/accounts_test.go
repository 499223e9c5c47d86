package events_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"github.com/usher-auth/usher/events"
)

// TestRightsOfTheWorkersAccount: not even who may do all in WORKERS reaches more
// of the streams than workers may.
func TestRightsOfTheWorkersAccount(t *testing.T) {
	t.Parallel()
	a := underAttack(t)
	nc, err := dialRaw(a.bus, a.mint("workers.nk", "workers.nk", func(c *jwt.UserClaims) {
		c.IssuerAccount = ""
		c.Pub.Allow.Add(">")
		c.Sub.Allow.Add(">")
	}))
	if err != nil {
		t.Fatal(err)
	}
	before := stored(t, a.js)
	for _, subject := range []string{
		"$JS.API.STREAM.CREATE.SPY", "$JS.API.STREAM.INFO.USHER_EVENTS", "$JS.API.STREAM.PURGE.USHER_EVENTS",
		"$JS.API.CONSUMER.CREATE.USHER_EVENTS.spy", "$JS.API.CONSUMER.DELETE.USHER_EVENTS.mail", "$JS.API.CONSUMER.PAUSE.USHER_EVENTS.mail",
		events.Subject("identity.created"), events.RetrySubject("mail"), events.SubjectOutboxKick, events.SubjectSessionIssue, "$SRV.PING.identity",
	} {
		if m, err := nc.Request(subject, []byte("{}"), 5*time.Second); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("%s in WORKERS is answered with %v, %v, want that nobody is there", subject, m, err)
		}
	}
	if after := stored(t, a.js); after != before {
		t.Errorf("the stream holds %d messages, want %d", after, before)
	}
}

// TestWorkersAreSeen: discovery asks in the account of Usher's parts, and sees
// workers too, all of them and each.
func TestWorkersAreSeen(t *testing.T) {
	t.Parallel()
	a := underAttack(t)
	for _, name := range []string{"crm", "mail"} {
		nc := a.connectTCP(name)
		service, err := micro.AddService(nc, micro.Config{Name: name, Version: "1.0.0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = service.Stop() })
		flush(t, nc)
	}
	admin := a.connectTCP(events.UserAdminEvents)
	for subject, want := range map[string]int{
		"$SRV.PING": 4, "$SRV.INFO": 4, "$SRV.STATS": 4, // with two of Usher's services
		"$SRV.PING.crm": 1, "$SRV.INFO.mail": 1, "$SRV.STATS.crm": 1, "$SRV.PING.identity": 1,
	} {
		inbox := admin.NewInbox()
		answers, err := admin.SubscribeSync(inbox)
		if err != nil {
			t.Fatal(err)
		}
		if err := admin.PublishRequest(subject, inbox, nil); err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for range want {
			m, err := answers.NextMsg(5 * time.Second)
			if err != nil {
				t.Fatalf("%s: answers of %v, want %d: %v", subject, names, want, err)
			}
			var about micro.ServiceIdentity
			if err := json.Unmarshal(m.Data, &about); err != nil {
				t.Fatal(err)
			}
			names[about.Name] = true
		}
		if len(names) != want {
			t.Errorf("%s: answers of %v, want %d different", subject, names, want)
		}
	}
}

// TestADeadWorkersPullIsForgotten: the bus sees across accounts that nobody
// listens to a pull any more, and gives the event to whoever is there.
func TestADeadWorkersPullIsForgotten(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.provision(events.StreamOptions{}, events.Durable{Name: "crm", Types: []string{"identity.created"}})
	pull := func(nc *nats.Conn) *nats.Subscription {
		inbox := nc.NewInbox()
		sub, err := nc.SubscribeSync(inbox)
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.USHER_EVENTS.crm", inbox, []byte(`{"batch":1,"expires":60000000000}`)); err != nil {
			t.Fatal(err)
		}
		flush(t, nc)
		return sub
	}
	dead, alive := b.connectTCP("crm"), b.connectTCP("crm")
	pull(dead)
	js, err := jetstream.New(alive)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.Consumer(t.Context(), events.Stream, "crm")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first pull waits", func() bool {
		info, err := consumer.Info(t.Context())
		return err == nil && info.NumWaiting == 1
	})
	dead.Close()
	second := pull(alive)
	publish(t, b, message(1))
	if _, err := second.NextMsg(5 * time.Second); err != nil {
		t.Errorf("the event went to a worker that is dead: %v", err)
	}
}

// TestARemovedWorkerIsTold: a pull that waits ends, and the next finds nobody.
func TestARemovedWorkerIsTold(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	js := b.provision(events.StreamOptions{}, events.Durable{Name: "crm", Types: []string{"identity.created"}})
	crm := b.connectTCP("crm")
	inbox, err := crm.SubscribeSync("_INBOX_crm.1")
	if err != nil {
		t.Fatal(err)
	}
	const pull = "$JS.API.CONSUMER.MSG.NEXT.USHER_EVENTS.crm"
	if err := crm.PublishRequest(pull, "_INBOX_crm.1", []byte(`{"batch":1,"expires":60000000000}`)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pull waits", func() bool {
		crm, err := js.Consumer(t.Context(), events.Stream, "crm")
		return err == nil && crm.CachedInfo().NumWaiting == 1
	})
	if err := js.DeleteConsumer(t.Context(), events.Stream, "crm"); err != nil {
		t.Fatal(err)
	}
	if m, err := inbox.NextMsg(5 * time.Second); err != nil || m.Header.Get("Status") != "409" || m.Header.Get("Description") != "Consumer Deleted" {
		t.Errorf("the pull that waited ends with %v, %v, want 409 Consumer Deleted", m, err)
	}
	if m, err := crm.Request(pull, []byte(`{"batch":1}`), 5*time.Second); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a pull of a removed worker = %v, %v, want that nobody is there", m, err)
	}
}

// BenchmarkDrain compares a worker, whose account is another than the stream's,
// with one of Usher's own, whose is the same. One op is one event, taken with 99
// others and acked; the double ack is of the last.
func BenchmarkDrain(b *testing.B) {
	for _, user := range []string{events.UserHooks, "crm"} {
		for _, size := range []int{16, 100} {
			b.Run(fmt.Sprintf("%s/%d", user, size), func(b *testing.B) {
				bus := startBus(b)
				bus.provision(events.StreamOptions{}, events.Durable{Name: "crm", Types: []string{"identity.created"}})
				publisher, err := events.NewPublisher(bus.connect(events.UserAPIEvents))
				if err != nil {
					b.Fatal(err)
				}
				for at := 0; at < b.N; at += 1000 {
					if _, err := publisher.PublishTogether(b.Context(), messages(at+1, min(at+1000, b.N))); err != nil {
						b.Fatal(err)
					}
				}
				js, err := jetstream.New(bus.connectTCP(user))
				if err != nil {
					b.Fatal(err)
				}
				consumer, err := js.Consumer(b.Context(), events.Stream, "crm")
				if err != nil {
					b.Fatal(err)
				}
				b.ResetTimer()
				drain(b, consumer, size)
			})
		}
	}
}

// drain takes b.N events, as many at a time as size says.
func drain(b *testing.B, consumer jetstream.Consumer, size int) {
	b.Helper()
	for taken := 0; taken < b.N; {
		batch, err := consumer.Fetch(min(size, b.N-taken), jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			b.Fatal(err)
		}
		for m := range batch.Messages() {
			taken++
			ack := m.Ack
			if taken == b.N {
				ack = func() error { return m.DoubleAck(b.Context()) }
			}
			if err := ack(); err != nil {
				b.Fatal(err)
			}
		}
		if err := batch.Error(); err != nil {
			b.Fatal(err)
		}
	}
}
