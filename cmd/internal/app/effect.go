package app

import (
	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/override"
)

// effectOf is what a configuration does, as operators see it before they save it.
func effectOf(cfg *config.Config) (override.Effect, error) {
	plans := PlansOf(cfg)
	e := override.Effect{Rows: []override.Row{}, Answers: []override.Answer{}, Background: map[string][]string{}, Warnings: plans.Warnings}
	for _, r := range plans.Rows {
		e.Rows = append(e.Rows, override.Row{
			Flow: string(r.Flow), Method: r.Method, FlowType: string(r.FlowType), When: r.When, Step: r.Step, Line: r.Line,
		})
	}
	return e, nil
}
