package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/override"
)

// Plans is what "usher hooks plan" and /admin/plan show.
type Plans struct {
	// Generation counts the configurations that this process had in force: each
	// process counts its own, unlike the revisions of saved settings.
	Generation int       `json:"revision"`
	Rows       []PlanRow `json:"rows"`
	// SignIn is what the switch of the settings stands at, by the lists in force.
	SignIn override.Standing `json:"sign_in_after_registration"`
	// Notes say where the written order differs from the plan's; "--check"
	// fails when there are any.
	Notes []hook.Note `json:"notes"`
	// Warnings say in plain words what is dangerous.
	Warnings []string `json:"warnings"`
	// Undeclared are answering workers that are asked and that the configuration
	// does not declare; of a running server, that nobody has declared.
	Undeclared []string `json:"undeclared_workers"`
}

// Unknown says in plain words what is missing of the undeclared workers.
func (p Plans) Unknown() (texts []string) {
	for _, name := range p.Undeclared {
		texts = append(texts, fmt.Sprintf("worker %s is asked, and the configuration does not declare it: 'usher worker list' shows whether the server knows it, and 'usher worker new %s --kind answer' makes it", name, name))
	}
	return texts
}

// PlanRow is one step of one flow, method and flow type.
type PlanRow struct {
	Flow     flow.Kind `json:"flow"`
	Method   string    `json:"method"`
	FlowType flow.Type `json:"flow_type"`
	hook.Row
}

// PlansOf compiles the plans of a configuration.
func PlansOf(cfg *config.Config) Plans {
	p := Plans{Rows: []PlanRow{}, Notes: []hook.Note{}, Warnings: []string{}, Undeclared: cfg.UndeclaredAnswers(), SignIn: cfg.SignIn()}
	for _, method := range cfg.Methods() {
		plan := hook.Compile(method, cfg.Lists(method))
		p.add(flow.Registration, method, plan.Rows())
		login := hook.CompileLogin(method, cfg.LoginLists(method))
		p.add(flow.Login, method, login.Rows())
		p.Notes = append(append(p.Notes, plan.Notes...), login.Notes...)
		p.Warnings = append(p.Warnings, plan.Warnings(cfg.Mitigate())...)
	}
	if cfg.SelfService.Flows.Verification.Enabled {
		p.add(flow.Verification, cfg.SelfService.Flows.Verification.Use, hook.CompileAfter(cfg.VerificationHooks()).Rows())
	}
	if cfg.SelfService.Flows.Recovery.Enabled {
		p.add(flow.Recovery, cfg.SelfService.Flows.Recovery.Use, hook.CompileAfter(cfg.RecoveryHooks()).Rows())
	}
	for _, method := range cfg.SettingsMethods() {
		p.add(flow.Settings, method, hook.CompileSettings(method, cfg.SettingsLists(method)).Rows())
	}
	return p
}

// SocialSignIn says in one line who signs people in elsewhere, and whether a
// registration there is signed in; empty if nobody does.
func SocialSignIn(cfg *config.Config) string {
	var ids []string
	for _, p := range cfg.OIDCProviders() {
		ids = append(ids, p.ID)
	}
	if len(ids) == 0 {
		return ""
	}
	step := "no session: auto_session is false, and session is not in the list"
	for _, row := range hook.Compile("oidc", cfg.Lists("oidc")).Rows() {
		if strings.HasPrefix(row.Step, hook.KindSession) {
			step = row.Step
		}
	}
	return "social sign-in with " + strings.Join(ids, ", ") + ": " + step
}

func (p *Plans) add(kind flow.Kind, method string, rows []hook.Row) {
	for _, t := range []flow.Type{flow.API, flow.Browser} {
		for _, row := range rows {
			p.Rows = append(p.Rows, PlanRow{Flow: kind, Method: method, FlowType: t, Row: row})
		}
	}
}

// plan shows the plans in force, with the hooks that are declared in mind.
func (p *process) plan() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown := p.live.now().shown
		all, err := p.hooks.All(r.Context())
		if err != nil {
			p.log.Error("plan: which workers are declared is not known", "error", err)
		}
		shown.Undeclared = slices.DeleteFunc(slices.Clone(shown.Undeclared), func(name string) bool {
			return err != nil || all[name].Kind == delivery.Answer
		})
		writeJSON(w, shown)
	})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v) // whoever asked may be gone
}
