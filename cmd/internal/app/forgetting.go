package app

import (
	"context"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
)

// forgetting changes the table of hooks, and has what this process knows of it
// read again: a hook that is removed here is not asked or answered once more.
// Other processes know within [hookAge].
type forgetting struct {
	kicking
	known *declared
}

// CreateHook is that of [delivery.Hooks].
func (f forgetting) CreateHook(ctx context.Context, h delivery.Hook, e events.Event) error {
	defer f.known.forget()
	return f.kicking.CreateHook(ctx, h, e)
}

// UpdateHook is that of [delivery.Hooks].
func (f forgetting) UpdateHook(ctx context.Context, h delivery.Hook, e events.Event) error {
	defer f.known.forget()
	return f.kicking.UpdateHook(ctx, h, e)
}

// DeleteHook is that of [delivery.Hooks].
func (f forgetting) DeleteHook(ctx context.Context, name string, e events.Event) error {
	defer f.known.forget()
	return f.kicking.DeleteHook(ctx, name, e)
}
