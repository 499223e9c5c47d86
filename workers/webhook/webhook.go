// Package webhook delivers events over HTTP: one worker per endpoint, each on
// the durable consumer of the endpoint's name, so that a dead one holds back no
// other. [Background] is for the background web_hooks of the configuration,
// [Declared] for declared webhooks; both make one attempt and leave the rest to
// the ladder.
//
//	event ─▶ hook input + identity ─▶ endpoint ─▶ input deleted ─▶ ack
//	event ─▶ signatures ────────────▶ endpoint ─▶ ack
//
// The events of a web_hook are identity.created, login.succeeded, address.verified and identity.updated. Whether
// an endpoint gets one was decided no later than by the commit that wrote it:
// there is a hook input, or there is nothing to do.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/webhook"
	"github.com/usher-auth/usher/workers"
)

// deleteTimeout bounds the deletion of an input, which goes on when the worker ends.
const deleteTimeout = 5 * time.Second

// Background delivers events to background web_hooks. All fields are needed.
type Background struct {
	Inputs     Inputs
	Identities Identities
	Endpoints  Endpoints
}

// Inputs keeps what a background hook's body needs beyond the identity.
type Inputs interface {
	// HookInput gives the input of an event for an endpoint; false if there is
	// none (any more).
	HookInput(ctx context.Context, eventID uuid.UUID, endpoint string) (webhook.Input, bool, error)
	// DeleteHookInput deletes an input; one that is gone is no error.
	DeleteHookInput(ctx context.Context, eventID uuid.UUID, endpoint string) error
}

// Identities gives stored identities.
type Identities interface {
	// Identity gives an identity or [identity.ErrNotFound].
	Identity(ctx context.Context, id uuid.UUID) (*identity.Identity, error)
}

// Endpoints calls an endpoint by name, see [webhook.Client.Deliver].
type Endpoints interface {
	Deliver(ctx context.Context, endpoint string, call *webhook.Call) error
}

// Worker makes the worker of one endpoint. An event that the endpoint does not
// take comes again by the endpoint's ladder, and is a dead letter behind it; its
// id is the endpoint's idempotency key.
func (b Background) Worker(endpoint string, options ...workers.Option) *workers.Worker {
	w := workers.New(endpoint, options...)
	workers.On(w, func(ctx context.Context, e workers.Event[events.IdentityCreated]) error {
		return b.deliver(ctx, endpoint, e.ID, e.Data.IdentityID)
	})
	workers.On(w, func(ctx context.Context, e workers.Event[events.LoginSucceeded]) error {
		return b.deliver(ctx, endpoint, e.ID, e.Data.IdentityID)
	})
	workers.On(w, func(ctx context.Context, e workers.Event[events.AddressVerified]) error {
		return b.deliver(ctx, endpoint, e.ID, e.Data.IdentityID)
	})
	workers.On(w, func(ctx context.Context, e workers.Event[events.IdentityUpdated]) error {
		return b.deliver(ctx, endpoint, e.ID, e.Data.IdentityID)
	})
	return w
}

// deliver tells the endpoint of an event about an identity, both by id.
func (b Background) deliver(ctx context.Context, endpoint, event, about string) error {
	eventID, err := uuid.Parse(event)
	if err != nil {
		return workers.Permanent(fmt.Errorf("event id: %w", err))
	}
	identityID, err := uuid.Parse(about)
	if err != nil {
		return workers.Permanent(fmt.Errorf("identity id: %w", err))
	}

	input, ok, err := b.Inputs.HookInput(ctx, eventID, endpoint)
	if err != nil {
		return fmt.Errorf("load hook input: %w", err)
	}
	if !ok {
		return nil
	}
	i, err := b.Identities.Identity(ctx, identityID)
	if errors.Is(err, identity.ErrNotFound) {
		return b.drop(ctx, eventID, endpoint) // erased meanwhile: nobody is told any more
	}
	if err != nil {
		return fmt.Errorf("load identity: %w", err)
	}
	if err := b.Endpoints.Deliver(ctx, endpoint, &webhook.Call{Input: input, Identity: i, EventID: event}); err != nil {
		return again(ctx, err)
	}
	return b.drop(ctx, eventID, endpoint)
}

// drop deletes the input of an event that is done.
func (b Background) drop(ctx context.Context, eventID uuid.UUID, endpoint string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
	defer cancel()
	if err := b.Inputs.DeleteHookInput(ctx, eventID, endpoint); err != nil {
		return fmt.Errorf("delete hook input: %w", err)
	}
	return nil
}

// comingBack is when an event comes again that was given to a worker whose
// endpoint is being taken away. It then waits for the endpoint, not for a ladder.
const comingBack = time.Second

// again waits by the endpoint's ladder, or as long as the endpoint asked for where
// that is longer: nobody makes us call every second. It is nil if err is.
func again(ctx context.Context, err error) error {
	if errors.Is(err, webhook.ErrNotConfigured) {
		return workers.RetryIn(comingBack, err)
	}
	var failed *webhook.Failed
	if errors.As(err, &failed) && failed.RetryAfter > 0 {
		return workers.RetryIn(max(failed.RetryAfter, step(workers.AttemptNumber(ctx))), err)
	}
	return err
}

// step is what the ladder waits after an attempt, its last step behind its end.
func step(attempt int) time.Duration {
	ladder := delivery.WebhookLadder()
	wait, _ := ladder.Wait(min(attempt, len(ladder)))
	return wait
}
