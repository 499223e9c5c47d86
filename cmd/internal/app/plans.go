package app

import (
	"encoding/json"
	"net/http"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
)

// Plans is what "usher hooks plan" and /admin/plan show.
type Plans struct {
	// Revision counts the configurations that this process had in force.
	Revision int       `json:"revision"`
	Rows     []PlanRow `json:"rows"`
	// Notes say where the written order differs from the plan's; "--check"
	// fails when there are any.
	Notes []hook.Note `json:"notes"`
	// Warnings say in plain words what is dangerous.
	Warnings []string `json:"warnings"`
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
	p := Plans{Rows: []PlanRow{}, Notes: []hook.Note{}, Warnings: []string{}}
	for _, method := range cfg.Methods() {
		plan := hook.Compile(method, cfg.Lists(method))
		p.add(flow.Registration, method, plan.Rows())
		login := hook.CompileLogin(method, cfg.LoginLists(method))
		p.add(flow.Login, method, login.Rows())
		p.Notes = append(append(p.Notes, plan.Notes...), login.Notes...)
		p.Warnings = append(p.Warnings, plan.Warnings(cfg.Mitigate())...)
	}
	if cfg.SelfService.Flows.Verification.Enabled {
		p.add(flow.Verification, "code", hook.CompileVerification(cfg.VerificationHooks()).Rows())
	}
	return p
}

func (p *Plans) add(kind flow.Kind, method string, rows []hook.Row) {
	for _, t := range []flow.Type{flow.API, flow.Browser} {
		for _, row := range rows {
			p.Rows = append(p.Rows, PlanRow{Flow: kind, Method: method, FlowType: t, Row: row})
		}
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v) // whoever asked may be gone
}
