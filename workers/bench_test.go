package workers_test

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

// BenchmarkBacklog drains a backlog; one op is one event.
func BenchmarkBacklog(b *testing.B) {
	bus := newBus(b)
	bus.durable("w", time.Minute)
	data, err := newEvent("customer").Encode()
	if err != nil {
		b.Fatal(err)
	}
	for range b.N {
		if _, err := bus.api.PublishAsync(events.Subject("identity.created"), data); err != nil {
			b.Fatal(err)
		}
	}
	<-bus.api.PublishAsyncComplete()
	ctx, end := context.WithCancel(b.Context())
	handled := make(chan struct{}, b.N)
	w := workers.New("w", workers.WithConn(bus.hooks), workers.Concurrency(32), workers.Logger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	workers.On(w, func(context.Context, created) error { handled <- struct{}{}; return nil })
	ended := make(chan error)
	b.ResetTimer()
	go func() { ended <- w.Run(ctx) }()
	for range b.N {
		<-handled
	}
	b.StopTimer()
	end()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkLatency takes the time from a publish to the handler.
func BenchmarkLatency(b *testing.B) {
	bus := newBus(b)
	bus.durable("w", time.Minute)
	data, err := newEvent("customer").Encode()
	if err != nil {
		b.Fatal(err)
	}
	ctx, end := context.WithCancel(b.Context())
	handled := make(chan struct{})
	w := workers.New("w", workers.WithConn(bus.hooks), workers.Logger(slog.New(slog.DiscardHandler)))
	workers.On(w, func(context.Context, created) error { handled <- struct{}{}; return nil })
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	for b.Loop() {
		bus.publishRaw(string(data))
		<-handled
	}
	end()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}
