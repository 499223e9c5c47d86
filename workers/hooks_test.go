package workers_test

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers/internal/hookstest"
)

// startHooks starts what takes reports.
func (b *bus) startHooks(ctx context.Context) error {
	nc, err := b.connect(ctx, events.UserDelivery)
	if err != nil {
		return err
	}
	b.failed, err = hookstest.Start(ctx, nc, b.provision)
	return err
}

// worker connects with the rights of a worker's credential.
func (b *bus) worker(name string) *nats.Conn {
	b.t.Helper()
	text, err := b.mint(name)
	if err != nil {
		b.t.Fatal(err)
	}
	nc, err := events.Connect(b.t.Context(), events.ConnectOptions{
		URL: b.url, Credentials: text, User: name, Name: "test", Log: discard,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	return nc
}

func (b *bus) mint(name string) ([]byte, error) {
	m, err := b.keys.Minter()
	if err != nil {
		return nil, err
	}
	return m.WorkerCredentials(name, time.Now().Add(time.Hour))
}
