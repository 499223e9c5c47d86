package app

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/verification"
)

// kicking wakes the relay after each commit that has an event.
type kicking struct {
	*store.Store
	wake func()
}

// kicked wakes the relay unless there is an error, which it gives.
func (k kicking) kicked(err error) error {
	if err == nil {
		k.wake()
	}
	return err
}

// Register is [store.Store.Register].
func (k kicking) Register(ctx context.Context, r registration.Record) error {
	return k.kicked(k.Store.Register(ctx, r))
}

// Append is [store.Store.Append].
func (k kicking) Append(ctx context.Context, e events.Event) error {
	return k.kicked(k.Store.Append(ctx, e))
}

// AppendSoon is [store.Store.AppendSoon].
func (k kicking) AppendSoon(ctx context.Context, e events.Event) error {
	return k.kicked(k.Store.AppendSoon(ctx, e))
}

// CreateIdentity is [store.Store.CreateIdentity].
func (k kicking) CreateIdentity(ctx context.Context, i *identity.Identity, e events.Event) error {
	return k.kicked(k.Store.CreateIdentity(ctx, i, e))
}

// Verify is [store.Store.Verify].
func (k kicking) Verify(ctx context.Context, p verification.Proof) (verification.Verified, error) {
	v, err := k.Store.Verify(ctx, p)
	return v, k.kicked(err)
}

// RevokeSessions is [store.Store.RevokeSessions].
func (k kicking) RevokeSessions(ctx context.Context, w session.Which, event session.Revocation) (int, error) {
	n, err := k.Store.RevokeSessions(ctx, w, event)
	return n, k.kicked(err)
}

// DeleteSessions is [store.Store.DeleteSessions].
func (k kicking) DeleteSessions(ctx context.Context, identityID uuid.UUID, event session.Revocation) (int, error) {
	n, err := k.Store.DeleteSessions(ctx, identityID, event)
	return n, k.kicked(err)
}

// Settle is [store.Store.Settle].
func (k kicking) Settle(ctx context.Context, id uuid.UUID, s courier.Status, attempts int, keep bool, e *events.Event) error {
	return k.kicked(k.Store.Settle(ctx, id, s, attempts, keep, e))
}

// SaveFailure is [store.Store.SaveFailure].
func (k kicking) SaveFailure(ctx context.Context, former *delivery.Failure, f delivery.Failure, e ...events.Event) (bool, error) {
	saved, err := k.Store.SaveFailure(ctx, former, f, e...)
	if saved && len(e) > 0 {
		k.wake()
	}
	return saved, err
}

// CreateHook is [store.Store.CreateHook].
func (k kicking) CreateHook(ctx context.Context, h delivery.Hook, e events.Event) error {
	return k.kicked(k.Store.CreateHook(ctx, h, e))
}

// NameMinted is [store.Store.NameMinted].
func (k kicking) NameMinted(ctx context.Context, name string, until time.Time, e events.Event) error {
	return k.kicked(k.Store.NameMinted(ctx, name, until, e))
}

// UpdateHook is [store.Store.UpdateHook].
func (k kicking) UpdateHook(ctx context.Context, former time.Time, h delivery.Hook, e events.Event) error {
	return k.kicked(k.Store.UpdateHook(ctx, former, h, e))
}

// DeleteHook is [store.Store.DeleteHook].
func (k kicking) DeleteHook(ctx context.Context, name string, e events.Event) error {
	return k.kicked(k.Store.DeleteHook(ctx, name, e))
}

// UpdateIdentity is [store.Store.UpdateIdentity].
func (k kicking) UpdateIdentity(ctx context.Context, id uuid.UUID, decide func(*identity.Identity) (*identity.Change, error)) error {
	return k.kicked(k.Store.UpdateIdentity(ctx, id, decide))
}

// DeleteIdentity is [store.Store.DeleteIdentity].
func (k kicking) DeleteIdentity(ctx context.Context, id uuid.UUID, d admin.Deletion) error {
	return k.kicked(k.Store.DeleteIdentity(ctx, id, d))
}

// wake wakes the relay after a commit: the one of this process, and where
// another process leads also that one.
func (p *process) wake() {
	p.wakeRelay()
	switch {
	case p.leading.Load():
	case p.events != nil:
		kick(p.events)
	case p.kicker != nil:
		kick(p.kicker)
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
