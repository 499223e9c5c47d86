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

// PlanRow is one step of one method and flow type.
type PlanRow struct {
	Method   string `json:"method"`
	FlowType string `json:"flow_type"`
	hook.Row
}

// PlansOf compiles the plans of a configuration.
func PlansOf(cfg *config.Config) Plans {
	p := Plans{Rows: []PlanRow{}, Notes: []hook.Note{}, Warnings: []string{}}
	for _, method := range cfg.Methods() {
		plan := hook.Compile(method, cfg.Lists(method))
		for _, t := range []flow.Type{flow.API, flow.Browser} {
			for _, row := range plan.Rows() {
				p.Rows = append(p.Rows, PlanRow{Method: method, FlowType: string(t), Row: row})
			}
		}
		p.Notes = append(p.Notes, plan.Notes...)
		p.Warnings = append(p.Warnings, plan.Warnings(cfg.Mitigate())...)
	}
	return p
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v) // whoever asked may be gone
}
