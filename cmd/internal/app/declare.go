package app

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/usher-auth/usher/cmd/internal/config"
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
		Table: p.store,
		Fixed: p.fixedHooks,
		Bus:   durables{p},
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
	cfg := p.live.now().cfg
	return fixedHooksOf(cfg, backgroundTypes(cfg))
}

func fixedHooksOf(cfg *config.Config, background map[string][]string) map[string]delivery.Hook {
	all := map[string]delivery.Hook{workercourier.Name: {
		Name: workercourier.Name, Kind: delivery.Worker, Types: workercourier.Types(),
	}}
	for name, types := range background {
		all[name] = delivery.Hook{Name: name, Kind: delivery.Webhook, Types: types}
	}
	for _, h := range cfg.DeclaredWebhooks() {
		all[h.Name] = h
	}
	maps.Copy(all, cfg.DeclaredWorkers())
	return all
}

// declarations are how administrators declare hooks.
func (p *process) declarations() *delivery.Declarations {
	return &delivery.Declarations{
		Catalogue: p.hooks,
		Durables:  durables{p},
		Presence:  presence{p.adminAuth, p.adminEvents},
		Minter:    minting{p.bus},
		Counts:    p.store,
		Ledger:    p.store,
		Names:     p.store,
	}
}

// provision declares the stream and a durable consumer for each hook. What
// cannot be done for hooks that somebody has declared is said, and is no error:
// it must not keep this process from leading, and is tried again. A new leader and a reload may both
// ask for it: one waits for the other, so that the last to look is the last to write.
func (p *process) provision(ctx context.Context) error {
	p.provisioning.Lock()
	defer p.provisioning.Unlock()
	fixed := p.fixedHooks()
	switch err := p.provisionThese(ctx, durablesOf(fixed, func(o events.Origin) bool { return o == "" })); {
	case events.OnlyKept(err): // what is there does: events go on
		p.log.Error("the bus is not as it is configured", "error", err)
	case err != nil:
		return err
	}
	p.warnOfReused(ctx, fixed)
	if err := p.provisionDeclared(ctx, fixed); err != nil && ctx.Err() == nil {
		p.log.Error("the bus does not have all that is declared", "error", err)
	}
	return ctx.Err()
}

// provisionDeclared does what it can for the hooks in the file and the table.
func (p *process) provisionDeclared(ctx context.Context, fixed map[string]delivery.Hook) error {
	all, err := p.hooks.All(ctx)
	if err != nil {
		all = fixed
	}
	declared := durablesOf(all, func(o events.Origin) bool { return o != "" })
	return errors.Join(err, p.provisionThese(ctx, declared), p.removeUndeclared(ctx))
}

// durablesOf are the durables of the hooks of such an origin.
func durablesOf(hooks map[string]delivery.Hook, such func(events.Origin) bool) (list []events.Durable) {
	for _, h := range hooks {
		if d := durableOf(h); h.Kind != delivery.Answer && such(d.Origin) {
			list = append(list, d)
		}
	}
	return list
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

// keepProvisioned provisions when other hooks are in force, and now and then, until
// ctx ends.
func (p *process) keepProvisioned(ctx context.Context) {
	tick := time.NewTicker(provisionEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-p.overrides.newHooks:
		}
		if err := p.provision(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("the bus does not have all that is declared", "error", err)
		}
	}
}

// durables are those on the bus, by the provisioner's connection. Only a process
// with the API has it, and the right to change them.
type durables struct{ p *process }

// streamOptions are those of the start, but for the limit: that is the one in force.
func (p *process) streamOptions() events.StreamOptions {
	o := StreamOptionsOf(p.cfg)
	o.MaxBytes = StreamOptionsOf(p.live.now().cfg).MaxBytes
	return o
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
	if d.p.provisioner == nil {
		return errNoProvisioner
	}
	changes, err := events.Provision(ctx, d.p.provisioner, d.p.streamOptions(), []events.Durable{durableOf(h)})
	for _, change := range changes {
		d.p.log.Info("bus", "provisioned", change)
	}
	return err
}

// Remove is that of [delivery.Provisioner].
func (d durables) Remove(ctx context.Context, name string) error {
	if d.p.provisioner == nil {
		return errNoProvisioner
	}
	return events.RemoveDurable(ctx, d.p.provisioner, name)
}

// Pause is that of [delivery.Consumers].
func (d durables) Pause(ctx context.Context, name string, until time.Time) error {
	return events.PauseDurable(ctx, d.p.provisioner, name, until)
}

// Consumers is that of [delivery.Consumers].
func (d durables) Consumers(ctx context.Context) (map[string]delivery.Consumer, error) {
	if !d.p.provisioner.IsConnected() {
		return nil, errors.New("the bus is away")
	}
	states, err := events.Durables(ctx, d.p.provisioner)
	if err != nil {
		return nil, err
	}
	all := make(map[string]delivery.Consumer, len(states))
	for _, s := range states {
		all[s.Name] = s
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
