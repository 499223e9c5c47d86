package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

// current is all that a reload of the configuration replaces: one value, so
// that a request goes by one configuration from its beginning to its end.
type current struct {
	cfg          *config.Config
	settings     *api.Compiled
	schemas      schemas
	plans        map[string]hook.Plan // by method
	hooks        *webhook.Client
	passwords    *password.Pool
	registration *registration.Service
	creator      *registration.Creator
	shown        Plans
}

// foundation is what a current stands on and a reload leaves alone.
type foundation struct {
	store     registration.Store
	creations registration.CreationStore
	sessions  session.Issuer
	observe   func(registration.Outcome)
}

// compile makes a configuration ready to be used, or says what is wrong with it.
func compile(cfg *config.Config, f foundation, former *current) (*current, error) {
	c := &current{cfg: cfg, plans: map[string]hook.Plan{}}
	var err error
	if c.settings, err = settings(cfg); err != nil {
		return nil, err
	}
	if c.schemas, err = compileSchemas(cfg); err != nil {
		return nil, err
	}
	if c.hooks, err = webhook.New(webhookOptions(cfg, c.settings)); err != nil {
		return nil, err
	}
	for _, method := range cfg.Methods() {
		c.plans[method] = hook.Compile(method, cfg.Lists(method))
	}
	c.shown = PlansOf(cfg)
	if former != nil {
		c.shown.Revision = former.shown.Revision + 1
	}
	if c.passwords, err = passwords(cfg, former); err != nil {
		return nil, err
	}
	c.registration = &registration.Service{
		Store:              f.store,
		Schemas:            c.schemas,
		Policy:             policy(cfg),
		Passwords:          c.passwords,
		Hooks:              c.hooks,
		Sessions:           f.sessions,
		Plan:               func(method string, _ flow.Type) hook.Plan { return c.plans[method] },
		Lifespan:           cfg.Session.Lifespan,
		IssueTimeout:       cfg.Session.Issue.Timeout,
		FailWithoutSession: cfg.Session.Issue.OnFailure == config.OnFailureFail,
		Now:                time.Now,
		Observe:            f.observe,
	}
	c.creator = &registration.Creator{Store: f.creations, Schemas: c.schemas, Passwords: c.passwords, Now: time.Now}
	return c, nil
}

// compile puts a configuration in force, at the ports that were listened on.
func (p *process) compile(cfg *config.Config) error {
	f := foundation{creations: kicking{p.store, p.wake}, sessions: p.issuer, observe: p.metrics.registration}
	f.store = crashRegistrations(kicking{p.store, p.wake})
	c, err := compile(cfg.Listening(p.ports.public, p.ports.admin), f, p.live.now())
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	p.live.p.Store(c)
	return nil
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

// Register registers by the configuration in force.
func (l *live) Register(ctx context.Context, in registration.Submit) (*registration.Result, error) {
	return l.now().registration.Register(ctx, in)
}

// Repeat repeats by the configuration in force.
func (l *live) Repeat(ctx context.Context, in registration.Submit) (*registration.Result, error) {
	return l.now().registration.Repeat(ctx, in)
}

// Create creates by the configuration in force.
func (l *live) Create(ctx context.Context, in registration.Creation) (*identity.Identity, error) {
	return l.now().creator.Create(ctx, in)
}

// Schema gives a schema of the configuration in force.
func (l *live) Schema(id string) (*identity.Schema, bool) { return l.now().schemas.Schema(id) }

// List gives the schemas of the configuration in force.
func (l *live) List() []api.Schema { return l.now().schemas.List() }

// Deliver calls an endpoint of the configuration in force.
func (l *live) Deliver(ctx context.Context, endpoint string, call *webhook.Call) error {
	return l.now().hooks.Deliver(ctx, endpoint, call)
}

// background names the endpoints that are called from the event, over all methods.
func (l *live) background() (endpoints []string) {
	for _, plan := range l.now().plans {
		for _, step := range plan.Background {
			if !slices.Contains(endpoints, step.Endpoint) {
				endpoints = append(endpoints, step.Endpoint)
			}
		}
	}
	return endpoints
}

// plan shows the plans in force.
func (l *live) plan() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, l.now().shown) })
}

// Check compiles all of a configuration that can be compiled without a
// database or a bus: schemas, hooks and their templates, URLs.
func Check(cfg *config.Config) error {
	checked := *cfg
	if len(cfg.Secrets.Cookie) == 0 { // development mode makes them when it starts
		checked.Secrets.Cookie = []config.Secret{config.NewSecret(rand.Text())}
	}
	c, err := compile(&checked, foundation{}, nil)
	if err != nil {
		return err
	}
	c.hooks.Close()
	return nil
}
