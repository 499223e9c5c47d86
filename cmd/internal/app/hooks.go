package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
	workerwebhook "github.com/usher-auth/usher/workers/webhook"
)

// startHooks runs a worker for each background endpoint, and follows the
// configuration: endpoints that come get a worker, those that go lose it.
func (p *process) startHooks(ctx context.Context) error {
	nc, err := p.bus.connect(ctx, events.UserHooks)
	if err != nil {
		return err
	}
	h := hookWorkers{
		conn: nc, log: p.log, observe: p.metrics.attempt,
		delivery: workerwebhook.Delivery{Inputs: p.store, Identities: p.store, Endpoints: crashEndpoints(p.live)},
		running:  map[string]context.CancelFunc{},
	}
	p.stages.start(ctx, "hooks", func(ctx context.Context) error {
		for {
			h.follow(ctx, p.live.background())
			select {
			case <-ctx.Done():
				h.all.Wait()
				return nil
			case <-p.reloads:
			}
		}
	})
	return nil
}

// hookWorkers are the workers of the background endpoints, by name.
type hookWorkers struct {
	conn     *nats.Conn
	log      *slog.Logger
	observe  func(hook string, a workers.Attempt)
	delivery workerwebhook.Delivery
	running  map[string]context.CancelFunc
	all      sync.WaitGroup
}

// follow starts and ends workers so that exactly the endpoints have one.
func (h *hookWorkers) follow(ctx context.Context, endpoints []string) {
	wanted := map[string]bool{}
	for _, name := range endpoints {
		wanted[name] = true
		if h.running[name] == nil {
			h.start(ctx, name)
		}
	}
	for name, cancel := range h.running {
		if !wanted[name] {
			cancel()
			delete(h.running, name)
		}
	}
}

func (h *hookWorkers) start(ctx context.Context, name string) {
	ctx, cancel := context.WithCancel(ctx)
	h.running[name] = cancel
	// What waiting does not help, an operator may mend: a right, an account.
	pauses := backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Second), backoff.WithMaxInterval(time.Minute), backoff.WithMaxElapsedTime(0))
	run := func() error {
		return h.delivery.Worker(name,
			workers.WithConn(h.conn), workers.AwaitConsumer(), workers.Logger(h.log), workers.Concurrency(16),
			workers.Observe(func(a workers.Attempt) { h.observe(name, a) })).Run(ctx)
	}
	h.all.Go(func() {
		_ = backoff.RetryNotify(run, backoff.WithContext(pauses, ctx), func(err error, next time.Duration) {
			h.log.Error("hook worker ended", "hook", name, "error", err, "again_in", next)
		})
	})
}
