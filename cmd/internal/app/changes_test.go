package app

import (
	"slices"
	"testing"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/flow"
)

// What runs behind a change of settings stands in the plan, and its background endpoint
// is given identity.updated.
func TestHooksOfSettingsAreInThePlan(t *testing.T) {
	t.Parallel()
	cfg, _, err := config.Load(config.Options{Dev: true, Env: []string{}, Overrides: map[string]any{
		"selfservice.flows.settings.after.hooks": []any{map[string]any{"hook": "web_hook", "config": map[string]any{
			"id": "crm", "url": "http://127.0.0.1/", "response": map[string]any{"ignore": true},
		}}},
		"selfservice.flows.settings.after.password.hooks": []any{map[string]any{"hook": "revoke_active_sessions"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for _, r := range PlansOf(cfg).Rows {
		if r.Flow == flow.Settings && r.FlowType == flow.API {
			rows[r.Method] = append(rows[r.Method], r.Step)
		}
	}
	for method, want := range map[string][]string{
		"profile":  {"web_hook webhook-crm"},
		"password": {"revoke_active_sessions", "web_hook webhook-crm"},
	} {
		if !slices.Equal(rows[method], want) {
			t.Errorf("plan of %s: %q, want %q", method, rows[method], want)
		}
	}
	if got, want := backgroundTypes(cfg)["webhook-crm"], []string{"identity.updated"}; !slices.Equal(got, want) {
		t.Errorf("webhook-crm gets %q, want %q", got, want)
	}
}
