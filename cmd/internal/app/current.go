package app

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/breached"
	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/oidc"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/recovery"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/settings"
	"github.com/usher-auth/usher/services/verification"
	"github.com/usher-auth/usher/services/webhook"
)

// current is all that a reload of the configuration replaces: one value, so
// that a request goes by one configuration from its beginning to its end.
type current struct {
	cfg                 *config.Config
	api                 api.InForce
	settings            *api.Compiled
	schemas             schemas
	plans               map[string]hook.Plan // by method
	loginPlans          map[string]hook.LoginPlan
	verified, recovered hook.AfterPlan
	hooks               *webhook.Client
	providers           *oidc.Client
	passwords           *password.Pool
	breached            *breached.Set // nil if there is none
	registration        *registration.Service
	verification        *verification.Service
	recovery            *recovery.Service
	login               *login.Service
	courier             *courier.Service
	admin               *admin.Service
	shown               Plans
}

// foundation is what a current stands on and a reload leaves alone.
type foundation struct {
	registrations   registration.Store
	administration  admin.Store
	batches         admin.Batches
	ledger          session.Ledger
	logins          login.Store
	verifications   verification.Store
	recoveries      recovery.Store
	handOuts        admin.Recoveries
	changes         settings.Store
	messages        courier.Store
	sessions        session.Issuer
	workers         answers
	log             *slog.Logger
	observe         func(context.Context, registration.Outcome)
	observeLogin    func(login.Outcome)
	observeChange   func(settings.Outcome)
	observeMail     func(outcome string)
	observeRecovery func(recovery.Outcome)
	failedLogins    *login.Failures
	trouble         func(error)
}

// compile makes a configuration ready to be used, or says what is wrong with it.
func compile(cfg *config.Config, f foundation, former *current) (*current, error) {
	c := &current{cfg: cfg, plans: map[string]hook.Plan{}, loginPlans: map[string]hook.LoginPlan{}}
	var err error
	if c.settings, err = apiSettings(cfg); err != nil {
		return nil, err
	}
	if c.schemas, err = compileSchemas(cfg); err != nil {
		return nil, err
	}
	if c.hooks, err = webhook.New(webhookOptions(cfg, c.settings, f)); err != nil {
		return nil, err
	}
	if c.providers, err = providers(cfg, former); err != nil {
		return nil, err
	}
	for _, method := range cfg.Methods() {
		c.plans[method] = hook.Compile(method, cfg.Lists(method))
		c.loginPlans[method] = hook.CompileLogin(method, cfg.LoginLists(method))
	}
	c.verified = hook.CompileAfter(cfg.VerificationHooks())
	c.recovered = hook.CompileAfter(cfg.RecoveryHooks())
	c.shown = PlansOf(cfg)
	if former != nil {
		c.settings.KeepLimits(former.settings)
		c.shown.Generation = former.shown.Generation + 1
	}
	if c.passwords, err = passwords(cfg, former); err != nil {
		return nil, err
	}
	if c.breached, err = breachedPasswords(cfg, former); err != nil {
		return nil, err
	}
	if c.courier, err = newCourier(cfg, f, former, c.hooks); err != nil {
		return nil, err
	}
	c.useCases(f)
	return c, nil
}

// useCases puts together what answers requests.
func (c *current) useCases(f foundation) {
	cfg := c.cfg
	c.registration = &registration.Service{
		Store:              f.registrations,
		Schemas:            c.schemas,
		Policy:             c.policy(f.trouble),
		Passwords:          c.passwords,
		Hooks:              c.hooks,
		Workers:            c.hooks,
		Sessions:           f.sessions,
		Plan:               func(method string) hook.Plan { return c.plans[method] },
		Lifespan:           cfg.Session.Lifespan,
		IssueTimeout:       cfg.Session.Issue.Timeout,
		FailWithoutSession: cfg.Session.Issue.OnFailure == config.OnFailureFail,
		Now:                time.Now,
		Observe:            f.observe,
	}
	if v := cfg.SelfService.Flows.Verification; v.Enabled {
		c.registration.VerificationLifespan, c.registration.VerificationMethod = v.Lifespan, v.Use
	}
	c.verification = &verification.Service{
		Store:    f.verifications,
		Hooks:    c.hooks,
		Plan:     func() hook.AfterPlan { return c.verified },
		MaxTries: cfg.SelfService.Methods.Code.Config.MaxSubmissions,
		Lifespan: cfg.SelfService.Flows.Verification.Lifespan,
		Method:   cfg.SelfService.Flows.Verification.Use,
		Now:      time.Now,
		Trouble:  f.trouble,
	}
	c.recovery = &recovery.Service{
		Store:            f.recoveries,
		Sessions:         f.sessions,
		Hooks:            c.hooks,
		Plan:             func() hook.AfterPlan { return c.recovered },
		MaxTries:         cfg.SelfService.Methods.Code.Config.MaxSubmissions,
		Lifespan:         cfg.Session.Lifespan,
		IssueTimeout:     cfg.Session.Issue.Timeout,
		SettingsLifespan: cfg.SelfService.Flows.Settings.Lifespan,
		Privileged:       cfg.SelfService.Flows.Settings.PrivilegedSessionMaxAge,
		Now:              time.Now,
		Observe:          f.observeRecovery,
		Trouble:          f.trouble,
	}
	c.login = &login.Service{
		Store:        f.logins,
		Passwords:    c.passwords,
		Hooks:        c.hooks,
		Workers:      c.hooks,
		Sessions:     f.sessions,
		Verification: opener{c.verification},
		Plan:         func(method string) hook.LoginPlan { return c.loginPlans[method] },
		Lifespan:     cfg.Session.Lifespan,
		IssueTimeout: cfg.Session.Issue.Timeout,
		LegacyGate:   cfg.FeatureFlags.LegacyRequireVerifiedLoginError,
		Now:          time.Now,
		Observe:      f.observeLogin,
		Failures:     f.failedLogins,
	}
	c.admin = &admin.Service{
		Maker:          admin.Maker{Schemas: c.schemas, Passwords: c.passwords, Now: time.Now},
		Store:          f.administration,
		Batches:        f.batches,
		Sessions:       f.ledger,
		Lifespan:       cfg.Session.Lifespan,
		EarliestExtend: cfg.Session.EarliestPossibleExtend,
		Recoveries:     f.handOuts,
		CodeLifespan:   cfg.SelfService.Methods.Code.Config.Lifespan,
		LinkLifespan:   cfg.SelfService.Methods.Link.Config.Lifespan,
		LinkURL:        cmp.Or(cfg.SelfService.Methods.Link.Config.BaseURL, cfg.PublicURL()),
	}
	c.api = api.InForce{
		Settings:      c.settings,
		Schemas:       c.schemas,
		Registration:  c.registration,
		Login:         c.login,
		Verification:  c.verification,
		Recovery:      c.recovery,
		Changes:       c.changes(f),
		Providers:     c.providers,
		Administrator: c.admin,
	}
}

// opener opens the verification flows that logins ask for.
type opener struct{ verifications *verification.Service }

// Open is [verification.Service.Open].
func (o opener) Open(ctx context.Context, i *identity.Identity, a identity.Address, in login.Submit) (*flow.Flow, error) {
	return o.verifications.Open(ctx, verification.Opening{
		Identity:   i,
		Address:    a,
		Type:       in.Flow.Type,
		RequestURL: in.Flow.RequestURL,
		Languages:  in.Flow.Languages,
		ReturnTo:   in.Flow.ReturnTo,
		CSRF:       in.CSRF,
		Client:     in.Client,
	})
}

// compile puts a configuration in force, at the ports that were listened on.
func (p *process) compile(cfg *config.Config) error {
	former := p.live.now()
	c, err := compile(cfg.Listening(p.ports.public, p.ports.admin), foundation{
		registrations:   crashRegistrations(p.store),
		administration:  p.store,
		batches:         p.store,
		ledger:          p.store,
		logins:          p.store,
		verifications:   crashVerifications(p.store),
		recoveries:      crashRecoveries(p.store),
		handOuts:        p.store,
		changes:         crashChanges(p.store),
		messages:        crashMessages(p.store),
		sessions:        p.issuer,
		workers:         p.answers,
		log:             p.log,
		observe:         p.metrics.registration,
		observeMail:     p.metrics.mail,
		observeChange:   p.metrics.setting,
		observeLogin:    p.observeLogin,
		observeRecovery: p.metrics.recovery,
		failedLogins:    &p.failedLogins,
		trouble:         p.trouble,
	}, former)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	p.live.p.Store(c)
	if former != nil {
		former.hooks.Close() // requests that began before go on with it
	}
	select {
	case p.reconfigured <- struct{}{}:
	default: // it has not looked since
	}
	return nil
}

// observeLogin counts a login and says what broke on its way without changing its answer.
func (p *process) observeLogin(o login.Outcome) {
	p.metrics.login(o)
	if o.Trouble != nil {
		p.trouble(o.Trouble)
	}
}

// trouble says what broke and changed no answer.
func (p *process) trouble(err error) {
	p.log.Error("something broke that no answer tells of", "error", err)
}

// schemas are the configured identity schemas in their order.
type schemas struct {
	byID map[string]*identity.Schema
	list []api.Schema
}

func compileSchemas(cfg *config.Config) (schemas, error) {
	s := schemas{byID: map[string]*identity.Schema{}}
	for _, configured := range cfg.Identity.Schemas {
		compiled, err := identity.Compile(configured.ID, configured.Document)
		if err != nil {
			return s, err
		}
		s.byID[configured.ID] = compiled
		s.list = append(s.list, api.Schema{
			ID: configured.ID, Raw: configured.Document,
			Selectable: configured.Selectable || configured.ID == cfg.Identity.DefaultSchemaID,
		})
	}
	return s, nil
}

// Schema gives the schema with an id.
func (s schemas) Schema(id string) (*identity.Schema, bool) {
	found, ok := s.byID[id]
	return found, ok
}

// List gives all schemas in their order.
func (s schemas) List() []api.Schema { return s.list }

// live gives requests the configuration in force.
type live struct{ p atomic.Pointer[current] }

func (l *live) now() *current { return l.p.Load() }

// Deliver calls an endpoint of the configuration in force.
func (l *live) Deliver(ctx context.Context, endpoint string, call *webhook.Call) error {
	return l.now().hooks.Deliver(ctx, endpoint, call)
}

// settable tells whether people have anything to change in settings.
func (l *live) settable() bool { return len(l.now().cfg.SettingsMethods()) > 0 }

// recoverable tells whether who cannot sign in can recover the account.
func (l *live) recoverable() bool { return l.now().cfg.SelfService.Flows.Recovery.Enabled }

// verifiable tells whether an address that is changed gets a mail that verifies it.
func (l *live) verifiable() bool { return l.now().cfg.SelfService.Flows.Verification.Enabled }

// Write writes the mail of a flow by the configuration in force.
func (l *live) Write(ctx context.Context, r courier.Request) error {
	return l.now().courier.Write(ctx, r)
}

// Check compiles all of a configuration that can be compiled without a
// database or a bus: schemas, hooks and their templates, URLs. It reads the listeners'
// certificates, and gives what a start would warn of them.
func Check(cfg *config.Config) (warnings []config.Warning, err error) {
	for _, listener := range config.Listeners {
		_, more, err := cfg.Certificate(listener, time.Now())
		if err != nil {
			return nil, err
		}
		warnings = append(warnings, more...)
	}
	c, err := compile(sealed(cfg), foundation{}, nil)
	if err != nil {
		return nil, err
	}
	c.hooks.Close()
	return warnings, nil
}
