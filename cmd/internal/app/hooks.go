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
	workercourier "github.com/usher-auth/usher/workers/courier"
	workerwebhook "github.com/usher-auth/usher/workers/webhook"
)

// lookEvery is how soon the workers follow what another process has declared.
const lookEvery = 2 * time.Second

// startHooks runs a worker for each background endpoint and each webhook, and
// follows the configuration and the table of hooks: endpoints that come get a
// worker, those that go lose it.
func (p *process) startHooks(ctx context.Context) error {
	nc, err := p.bus.connect(ctx, events.UserHooks)
	if err != nil {
		return err
	}
	if p.kicker == nil && !p.Parts.API {
		p.kicker = nc
	}
	p.hears = nc
	p.startCourier(ctx, nc)
	h := hookWorkers{
		conn: nc, log: p.log, traces: p.traces.options(), version: p.Version, observe: p.metrics.attempt,
		background: workerwebhook.Background{Inputs: p.store, Identities: p.store, Endpoints: crashEndpoints(p.live)},
		webhooks:   &webhooks{hooks: p.hooks, log: p.log},
		running:    map[string]context.CancelFunc{},
	}
	declared := workerwebhook.Declared{Webhooks: h.webhooks, Sender: liveSender{p.live}, Disabler: p.webhooks}
	p.stages.start(ctx, "hooks", func(ctx context.Context) error {
		look := time.NewTicker(lookEvery)
		defer look.Stop()
		for {
			wanted := map[string]makeWorker{}
			for name := range backgroundTypes(p.live.now().cfg) {
				wanted[name] = h.background.Worker
			}
			for _, name := range h.webhooks.look(ctx) {
				wanted[name] = declared.Worker
			}
			h.follow(ctx, wanted)
			select {
			case <-ctx.Done():
				h.all.Wait()
				return nil
			case <-p.reloads:
			case <-look.C:
			}
		}
	})
	return nil
}

// makeWorker makes the worker of an endpoint.
type makeWorker func(name string, options ...workers.Option) *workers.Worker

// hookWorkers are the workers of the background endpoints and webhooks, by name.
type hookWorkers struct {
	conn       *nats.Conn
	log        *slog.Logger
	version    string
	traces     []workers.Option
	observe    func(hook string, a workers.Attempt)
	background workerwebhook.Background
	webhooks   *webhooks
	running    map[string]context.CancelFunc
	all        sync.WaitGroup
}

// follow starts and ends workers so that exactly the endpoints have one.
func (h *hookWorkers) follow(ctx context.Context, endpoints map[string]makeWorker) {
	for name, worker := range endpoints {
		if h.running[name] == nil {
			h.start(ctx, name, worker)
		}
	}
	for name, cancel := range h.running {
		if endpoints[name] == nil {
			cancel()
			delete(h.running, name)
		}
	}
}

func (h *hookWorkers) start(ctx context.Context, name string, worker makeWorker) {
	ctx, cancel := context.WithCancel(ctx)
	h.running[name] = cancel
	h.all.Go(func() {
		options := append([]workers.Option{
			workers.WithConn(h.conn), workers.AwaitConsumer(), workers.Logger(h.log), workers.Concurrency(16), workers.Version(h.version),
			workers.Observe(func(a workers.Attempt) { h.observe(name, a) }),
		}, h.traces...)
		keepRunning(ctx, h.log, worker(name, options...), name)
	})
}

// keepRunning runs a worker until ctx ends. What ends it before, and waiting does
// not help, an operator may mend: a right, an account.
func keepRunning(ctx context.Context, log *slog.Logger, w *workers.Worker, name string) {
	pauses := backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Second), backoff.WithMaxInterval(time.Minute), backoff.WithMaxElapsedTime(0))
	run := func() error { return w.Run(ctx) }
	_ = backoff.RetryNotify(run, backoff.WithContext(pauses, ctx), func(err error, next time.Duration) {
		log.Error("hook worker ended", "hook", name, "error", err, "again_in", next)
	})
}

// startCourier runs the worker that writes mails, by the configuration in force
// when the event comes.
func (p *process) startCourier(ctx context.Context, nc *nats.Conn) {
	w := workercourier.Worker(p.live, append([]workers.Option{
		workers.WithConn(nc), workers.AwaitConsumer(), workers.Logger(p.log), workers.Concurrency(8), workers.Version(p.Version),
		workers.Observe(func(a workers.Attempt) { p.metrics.attempt(workercourier.Name, a) }),
	}, p.traces.options()...)...)
	p.stages.start(ctx, "courier", func(ctx context.Context) error {
		keepRunning(ctx, p.log, w, workercourier.Name)
		return nil
	})
}
