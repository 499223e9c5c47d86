package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/pages"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/store"
)

// listeners are open before anything is handed out that names their ports;
// public is nil without the API.
type listeners struct{ public, admin net.Listener }

func (p *process) listen(ctx context.Context) (l listeners, err error) {
	served := config.Listeners[:]
	if !p.Parts.API {
		served = []string{"admin"}
	}
	if p.certificates, err = newCertificates(p.cfg, served, p.log, p.metrics.certificate); err != nil {
		return l, err
	}
	if l.admin, err = listen(ctx, "admin", p.cfg.Serve.Admin.Host, p.cfg.Serve.Admin.Port); err != nil {
		return l, err
	}
	p.ports.admin = l.admin.Addr().(*net.TCPAddr).Port
	if !p.Parts.API {
		return l, nil
	}
	if l.public, err = listen(ctx, "public", p.cfg.Serve.Public.Host, p.cfg.Serve.Public.Port); err != nil {
		return l, err
	}
	p.ports.public = l.public.Addr().(*net.TCPAddr).Port
	return l, nil
}

// close closes what was not served.
func (l listeners) close() {
	for _, open := range []net.Listener{l.admin, l.public} {
		if open != nil {
			_ = open.Close()
		}
	}
}

// startHTTP serves the listeners.
func (p *process) startHTTP(ctx context.Context, l listeners) error {
	p.auditCheck = audit.NewCheck(auditLog{p.store}, time.Now)
	p.metrics.connections(p.bus.url(), p.bus.open)
	p.metrics.busEnds(p.bus.open, p.cfg.Bus.TLS.Cert, p.bus.credentialFiles)
	if p.bus.embedded != nil {
		p.metrics.busStore(p.bus.embedded.Store)
	}
	server, err := p.newServer(ctx)
	if err != nil {
		return err
	}
	p.stages.start(ctx, "audit check", p.auditCheck.Run)
	public, admin := l.public, l.admin
	at := Addresses{Admin: p.certificates.url("admin", admin.Addr()), Bus: p.bus.url()}
	p.stages.start(ctx, "admin listener", serveHTTP(admin, p.metrics.during("admin", server.Admin()), p.certificates.of("admin"), &p.leaving, p.log))
	if public != nil {
		at.Public = p.certificates.url("public", public.Addr())
		p.stages.start(ctx, "public listener", serveHTTP(public, p.metrics.during("public", server.Public()), p.certificates.of("public"), &p.leaving, p.log))
	}
	listens := []any{"admin", at.Admin, "bus", at.Bus}
	if at.Public != "" {
		listens = append(listens, "public", at.Public)
	}
	p.log.Info("ready", listens...)
	if err := p.firstOperator(ctx, &at); err != nil {
		return err
	}
	if p.Ready != nil {
		p.Ready(at)
	}
	p.notify(daemon.SdNotifyReady + "\nSTATUS=serving")
	close(p.serving)
	return p.startWatchdog(ctx, admin.Addr())
}

// newServer builds the handlers. A process without the API serves only the
// admin listener, for its health and metrics.
func (p *process) newServer(ctx context.Context) (*api.Server, error) {
	guarded, err := p.guarded(ctx)
	if err != nil {
		return nil, err
	}
	sessions, err := p.cacheSessions()
	if err != nil {
		return nil, err
	}
	// The pages and the console are clients of the contract: they ask the handlers, and
	// share what the one server remembers.
	server := api.New(api.Options{
		Current:         func() api.InForce { return p.live.now().api },
		PublicOptions:   p.publicOptions(),
		AdminOptions:    p.adminOptions(guarded),
		OperatorOptions: p.operatorOptions(),
		Observers: api.Observers{
			Tracer:          p.traces.tracer(),
			Observe:         p.metrics.request,
			ObserveProvider: p.metrics.provider,
			ObserveLimit:    p.metrics.limit,
		},
		Sessions:   sessions,
		Identities: p.store,
		Checks:     p.checks(),
		Draining:   p.draining,
		Version:    p.Version,
		Log:        p.log,
		Now:        time.Now,
	})
	ui := pages.New(pages.Options{Public: server.Public(), ProductName: "Usher", Settings: p.live.settable, Recovery: p.live.recoverable, Verification: p.live.verifiable, Log: p.log})
	var operators http.Handler
	if p.Parts.Console {
		if operators, err = p.console(server.Admin()); err != nil {
			return nil, err
		}
	}
	server.Mount(ui, operators)
	return server, nil
}

// publicOptions are what the public listener stands on.
func (p *process) publicOptions() api.PublicOptions {
	return api.PublicOptions{
		Flows:       p.store,
		OwnSessions: &session.Service{Store: p.store, Ledger: p.store, Now: time.Now},
		Finder:      p.store,
		Errors:      p.store,
		CSRFKey:     p.store.Key(store.KeyCSRF),
	}
}

// adminOptions are what administrators look at in every process.
func (p *process) adminOptions(guarded bool) api.AdminOptions {
	return api.AdminOptions{
		Guarded:    guarded,
		Tokens:     p.store,
		Ledger:     p.store,
		Messages:   p.store,
		Grants:     p.store,
		Events:     p.store,
		Audit:      auditLog{p.store},
		AuditCheck: p.auditCheck,
		Journal:    p.store,
		ShowMails:  p.cfg.Dev,
		Plan:       p.plan(),
		Metrics:    p.metrics.handler(),
		Profile:    profile,
	}
}

// operatorOptions are what those look after who have hooks, workers and settings, in a
// process whose parts do.
func (p *process) operatorOptions() api.OperatorOptions {
	if !p.Parts.administers() {
		return api.OperatorOptions{Webhooks: p.webhooks}
	}
	return api.OperatorOptions{
		Webhooks:       p.webhooks,
		Hooks:          p.declarations(),
		Failures:       p.store,
		Redeliverer:    p.delivery,
		Checker:        p.checker,
		BusURL:         p.bus.url(),
		BusCA:          p.bus.ca,
		Overrides:      p.settings(),
		Timelines:      p.timelines(),
		SessionWorkers: presence{auth: p.adminAuth},
		Stats:          p.stats.hour,
	}
}

// guarded tells whether the admin listener can be reached from other machines.
// It does not start there without a token (A18).
func (p *process) guarded(ctx context.Context) (bool, error) {
	host := p.cfg.Serve.Admin.Host
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return false, nil
	}
	tokens, err := p.store.AdminTokens(ctx)
	if err != nil {
		return true, err
	}
	if len(tokens) == 0 {
		return true, fmt.Errorf("the admin listener on %q can be reached from other machines and there is no token for it: make one with 'usher admin token new NAME', or set serve.admin.host to 127.0.0.1", host)
	}
	return true, nil
}

// Names of what /health/ready looks at.
const (
	CheckProcess  = "process"
	CheckDatabase = "database"
	CheckBus      = "bus"
	CheckReach    = "database from here"
	CheckSessions = "session worker"
)

// HealthChecks are all that a process may have.
var HealthChecks = [...]string{CheckProcess, CheckDatabase, CheckBus, CheckReach, CheckSessions}

// checks are what this process needs to be ready. Without a bus people register, and
// administrators look: only workers can do nothing. The session worker is shown, and
// needed only where a registration fails without it.
func (p *process) checks() []api.Check {
	checks := []api.Check{
		{Name: CheckProcess, Own: true, Run: p.stays},
		{Name: CheckDatabase, Run: p.store.Ping},
		{Name: CheckBus, Optional: p.Parts.administers, Run: p.bus.healthy},
	}
	if p.reach != nil {
		checks = append(checks, api.Check{Name: CheckReach, Own: true, Run: p.reach.alone})
	}
	if p.issuer != nil {
		optional := func() bool { return p.live.now().cfg.Session.Issue.OnFailure != config.OnFailureFail }
		checks = append(checks, api.Check{
			Name: CheckSessions, Optional: optional,
			Run: func(ctx context.Context) error { return p.pingSession(ctx, optional()) },
		})
	}
	return checks
}

// stays tells whether this process is not to end.
func (p *process) stays(context.Context) error {
	if p.leaving.Load() {
		return errors.New("it is draining")
	}
	return nil
}

// pingSession asks for a session worker by the bus's own discovery. Where it is
// only a warning, a balancer must not be kept waiting for a bus that is silent:
// it would take that for a frozen process.
func (p *process) pingSession(ctx context.Context, optional bool) error {
	patience := time.Second
	if optional {
		patience = 150 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := p.issuer.Conn.RequestWithContext(ctx, "$SRV.PING.session", nil)
	return err
}
