package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/webhook"
	"github.com/usher-auth/usher/workers/answer"
)

// answers asks answering workers, and is told how each question went.
type answers struct {
	webhook.Asker
	asked func(webhook.Asked)
}

// newAnswers asks over a connection, counts each question and says which worker
// was passed over.
func (p *process) newAnswers(auth *nats.Conn) answers {
	took := p.metrics.answers()
	asked := func(a webhook.Asked) {
		took.WithLabelValues(a.Worker, a.Answer).Observe(a.Took.Seconds())
		if a.WentOn {
			p.log.Warn("an answering worker was passed over (on_missing: continue)", "worker", a.Worker, "answer", a.Answer, "error", a.Err)
		}
	}
	return answers{Asker: declaredOnly{&answer.Client{Conn: auth}, p.hooks}, asked: asked}
}

// declaredOnly asks workers that are declared to answer. The bus lets whoever has
// a credential of the name listen, which is good for longer than the declaration.
type declaredOnly struct {
	webhook.Asker
	hooks *delivery.Catalogue
}

// Ask is that of [webhook.Asker].
func (d declaredOnly) Ask(ctx context.Context, worker, requestID string, timeout time.Duration, question []byte) ([]byte, error) {
	looking, cancel := context.WithTimeout(ctx, timeout)
	h, err := d.hooks.Hook(looking, worker)
	if errors.Is(err, delivery.ErrNoHook) { // or declared elsewhere a moment ago
		var all map[string]delivery.Hook
		if all, err = d.hooks.All(looking); err == nil {
			h = all[worker]
		}
	}
	cancel()
	switch {
	case err != nil:
		return nil, err
	case h.Kind != delivery.Answer:
		return nil, fmt.Errorf("%w: %q is not declared as one that answers", events.ErrNoWorker, worker)
	}
	return d.Asker.Ask(ctx, worker, requestID, timeout, question)
}
