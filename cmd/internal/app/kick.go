package app

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/store"
)

// kicking wakes the relay after each commit that has an event.
type kicking struct {
	*store.Store
	wake func()
}

// Register is [store.Store.Register].
func (k kicking) Register(ctx context.Context, r registration.Record) error {
	err := k.Store.Register(ctx, r)
	if err == nil {
		k.wake()
	}
	return err
}

// Append is [store.Store.Append].
func (k kicking) Append(ctx context.Context, e events.Event) error {
	err := k.Store.Append(ctx, e)
	if err == nil {
		k.wake()
	}
	return err
}

// CreateIdentity is [store.Store.CreateIdentity].
func (k kicking) CreateIdentity(ctx context.Context, i *identity.Identity, e events.Event) error {
	err := k.Store.CreateIdentity(ctx, i, e)
	if err == nil {
		k.wake()
	}
	return err
}

// wake wakes the relay after a commit: the one of this process, and where
// another process leads also that one.
func (p *process) wake() {
	p.wakeRelay()
	if p.events != nil && !p.leading.Load() {
		kick(p.events)
	}
}

func (p *process) wakeRelay() {
	select {
	case p.kicks <- struct{}{}:
	default: // it is awake
	}
}

// kick wakes the relay by the bus. One that is lost is made up for by the relay's poll.
func kick(nc *nats.Conn) { _ = nc.Publish(events.SubjectOutboxKick, nil) }
