package app

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/override"
)

// followEvery is how soon saved settings are followed where the bus does not tell
// of them.
const followEvery = 5 * time.Second

// overrides lay what operators have saved over the configuration file, and put
// both together in force. What cannot be used changes nothing.
type overrides struct {
	*process
	// file is the last good reading of it.
	file atomic.Pointer[config.Config]

	mu      sync.Mutex // held by who puts something in force
	now     override.InForce
	outcome atomic.Pointer[override.InForce] // now, for the metrics
}

// startOverrides puts the file with the saved settings over it in force, or the
// file alone where they cannot be used.
func (p *process) startOverrides(ctx context.Context) error {
	p.overrides = &overrides{process: p}
	p.metrics.overrides(func() (int64, bool) {
		now := p.overrides.outcome.Load()
		return now.Newest.Number, len(now.Refused) > 0
	})
	newest, err := p.store.NewestSettings(ctx)
	if err != nil {
		return err
	}
	p.overrides.mu.Lock()
	defer p.overrides.mu.Unlock()
	return p.overrides.lay(ctx, p.cfg, newest)
}

// Follow implements [override.Follower]. It costs one small statement where
// nothing is new.
func (o *overrides) Follow(ctx context.Context) (override.InForce, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	number, err := o.store.SettingsRevision(ctx)
	if err != nil || number == o.now.Newest.Number {
		return o.now, err
	}
	newest, err := o.store.NewestSettings(ctx)
	if err != nil {
		return o.now, err
	}
	return o.now, o.lay(ctx, o.file.Load(), newest)
}

// reread puts another reading of the file in force.
func (o *overrides) reread(ctx context.Context, file *config.Config) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	newest, err := o.store.NewestSettings(ctx)
	if err != nil {
		newest = o.now.Newest
	}
	return o.lay(ctx, file, newest)
}

// lay puts a file with the newest settings over it in force. Where those are
// refused it is the file with the settings that are in force, none at the start;
// an error says that this does not hold either, and changes nothing.
func (o *overrides) lay(ctx context.Context, file *config.Config, newest override.Revision) error {
	next := override.InForce{Newest: newest, Values: newest.Values}
	refused := override.ErrDamaged
	if !newest.Damaged {
		refused = o.force(ctx, file, next.Values)
	}
	if refused != nil {
		next.Values, next.Refused = o.now.Values, override.Reasons(refused)
		if err := o.force(ctx, file, next.Values); err != nil {
			return err
		}
		o.log.Error("the saved settings cannot be used and nothing was deleted; what was in force before stays, at the start the configuration file alone",
			"revision", newest.Number, "error", strings.Join(next.Refused, "; "))
	}
	o.file.Store(file)
	o.now = next
	o.outcome.Store(&next)
	return nil
}

// force puts a configuration in force unless it is already.
func (o *overrides) force(ctx context.Context, file *config.Config, values override.Values) error {
	cfg, warnings, err := file.With(values)
	if err != nil {
		return config.Refused(err)
	}
	former := o.live.now()
	if former == nil {
		return o.compile(cfg)
	}
	changed, _ := config.Diff(former.cfg, cfg.Listening(o.ports.public, o.ports.admin))
	if len(changed) == 0 {
		return nil
	}
	hooks := o.fixedHooks()
	if err := o.compile(cfg); err != nil {
		return err
	}
	say(o.log, cfg, warnings)
	if o.leading.Load() && !reflect.DeepEqual(hooks, o.fixedHooks()) {
		if err := o.provision(ctx); err != nil {
			o.log.Error("the bus does not know the new hooks yet", "error", err)
		}
	}
	select {
	case o.reloads <- struct{}{}:
	default:
	}
	o.log.Info("another configuration is in force", "changed", strings.Join(changed, ", "), "revision", o.live.now().shown.Revision)
	return nil
}

// Settings implements [override.Configuration].
func (o *overrides) Settings(v override.Values) []override.State { return o.file.Load().Settings(v) }

// Effect implements [override.Configuration]: what can be compiled is what can be
// put in force.
func (o *overrides) Effect(_ context.Context, v override.Values) (override.Effect, error) {
	cfg, _, err := o.file.Load().With(v)
	if err != nil {
		return override.Effect{}, config.Refused(err)
	}
	cfg = cfg.Listening(o.ports.public, o.ports.admin)
	tried, err := compile(cfg, foundation{log: o.log}, o.live.now())
	if err != nil {
		return override.Effect{}, &override.Refused{Reasons: []string{err.Error()}}
	}
	tried.hooks.Close()
	return effectOf(cfg)
}

// settings gives administrators the saved settings.
func (p *process) settings() *override.Service {
	return &override.Service{
		Store:         p.store,
		Configuration: p.overrides,
		Follower:      p.overrides,
		Saved: func() {
			_ = p.events.Publish(events.SubjectSettingsChanged, nil) // one that is lost is made up for by the poll
		},
		Now: time.Now,
	}
}

// followSettings follows what operators save until ctx ends.
func (p *process) followSettings(ctx context.Context, every time.Duration) error {
	told := make(chan struct{}, 1)
	if err := p.hearOfSettings(func(*nats.Msg) {
		select {
		case told <- struct{}{}:
		default: // it is about to look
		}
	}); err != nil {
		return err
	}
	look := time.NewTicker(every)
	defer look.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-told:
		case <-look.C:
		}
		_, err := p.overrides.Follow(ctx)
		if err != nil && !failing && ctx.Err() == nil { // once, not at each look
			p.log.Error("whether settings were saved is not known; what is in force stays", "error", err)
		}
		failing = err != nil
	}
}

// hearOfSettings subscribes with one of the connections of this process.
func (p *process) hearOfSettings(told nats.MsgHandler) error {
	conn := p.events
	if conn == nil {
		conn = p.hears
	}
	if conn == nil {
		return nil
	}
	if _, err := conn.Subscribe(events.SubjectSettingsChanged, told); err != nil {
		return fmt.Errorf("subscribe %s: %w", events.SubjectSettingsChanged, err)
	}
	return nil
}
