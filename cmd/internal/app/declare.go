package app

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
	workercourier "github.com/usher-auth/usher/workers/courier"
)

// provisionEvery is how often the leader looks whether the bus has what is
// declared: a durable that somebody has deleted, or that could not be made when
// its hook was declared.
const provisionEvery = 30 * time.Second

// askDelivery makes the delivery service of a process that only answers
// administrators.
func (p *process) askDelivery(ctx context.Context) error {
	_, err := p.connectDelivery(ctx)
	return err
}

// newCatalogue makes what knows all hooks.
func (p *process) newCatalogue() *delivery.Catalogue {
	return &delivery.Catalogue{
		Table: kicking{p.store, p.wake},
		Fixed: p.fixedHooks,
		Bus:   p.durables(),
		Log:   p.log,
		Now:   time.Now,
		Changed: func() {
			select {
			case p.reloads <- struct{}{}:
			default:
			}
		},
	}
}

// fixedHooks are the hooks that are in no table: the courier, the background
// endpoints of the configuration in force, and the webhooks and workers that it
// declares.
func (p *process) fixedHooks() map[string]delivery.Hook {
	all := map[string]delivery.Hook{workercourier.Name: {
		Name: workercourier.Name, Kind: delivery.Worker, Types: []string{events.VerificationRequested{}.EventType()},
	}}
	for name, types := range p.live.background() {
		all[name] = delivery.Hook{Name: name, Kind: delivery.Webhook, Types: types}
	}
	for _, h := range p.live.now().cfg.DeclaredWebhooks() {
		all[h.Name] = h
	}
	maps.Copy(all, p.live.now().cfg.DeclaredWorkers())
	return all
}

// declarations are how administrators declare hooks.
func (p *process) declarations() *delivery.Declarations {
	return &delivery.Declarations{
		Catalogue: p.hooks,
		Durables:  p.durables(),
		Presence:  presence{p.adminAuth, p.adminEvents},
		Minter:    minting{p.bus},
		Counts:    p.store,
		Ledger:    kicking{p.store, p.wake},
	}
}

// provision declares the stream and a durable consumer for each hook. What the
// bus refuses of hooks that somebody has declared is said, and is no error: it
// must not keep this process from leading. A new leader and a reload may both
// ask for it: one waits for the other, so that the last to look is the last to write.
func (p *process) provision(ctx context.Context) error {
	p.provisioning.Lock()
	defer p.provisioning.Unlock()
	all, err := p.hooks.All(ctx)
	if err != nil {
		return err
	}
	var own, declared []events.Durable
	for _, h := range all {
		switch d := durableOf(h); {
		case h.Kind == delivery.Answer:
		case d.Origin == "":
			own = append(own, d)
		default:
			declared = append(declared, d)
		}
	}
	if err := p.provisionThese(ctx, own); err != nil {
		return err
	}
	if err := p.provisionThese(ctx, declared); err != nil {
		p.log.Error("the bus does not have all that is declared", "error", err)
	}
	return p.removeUndeclared(ctx)
}

func (p *process) provisionThese(ctx context.Context, list []events.Durable) error {
	changes, err := events.Provision(ctx, p.provisioner, p.streamOptions(), list)
	for _, change := range changes {
		p.log.Info("bus", "provisioned", change)
	}
	return err
}

// undeclaredLife is how long a durable stays whose hook is in the configuration
// file no more. Longer than a rolling restart: whoever leads may have the former
// file, or the next one, and a durable that comes back has lost its place.
const undeclaredLife = 24 * time.Hour

// removeUndeclared removes the durables whose hook was removed, while it was
// provisioned or while the bus was away: one that stayed would leave the
// credential its power. Those whose hook has gone from the configuration file are
// marked, and removed later; those that no hook was declared for are left alone.
func (p *process) removeUndeclared(ctx context.Context) error {
	durables, err := events.Durables(ctx, p.provisioner)
	if err != nil {
		return err
	}
	declared, err := p.hooks.All(ctx) // read last: a durable is made behind its row
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range durables {
		if h, ok := declared[d.Name]; !ok || h.Kind == delivery.Answer {
			errs = append(errs, p.undeclared(ctx, d, time.Now()))
		}
	}
	return errors.Join(errs...)
}

// undeclared deals with a durable that no hook is declared for.
func (p *process) undeclared(ctx context.Context, d events.DurableState, now time.Time) error {
	switch {
	case d.Origin == events.OriginTable:
		p.log.Info("bus", "removed", "durable consumer "+d.Name+" of a hook that was removed")
	case d.Origin != events.OriginFile:
		return nil
	case d.Undeclared.IsZero():
		p.log.Warn("a hook is in the configuration file no more; its durable consumer is deleted if it does not come back, and until then its credential is good",
			"hook", d.Name, "deleted_at", now.Add(undeclaredLife).UTC().Format(time.RFC3339))
		return events.MarkUndeclared(ctx, p.provisioner, d.Name, now)
	case now.Sub(d.Undeclared) < undeclaredLife:
		return nil
	default:
		p.log.Warn("bus", "removed", "durable consumer "+d.Name+" of a hook that has gone from the configuration file", "since", d.Undeclared)
	}
	return events.RemoveDurable(ctx, p.provisioner, d.Name)
}

// keepProvisioned provisions now and then while this process leads.
func (p *process) keepProvisioned(ctx context.Context) error {
	tick := time.NewTicker(provisionEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !p.leading.Load() {
			continue
		}
		if err := p.provision(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("the bus does not have all that is declared", "error", err)
		}
	}
}

// durables are those on the bus, by the provisioner's connection. Only a process
// with the API has it, and the right to change them.
type durables struct {
	nc     *nats.Conn
	stream events.StreamOptions // of the stream, which may not be there yet
	log    *slog.Logger
}

func (p *process) durables() durables { return durables{p.provisioner, p.streamOptions(), p.log} }

func (p *process) streamOptions() events.StreamOptions {
	return events.StreamOptions{Replicas: p.cfg.Bus.Replicas}
}

var errNoProvisioner = errors.New("only a process with the API provisions the bus")

func durableOf(h delivery.Hook) events.Durable {
	d := events.Durable{Name: h.Name, Types: h.Types, Since: h.CreatedAt}
	switch {
	case h.InFile:
		d.Origin = events.OriginFile
	case !h.CreatedAt.IsZero():
		d.Origin = events.OriginTable
	}
	return d
}

// Provision is that of [delivery.Provisioner].
func (d durables) Provision(ctx context.Context, h delivery.Hook) error {
	if d.nc == nil {
		return errNoProvisioner
	}
	changes, err := events.Provision(ctx, d.nc, d.stream, []events.Durable{durableOf(h)})
	for _, change := range changes {
		d.log.Info("bus", "provisioned", change)
	}
	return err
}

// Remove is that of [delivery.Provisioner].
func (d durables) Remove(ctx context.Context, name string) error {
	if d.nc == nil {
		return errNoProvisioner
	}
	return events.RemoveDurable(ctx, d.nc, name)
}

// Pause is that of [delivery.Durables].
func (d durables) Pause(ctx context.Context, name string, until time.Time) error {
	return events.PauseDurable(ctx, d.nc, name, until)
}

// Live is that of [delivery.Durables].
func (d durables) Live(ctx context.Context) (map[string]delivery.Live, error) {
	if !d.nc.IsConnected() {
		return nil, errors.New("the bus is away")
	}
	states, err := events.Durables(ctx, d.nc)
	if err != nil {
		return nil, err
	}
	all := make(map[string]delivery.Live, len(states))
	for _, s := range states {
		all[s.Name] = delivery.Live{
			Pending: s.Pending, AckPending: s.AckPending, Redelivered: s.Redelivered, Waiting: s.Waiting,
			PausedUntil: s.PausedUntil, DeliveredAt: s.DeliveredAt,
		}
	}
	return all, nil
}

// minting mints with the keys as they are when somebody asks.
type minting struct{ bus *bus }

// WorkerCredentials is that of [delivery.Minter].
func (m minting) WorkerCredentials(name string, expires time.Time) ([]byte, error) {
	minter, err := m.bus.minter()
	if err != nil {
		return nil, err
	}
	return minter.WorkerCredentials(name, expires)
}

// AnswerCredentials is that of [delivery.Minter].
func (m minting) AnswerCredentials(name string, expires time.Time) ([]byte, error) {
	minter, err := m.bus.minter()
	if err != nil {
		return nil, err
	}
	return minter.AnswerCredentials(name, expires)
}
