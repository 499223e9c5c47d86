package app

import (
	"context"
	"log/slog"

	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/webhook"
)

// liveSender calls signed endpoints by the configuration in force.
type liveSender struct{ live *live }

// Send is [webhook.Client.Send].
func (s liveSender) Send(ctx context.Context, to webhook.Signed, m webhook.SignedMessage) (status int, err error) {
	return s.live.now().hooks.Send(ctx, to, m)
}

// webhooks are those that get events.
type webhooks struct {
	hooks  *delivery.Catalogue
	log    *slog.Logger
	broken bool
}

// Webhook is that of the webhook worker: a delivery asks nobody.
func (w *webhooks) Webhook(name string) (webhook.Signed, bool) {
	h := w.hooks.Last()[name]
	return h.Signed(), delivers(h)
}

func delivers(h delivery.Hook) bool { return h.URL != "" && h.Disabled == "" }

// look looks again and gives their names. Where it cannot, what it has seen before holds.
func (w *webhooks) look(ctx context.Context) (names []string) {
	_, err := w.hooks.All(ctx)
	if err != nil && !w.broken && ctx.Err() == nil {
		w.log.Error("look for webhooks; those that were there go on", "error", err)
	}
	w.broken = err != nil
	for name, h := range w.hooks.Last() {
		if delivers(h) {
			names = append(names, name)
		}
	}
	return names
}
