package flow_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
)

// TestViewOfSettings shows what settings look like, byte for byte.
func TestViewOfSettings(t *testing.T) {
	t.Parallel()
	saved := newOf(flow.Settings, flow.Browser, flow.Success)
	saved.Active = "oidc"
	refused := newOf(flow.Settings, flow.Browser, flow.ShowForm)
	refused.Form.Messages = map[string][]flow.Message{"": {flow.LastWay()}}
	entered := newOf(flow.Settings, flow.Browser, flow.ShowForm)
	entered.Active = "profile"
	entered.Form = flow.Form{
		Values:   map[string]any{"traits.email": "anna"},
		Messages: map[string][]flow.Message{"traits.email": {flow.FromViolation(identity.Violation{Rule: "email", Context: map[string]any{"value": "anna"}})}},
	}
	for name, f := range map[string]*flow.Flow{
		"settings_all":     newOf(flow.Settings, flow.Browser, flow.ShowForm),
		"settings_entered": entered,
		"settings":         newOf(flow.Settings, flow.Browser, flow.ShowForm),
		"settings_refused": refused,
		"settings_saved":   saved,
	} {
		o := social()
		o.Action = strings.Replace(action, "registration", string(f.Kind), 1)
		o.Providers, o.Linked = providers[:1], providers[1:]
		o.Profile = strings.Contains(name, "_all") || strings.Contains(name, "_entered")
		o.Password = o.Profile
		o.Traits = map[string]any{"traits.email": "anna@example.org"}
		view := flow.NewView(f, flow.Render(f, fields, o))
		view.SettingsView = &flow.SettingsView{Identity: map[string]string{"id": "whose"}}
		if f.State == flow.Success {
			view.ContinueWith = []string{"what next"}
		}
		encoded, err := json.Marshal(view)
		if err != nil {
			t.Fatal(err)
		}
		compareGolden(t, name, encoded)
	}
}

// What cannot be changed has no button, and what is wrong ends the word of what was
// right.
func TestSettingsShow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what    string
		options flow.Options
		want    []string
	}{
		{"nothing", flow.Options{Code: true, Traits: map[string]any{"traits.email": "x"}}, nil},
		{"a password", flow.Options{Password: true}, []string{"method=password"}},
		{"the profile", flow.Options{Profile: true}, []string{"method=profile"}},
		{"what can be linked", flow.Options{Providers: providers}, []string{"link=google", "link=corp"}},
		{"what can be removed", flow.Options{Linked: providers[1:]}, []string{"unlink=corp"}},
	} {
		if got := shown(flow.Render(newOf(flow.Settings, flow.Browser, flow.ShowForm), fields, c.options)); !slices.Equal(got, c.want) {
			t.Errorf("settings with %s show %q, want %q", c.what, got, c.want)
		}
	}
	f := newOf(flow.Settings, flow.Browser, flow.Success)
	for _, want := range []int64{1050001, 4000027} {
		if m := flow.Render(f, nil, flow.Options{}).Messages; len(m) != 1 || m[0].ID != want || (want == 1050001) != (m[0].Type == "success") {
			t.Errorf("messages = %+v, want %d", m, want)
		}
		f.State = flow.ShowForm
		f.Form.Messages = map[string][]flow.Message{"": {flow.LinkConflict()}}
	}
	for _, m := range []flow.Message{flow.NoStrategy(flow.Settings), flow.Expired(flow.Settings, time.Unix(0, 0))} {
		if (m.ID != 4010004 && m.ID != 4050001) || m.Text == "" || m.Type != "error" {
			t.Errorf("message = %+v, want 4010004 or 4050001", m)
		}
	}
}
