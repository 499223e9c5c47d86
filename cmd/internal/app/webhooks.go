package app

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/webhook"
)

// newWebhooks makes what declares webhooks.
func (p *process) newWebhooks() *delivery.Webhooks {
	return &delivery.Webhooks{
		Hooks:  forgetting{kicking{p.store, p.wake}, p.hooks},
		InFile: func() []delivery.Hook { return p.live.now().cfg.DeclaredWebhooks() },
		Taken:  func(name string) bool { _, taken := p.builtIn()[name]; return taken },
		Bus:    p.durables(),
		Sender: liveSender{p.live},
		Now:    time.Now,
		Changed: func() {
			select {
			case p.reloads <- struct{}{}:
			default:
			}
		},
	}
}

// liveSender calls signed endpoints by the configuration in force.
type liveSender struct{ live *live }

// Send is [webhook.Client.Send].
func (s liveSender) Send(ctx context.Context, to webhook.Signed, m webhook.SignedMessage) (status int, err error) {
	return s.live.now().hooks.Send(ctx, to, m)
}

// webhookTable knows the webhooks as they were at the last look, so that a
// delivery asks nobody.
type webhookTable struct {
	List func(ctx context.Context) ([]delivery.Hook, error)
	log  *slog.Logger

	last   atomic.Pointer[map[string]webhook.Signed]
	broken bool
}

// Webhook is that of the webhook worker.
func (t *webhookTable) Webhook(name string) (webhook.Signed, bool) {
	last := t.last.Load()
	if last == nil {
		return webhook.Signed{}, false
	}
	w, ok := (*last)[name]
	return w, ok
}

// read looks again and gives those that get events. Where it cannot, what it has
// seen before holds.
func (t *webhookTable) read(ctx context.Context) map[string]webhook.Signed {
	all, err := t.List(ctx)
	if err != nil {
		if !t.broken && ctx.Err() == nil {
			t.log.Error("look for webhooks; those that were there go on", "error", err)
		}
		t.broken = true
		if last := t.last.Load(); last != nil {
			return *last
		}
		return nil
	}
	t.broken = false
	enabled := map[string]webhook.Signed{}
	for _, h := range all {
		if h.Disabled == "" {
			enabled[h.Name] = h.Signed()
		}
	}
	t.last.Store(&enabled)
	return enabled
}
