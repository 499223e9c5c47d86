package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/webhook"
	"github.com/usher-auth/usher/workers"
)

// disableTimeout bounds the storing of what a 410 says, which goes on when the worker ends.
const disableTimeout = 5 * time.Second

// Declared delivers events to declared webhooks, as Standard Webhooks say. All
// fields are needed.
type Declared struct {
	Webhooks Webhooks
	Sender   Sender
	Disabler Disabler
}

// Webhooks knows the declared webhooks without asking anybody: it costs a
// delivery nothing.
type Webhooks interface {
	// Webhook gives a webhook as it is declared now; false if nothing is to be
	// delivered to it.
	Webhook(name string) (webhook.Signed, bool)
}

// Sender makes one attempt at an endpoint, see [webhook.Client.Send].
type Sender interface {
	Send(ctx context.Context, to webhook.Signed, m webhook.SignedMessage) (status int, err error)
}

// Disabler stores that an endpoint has gone, so that nothing is delivered to it any more.
type Disabler interface {
	// DisableWebhook disables a webhook, unless it has another URL by now or is
	// disabled already.
	DisableWebhook(ctx context.Context, name, url string) error
}

// errNotDeclared keeps an event that came while its webhook was taken away.
var errNotDeclared = errors.New("the webhook is disabled or removed")

// Worker makes the worker of one webhook, which gets every event that its
// durable consumer gives out: as it was published, with its id as webhook-id.
// What an endpoint does not take comes again by the ladder of webhooks, or later
// if its Retry-After says so. 410 disables the webhook.
func (d Declared) Worker(name string, options ...workers.Option) *workers.Worker {
	w := workers.New(name, options...)
	workers.OnAny(w, func(ctx context.Context, e events.Event) error { return d.deliver(ctx, name, e) })
	return w
}

func (d Declared) deliver(ctx context.Context, name string, e events.Event) error {
	to, ok := d.Webhooks.Webhook(name)
	if !ok {
		return workers.RetryIn(comingBack, errNotDeclared)
	}
	m, err := webhook.MessageOf(e)
	if err != nil {
		return workers.Permanent(err)
	}
	status, err := d.Sender.Send(ctx, to, m)
	switch {
	case errors.Is(err, webhook.ErrLarge):
		return workers.Permanent(err)
	case err != nil && status == http.StatusGone:
		return d.gone(ctx, to, err)
	default:
		return again(ctx, err)
	}
}

// gone disables a webhook, and keeps the event as a dead letter: whoever enables
// the webhook again may have it redelivered.
func (d Declared) gone(ctx context.Context, to webhook.Signed, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), disableTimeout)
	defer cancel()
	if failed := d.Disabler.DisableWebhook(ctx, to.Name, to.URL); failed != nil {
		return fmt.Errorf("disable webhook: %w", failed)
	}
	return workers.Permanent(err)
}
