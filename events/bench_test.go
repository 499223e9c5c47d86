package events_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
)

// BenchmarkAsk compares a request to a service with a plain request-reply on
// the same bus, one at a time and many at a time.
func BenchmarkAsk(b *testing.B) {
	payload := make([]byte, 512)
	for _, way := range []string{"in process", "tcp"} {
		for _, kind := range []string{"plain", "service"} {
			for _, many := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/%s/parallel=%t", way, kind, many), func(b *testing.B) {
					bus := startBus(b)
					connect := bus.connect
					if way == "tcp" {
						connect = bus.connectTCP
					}
					session, api := connect(events.UserSession), connect(events.UserAPIAuth)
					answer(b, kind, session, payload)
					b.ReportAllocs()
					if many {
						b.SetParallelism(16)
						b.RunParallel(func(pb *testing.PB) {
							for pb.Next() {
								ask(b, kind, api, payload)
							}
						})
						return
					}
					for b.Loop() {
						ask(b, kind, api, payload)
					}
				})
			}
		}
	}
}

func answer(b *testing.B, kind string, nc *nats.Conn, payload []byte) {
	if kind == "service" {
		serve(b, nc, func(context.Context, events.Request) ([]byte, error) { return payload, nil })
		return
	}
	if _, err := nc.QueueSubscribe(events.SubjectSessionIssue, "q", func(m *nats.Msg) { _ = m.Respond(payload) }); err != nil {
		b.Fatal(err)
	}
	flush(b, nc)
}

func ask(b *testing.B, kind string, nc *nats.Conn, payload []byte) {
	var err error
	if kind == "service" {
		_, err = events.Ask(context.Background(), nc, events.SubjectSessionIssue, "0193600d-7d8b-7000-8000-000000000001", time.Now().Add(time.Second), payload)
	} else {
		_, err = nc.Request(events.SubjectSessionIssue, payload, time.Second)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkPublish publishes windows as the relay does, each event synced to
// the disk.
func BenchmarkPublish(b *testing.B) {
	for _, window := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprint("window=", window), func(b *testing.B) {
			bus := startBus(b)
			bus.provision(events.StreamOptions{})
			p, err := events.NewPublisher(bus.connect(events.UserAPIEvents))
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			for b.Loop() {
				m := messages(n+1, n+window)
				acks, err := p.PublishTogether(b.Context(), m)
				if window == 1 {
					acks, err = p.Publish(b.Context(), m), nil
				}
				for _, a := range acks {
					err = errors.Join(err, a.Err)
				}
				if err != nil {
					b.Fatal(err)
				}
				n += window
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
