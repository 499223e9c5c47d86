package app

import (
	"context"
	"errors"
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

// lookLimit is how long the database may take to say what was saved.
const lookLimit = 10 * time.Second

// overrides lay what operators have saved over the configuration file, and put
// both together in force, see [override.Choose]. That follows from the file and the
// newest revision alone, so that processes agree, and a start makes the same of them as a process that was running
// when they changed. A file that goes no more with what was saved counts.
type overrides struct {
	*process
	// file is the last good reading of it.
	file atomic.Pointer[config.Config]
	// newHooks is told when other hooks are in force than before, or another limit of
	// the stream.
	newHooks chan struct{}

	turn   sync.Mutex // held by who puts something in force
	now    override.InForce
	edited *config.Config // a reading of the file that is to be in force
	// outcome is now, for the metrics.
	outcome atomic.Pointer[override.InForce]

	mu   sync.Mutex
	next *look // has not begun
}

// look is one at what was saved. All who asked before it began wait for it.
type look struct {
	done chan struct{}
	now  override.InForce
	err  error
}

// startOverrides puts the file with the saved settings over it in force, or the
// file alone where they cannot be used.
func (p *process) startOverrides(ctx context.Context) error {
	p.overrides = &overrides{process: p, newHooks: make(chan struct{}, 1), edited: p.cfg}
	p.metrics.overrides(func() (int64, bool) {
		now := p.overrides.outcome.Load()
		return now.Newest.Number, len(now.Refused) > 0
	})
	p.overrides.turn.Lock()
	defer p.overrides.turn.Unlock()
	return p.overrides.look(ctx)
}

// Follow implements [override.Follower]. It costs one small statement where nothing
// is new. A caller that gives up waiting ends nothing for the others.
func (o *overrides) Follow(ctx context.Context) (override.InForce, error) {
	o.mu.Lock()
	if o.next == nil {
		o.next = &look{done: make(chan struct{})}
		go o.run(o.next)
	}
	l := o.next
	o.mu.Unlock()
	select {
	case <-l.done:
		return l.now, l.err
	case <-ctx.Done():
		return override.InForce{}, ctx.Err()
	}
}

// run looks once, after the one before it.
func (o *overrides) run(l *look) {
	o.turn.Lock()
	defer o.turn.Unlock()
	o.mu.Lock()
	o.next = nil
	o.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), lookLimit)
	defer cancel()
	l.err = o.look(ctx)
	l.now = o.now
	close(l.done)
}

// reread puts another reading of the file in force. Where the database is needed for
// that and away, the next look that succeeds does it.
func (o *overrides) reread(ctx context.Context, file *config.Config) error {
	o.turn.Lock()
	defer o.turn.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	o.edited = file
	return o.look(ctx)
}

// look puts in force what is new of the file and the revisions. An error changes
// nothing.
func (o *overrides) look(ctx context.Context) error {
	newest, err := o.store.NewestSettings(ctx)
	switch started := o.outcome.Load() != nil; {
	case err != nil && (o.edited == nil || !started):
		return err
	case err != nil:
		newest = o.now.Newest // the file does not wait for the database
	case o.edited == nil && reflect.DeepEqual(newest, o.now.Newest):
		return nil
	}
	file := o.edited
	if file == nil {
		file = o.file.Load()
	}
	var unusable error // the file alone
	next, err := override.Choose(newest, config.Saveable, func(v override.Values) error {
		unusable = o.force(file, v)
		return unusable
	})
	if err != nil {
		if errors.Is(err, unusable) {
			o.edited = nil // another edit is needed
		}
		return err
	}
	o.tell(next)
	o.edited, o.now = nil, next
	o.file.Store(file)
	o.outcome.Store(&next)
	return nil
}

// usable says why a reading of the file cannot be put in force, and puts nothing in force.
func (o *overrides) usable(file *config.Config) error {
	o.turn.Lock()
	defer o.turn.Unlock()
	_, err := override.Choose(o.now.Newest, config.Saveable, func(v override.Values) error {
		_, err := o.try(file, v)
		return err
	})
	return err
}

// try compiles the file with values over it and gives what would be in force.
func (o *overrides) try(file *config.Config, v override.Values) (*config.Config, error) {
	cfg, _, err := file.With(v)
	if err != nil {
		return nil, config.Refused(err)
	}
	cfg = cfg.Listening(o.ports.public, o.ports.admin)
	tried, err := compile(cfg, foundation{log: o.log}, o.live.now())
	if err != nil {
		return nil, &override.Refused{Reasons: []string{err.Error()}}
	}
	tried.hooks.Close()
	return cfg, nil
}

// tell says loudly what of the saved settings is not in force.
func (o *overrides) tell(next override.InForce) {
	if len(next.Refused) > 0 {
		o.log.Error("the saved settings cannot be used; nothing was deleted, and the configuration file alone is in force",
			"revision", next.Newest.Number, "error", strings.Join(next.Refused, "; "))
	}
	if len(next.Unknown) > 0 {
		o.log.Warn("saved settings that this version does not have are left out; the next save drops them",
			"revision", next.Number, "names", fmt.Sprintf("%.200q", next.Unknown))
	}
}

// force puts a configuration in force unless it is already.
func (o *overrides) force(file *config.Config, values override.Values) error {
	cfg, warnings, err := file.With(values)
	if err != nil {
		return config.Refused(err)
	}
	former := o.live.now()
	if former == nil {
		return o.compile(cfg)
	}
	changed, restart := config.Diff(former.cfg, cfg.Listening(o.ports.public, o.ports.admin))
	if len(changed) == 0 {
		return nil
	}
	hooks, stream := o.fixedHooks(), o.streamOptions()
	if err := o.compile(cfg); err != nil {
		return err
	}
	say(o.log, cfg, warnings)
	if !reflect.DeepEqual(hooks, o.fixedHooks()) || !reflect.DeepEqual(stream, o.streamOptions()) {
		select {
		case o.newHooks <- struct{}{}:
		default: // the leader is about to provision
		}
	}
	select {
	case o.reloads <- struct{}{}:
	default:
	}
	if changed = effective(changed, restart); len(changed) > 0 {
		o.log.Info("another configuration is in force", "changed", strings.Join(changed, ", "), "revision", o.live.now().shown.Generation)
	}
	return nil
}

// Settings implements [override.Configuration].
func (o *overrides) Settings(v override.Values) []override.State { return o.file.Load().Settings(v) }

// Effect implements [override.Configuration]: what can be compiled is what can be
// put in force.
func (o *overrides) Effect(_ context.Context, v override.Values) (override.Effect, error) {
	cfg, err := o.try(o.file.Load(), v)
	if err != nil {
		return override.Effect{}, err
	}
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
