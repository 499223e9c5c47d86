package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/operator"
	"github.com/usher-auth/usher/services/store"
	workersession "github.com/usher-auth/usher/workers/session"
)

// Parts are what a process runs.
type Parts struct{ API, Session, Hooks, Console bool }

// Everything is all parts in one process.
var Everything = Parts{API: true, Session: true, Hooks: true, Console: true}

// String names the parts as the command line does: "api", or "serve" for all of them.
func (p Parts) String() string {
	switch p {
	case Everything:
		return "serve"
	case Parts{API: true}:
		return "api"
	case Parts{Session: true}:
		return "session"
	case Parts{Hooks: true}:
		return "hooks"
	case Parts{Console: true}:
		return "console"
	}
	return "parts"
}

// administers tells whether the parts look after hooks, workers and settings.
func (p Parts) administers() bool { return p.API || p.Console }

// Options say what to serve. Load and Parts are needed.
type Options struct {
	// Load reads the configuration. It is called again at SIGHUP, and when one of its
	// files changes, see [config.Config.Files].
	Load    func() (*config.Config, []config.Warning, error)
	Parts   Parts
	Version string
	// Log takes the log; nil writes to Output as the configuration says.
	Log    *slog.Logger
	Output io.Writer
	// Ready is called once, when everything listens.
	Ready func(Addresses)
}

// Addresses are where the parts of a process can be reached; Public is empty
// for a process without the API.
type Addresses struct {
	Public, Admin, Bus string
	// SetUp is the link that sets up the first operator of the console, once. It is a
	// secret; empty unless this start made it.
	SetUp string
}

// process is one running process and what its parts share.
type process struct {
	Options
	cfg     *config.Config
	log     *slog.Logger
	metrics *metrics
	traces  *traces // nil where nothing is traced
	stats   *statistics
	store   *store.Store
	stages  *stages
	inForce
	onBus
	ofHooks
	listening
	signals
	audit *auditor
}

// inForce is what is in force, and what a change of it goes by.
type inForce struct {
	live *live
	// overrides put the file with what operators have saved in force.
	overrides *overrides
	// sealed are the secrets that the keys in the database are sealed with.
	sealed []string
	// signedIn has the user and the password that new connections to it are made with.
	signedIn config.Address
	// failedLogins outlives each reload, or one would let an attack tell more.
	failedLogins login.Failures
}

// onBus are the ways to the bus.
type onBus struct {
	bus *bus
	// issuer asks the session worker, answers the answering workers; provisioner
	// and events are the API's other ways to the bus. Those are empty in a process
	// without the API.
	issuer              *workersession.Client
	answers             answers
	provisioner, events *nats.Conn
	provisioning        sync.Mutex      // held by who changes the bus
	reused              map[string]bool // names that were warned of, see warnOfReused
	// kicker wakes the relay of another process, in one without the API.
	kicker *nats.Conn
	// hears is told when settings have changed, in a process without the API.
	hears *nats.Conn
	// adminAuth and adminEvents discover the workers of the two accounts; nil where
	// they may not.
	adminAuth, adminEvents *nats.Conn
	// reach knows whether others reach the database; nil where there are none.
	reach *reach
}

// ofHooks is what the hooks stand on, and those who look after them.
type ofHooks struct {
	// hooks knows all hooks, webhooks declares webhooks.
	hooks    *delivery.Catalogue
	webhooks *delivery.Webhooks
	// delivery keeps what hooks fail at; nil in a process that has neither hooks nor API.
	delivery *delivery.Service
	checker  *delivery.Checks
	// deliveries are what hooks were given, as this process has seen it; consumers
	// are their durable consumers.
	deliveries *deliveries
	consumers  delivery.Consumers
}

// listening is what the listeners stand on.
type listening struct {
	ports        struct{ public, admin int } // that are listened on
	certificates *certificates
	auditCheck   *audit.Check
	// operators are those of the console; nil in a process without it.
	operators *operator.Service
}

// signals are what the parts of a process tell each other.
type signals struct {
	// kicks wakes this process's relay; leading tells whether it is the active one.
	kicks   chan struct{}
	leading atomic.Bool
	// reloads tells the hooks that the configuration has changed, reconfigured
	// those who look after the identity providers.
	reloads, reconfigured chan struct{}
	// hangup gets SIGHUP from the first moment on, serving is closed when all listens.
	hangup  <-chan os.Signal
	serving chan struct{}
	// leaving is set when this process is to end, draining closed when it takes no more.
	leaving  atomic.Bool
	draining chan struct{}
}

// Serve runs the parts until ctx ends, then drains them in order: no request
// loses its answer, no event its delivery.
func Serve(ctx context.Context, o Options) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	cfg, warnings, err := o.Load()
	if err != nil {
		return err
	}
	p := &process{
		Options: o, cfg: cfg, log: o.Log,
		metrics: newMetrics(o.Version),
		stats:   &statistics{},
		inForce: inForce{live: &live{}},
		signals: signals{
			kicks:        make(chan struct{}, 1),
			reloads:      make(chan struct{}, 1),
			reconfigured: make(chan struct{}, 1),
			draining:     make(chan struct{}),
			hangup:       hangup,
			serving:      make(chan struct{}),
		},
	}
	if p.log == nil {
		p.log = newLog(cfg, o.Output)
	}
	p.stages = newStages(p.log)
	if cfg.Dev {
		p.log.Info("development mode: migrations at start, cheap hashes allowed; not for production", "data_dir", cfg.DataDir, "secure_cookies", cfg.Session.Cookie.Secure)
	}
	say(p.log, cfg, warnings)

	err = p.start(ctx)
	if err == nil {
		select {
		case <-ctx.Done():
			err = p.leave()
		case err = <-p.stages.failed:
			p.log.Error("a part has failed; draining", "error", err)
		}
	}
	p.leaving.Store(true)
	p.notify(daemon.SdNotifyStopping + "\nSTATUS=draining")
	close(p.draining)
	err = errors.Join(err, p.stop())
	p.log.Info("stopped")
	return err
}

// leave goes on serving for serve.drain_delay while /health/ready says that this process
// is to end: balancers look there, and send it no more before it closes.
func (p *process) leave() error {
	p.leaving.Store(true)
	delay := p.live.now().cfg.Serve.DrainDelay
	p.log.Info("draining", "delay", delay)
	if delay == 0 {
		return nil
	}
	p.notify(daemon.SdNotifyStopping + "\nSTATUS=waiting for balancers to look elsewhere")
	select {
	case <-time.After(delay):
		return nil
	case err := <-p.stages.failed:
		return err
	}
}

// start starts everything, in the order in which one thing stands on another.
func (p *process) start(ctx context.Context) error {
	if p.Parts != Everything {
		if err := p.cfg.CheckParts(); err != nil {
			return err
		}
	}
	var err error
	if p.traces, err = newTraces(ctx, p.cfg, p.Parts, p.Version, p.log); err != nil {
		return err
	}
	if p.store, err = openMigrated(ctx, p.cfg, p.storeOptions()); err != nil {
		return err
	}
	p.sealed, p.signedIn = p.cfg.CipherSecrets(), p.cfg.DSN
	p.metrics.database(p.store.Pools)
	p.metrics.flows(p.store.DroppedFlows)
	p.hooks = p.newCatalogue()
	p.deliveries = newDeliveries(p.store, p.log)
	if p.bus, err = openBus(ctx, p.cfg, p.log); err != nil {
		return err
	}
	if p.Parts.administers() {
		if err := p.connectAPI(ctx); err != nil {
			return err
		}
	}
	l, err := p.listen(ctx)
	if err == nil {
		err = p.startParts(ctx)
	}
	if err == nil {
		err = p.startHTTP(ctx, l)
	}
	if err != nil {
		l.close()
	}
	return err
}

// startParts starts what works behind the listeners.
func (p *process) startParts(ctx context.Context) error {
	if err := p.startOverrides(ctx); err != nil {
		return err
	}
	p.webhooks = &delivery.Webhooks{Catalogue: p.hooks, Sender: liveSender{p.live}}
	for _, start := range []struct {
		wanted bool
		part   func(context.Context) error
	}{
		{p.Parts.Session, p.startSession},
		{p.Parts.administers() && !p.Parts.Hooks, p.askDelivery},
		{p.Parts.API, p.startRelay},
		{p.Parts.API, p.startProviders},
		{p.Parts.API, p.startReach},
		{p.Parts.Hooks, p.startDelivery},
		{p.Parts.Hooks, p.startHooks},
	} {
		if start.wanted {
			if err := start.part(ctx); err != nil {
				return err
			}
		}
	}
	if err := p.startStats(ctx); err != nil {
		return err
	}
	p.stages.start(ctx, "reload", p.followConfig)
	p.stages.start(ctx, "settings", func(ctx context.Context) error { return p.followSettings(ctx, followEvery) })
	return nil
}

// stop drains what start has started.
func (p *process) stop() error {
	errs := []error{p.stages.stop()}
	p.stats.tell()
	if c := p.live.now(); c != nil {
		c.hooks.Close()
	}
	if p.bus != nil {
		p.bus.close()
	}
	if p.store != nil {
		errs = append(errs, p.store.Close())
	}
	return errors.Join(append(errs, p.traces.close())...)
}

// say tells at the start and after a reload what an operator should know.
func say(log *slog.Logger, cfg *config.Config, warnings []config.Warning) {
	plans := PlansOf(cfg)
	if social := SocialSignIn(cfg); social != "" {
		log.Info(social)
	}
	for _, w := range warnings {
		if w.Key == "security.account_enumeration.mitigate" && len(plans.Warnings) > 0 {
			continue // the plan says what that means
		}
		log.Warn(w.String())
	}
	for _, w := range plans.Warnings {
		log.Warn(w)
	}
	for _, n := range plans.Notes {
		log.Warn(n.Text, "line", n.Line)
	}
}

// Migrate brings the database of a configuration to this version, and logs to out
// what takes time. A temporary one is refused: it would be gone again.
func Migrate(ctx context.Context, cfg *config.Config, out io.Writer) error {
	if cfg.DSN.Reveal() == "memory" {
		return errors.New("dsn is memory: 'usher serve' makes that database anew at each start, and there is nothing to migrate")
	}
	s, err := openStore(ctx, cfg, store.Options{Part: "migrate", Log: newLog(cfg, out)})
	if err != nil {
		return err
	}
	return errors.Join(s.Migrate(ctx), s.Close())
}

// OpenStore opens the database of a configuration as it is. In development mode
// it makes the secrets that are missing.
func OpenStore(ctx context.Context, cfg *config.Config, log *slog.Logger) (*store.Store, error) {
	return openStore(ctx, cfg, store.Options{Log: log})
}

// openStore opens the database of a configuration; o says the rest.
func openStore(ctx context.Context, cfg *config.Config, o store.Options) (*store.Store, error) {
	if err := cfg.MakeSecrets(); err != nil {
		return nil, err
	}
	o.DSN, o.DataDir, o.CipherSecrets = cfg.DSN.Reveal(), cfg.DataDir, cfg.CipherSecrets()
	o.MaxFlows = cfg.SelfService.MaxFlows
	return store.Open(ctx, o)
}

// storeOptions are those of a process that serves.
func (p *process) storeOptions() store.Options {
	return store.Options{Part: p.Parts.String(), Log: p.log, Appended: p.wake, OpenDB: p.traces.openDB()}
}

// openMigrated opens a database of this version or a later one; development mode
// makes it one, and so does a start with a temporary one, which nobody else could.
func openMigrated(ctx context.Context, cfg *config.Config, o store.Options) (*store.Store, error) {
	s, err := openStore(ctx, cfg, o)
	if err != nil {
		return nil, err
	}
	ready, err := s.Migrated(ctx)
	switch {
	case err == nil && !ready && (cfg.Dev || cfg.DSN.Reveal() == "memory"):
		err = s.Migrate(ctx)
	case err == nil && !ready:
		err = errors.New("the database is not of this version: run 'usher migrate' with the same configuration")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("database: %w", err), s.Close())
	}
	return s, nil
}
