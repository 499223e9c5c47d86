package app

import (
	"fmt"
	"slices"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/override"
	workercourier "github.com/usher-auth/usher/workers/courier"
)

// effectOf is what a configuration does, as operators see it before they save it.
func effectOf(cfg *config.Config) (override.Effect, error) {
	plans := PlansOf(cfg)
	e := override.Effect{Rows: []override.Row{}, Background: map[string][]string{}, Warnings: plans.Warnings}
	for _, r := range plans.Rows {
		if r.Flow == flow.Registration && !cfg.SelfService.Flows.Registration.Enabled {
			continue // nobody registers
		}
		e.Rows = append(e.Rows, override.Row{
			Flow: string(r.Flow), Method: r.Method, FlowType: string(r.FlowType), When: r.When, Step: r.Step, Line: r.Line,
		})
	}
	for _, method := range cfg.Methods() {
		e.Background[method] = backgroundOf(cfg, method)
	}
	var err error
	e.Answers, err = answersOf(cfg)
	return e, err
}

// backgroundOf are the hooks that run from the events of a registration or login
// with a method, as far as the configuration knows them, each with its event. It is
// read from the plans, and not said to be the same: so operators can see that it is.
func backgroundOf(cfg *config.Config, method string) []string {
	all := []string{}
	add := func(kind, name string, p events.Payload) {
		all = append(all, fmt.Sprintf("%s %s (%s)", kind, name, p.EventType()))
	}
	for _, step := range hook.Compile(method, cfg.Lists(method)).Background {
		add(step.Kind, step.Endpoint, events.IdentityCreated{})
	}
	for _, step := range hook.CompileLogin(method, cfg.LoginLists(method)).Background {
		add(step.Kind, step.Endpoint, events.LoginSucceeded{})
	}
	for _, step := range hook.CompileAfter(cfg.VerificationHooks()).Background {
		add(step.Kind, step.Endpoint, events.AddressVerified{})
	}
	// It waits for this event also where nothing in force asks for it.
	add(string(delivery.Worker), workercourier.Name, events.VerificationRequested{})
	declared := slices.Clone(cfg.DeclaredWebhooks())
	for _, h := range cfg.DeclaredWorkers() {
		declared = append(declared, h)
	}
	for _, h := range declared {
		for _, p := range []events.Payload{events.IdentityCreated{}, events.LoginSucceeded{}, events.AddressVerified{}} {
			if h.Kind != delivery.Answer && slices.Contains(h.Types, p.EventType()) {
				add(string(h.Kind), h.Name, p)
			}
		}
	}
	slices.Sort(all)
	return all
}

// answersOf are the answers to a registration with each method, with the examples
// that the API makes.
func answersOf(cfg *config.Config) ([]override.Answer, error) {
	answers := []override.Answer{}
	settings, err := apiSettings(sealed(cfg))
	if err != nil {
		return nil, err
	}
	known, err := compileSchemas(cfg)
	if err != nil {
		return nil, err
	}
	schema, ok := known.Schema(cfg.Identity.DefaultSchemaID)
	if !ok {
		return answers, nil // another check says so
	}
	for _, method := range cfg.Methods() {
		plan := hook.Compile(method, cfg.Lists(method))
		of := api.Registered{
			Method: method, Provider: exampleProvider(cfg, method), Schema: schema,
			Session: plan.Session.On, Lifespan: cfg.Session.Lifespan, ShowVerification: plan.ShowsVerification(),
		}
		if v := cfg.SelfService.Flows.Verification; v.Enabled {
			of.Verification = v.Lifespan
		}
		examples, err := settings.Examples(of)
		if err != nil {
			return nil, err
		}
		for _, e := range examples {
			answers = append(answers, override.Answer{
				Method: method, FlowType: string(e.FlowType), Client: e.Client, Fields: e.Fields, Cookies: e.Cookies, Example: e.Text,
			})
		}
	}
	return answers, nil
}

// exampleProvider is the first that people can sign in with.
func exampleProvider(cfg *config.Config, method string) string {
	if providers := cfg.OIDCProviders(); method == "oidc" && len(providers) > 0 {
		return providers[0].ID
	}
	return ""
}
