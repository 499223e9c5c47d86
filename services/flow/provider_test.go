package flow_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
)

var providers = []flow.Provider{{ID: "google", Label: "Google"}, {ID: "corp", Label: "Corp & Sons"}}

func social() flow.Options {
	return flow.Options{
		Action: action, CSRF: "bWFza2Vk", Password: true, Providers: providers,
		NewLogin: "https://accounts.example.com/self-service/login/browser",
	}
}

func linking(methods, known []string) *flow.Flow {
	f := newOf(flow.Login, flow.Browser, flow.ChooseMethod)
	f.Link = &flow.Link{Account: identity.Account{Provider: "google", Subject: "never shown", Issuer: "nor this"}, Duplicate: "ann@example.com", Methods: methods, Providers: known}
	return f
}

// TestViewOfProviders shows what flows look like with providers, byte for byte.
func TestViewOfProviders(t *testing.T) {
	t.Parallel()
	back := newFlow(flow.Browser)
	back.Active = "oidc"
	back.Form = flow.Form{
		Values:   map[string]any{"provider": "corp", "traits.email": "ann@example.com"},
		Messages: map[string][]flow.Message{"traits.name.first": {flow.Missing("first")}},
	}
	refresh := newOf(flow.Login, flow.Browser, flow.ChooseMethod)
	refresh.Refresh = true
	refresh.Form.Values = map[string]any{"identifier": "ann@example.com"}
	refused := linking([]string{"password", "oidc"}, []string{"corp"})
	refused.Active = "password"
	refused.Form.Messages = map[string][]flow.Message{"": {flow.WrongCredentials()}}
	for name, f := range map[string]*flow.Flow{
		"oidc_registration": newFlow(flow.Browser),
		"oidc_came_back":    back,
		"oidc_login":        newOf(flow.Login, flow.Browser, flow.ChooseMethod),
		"oidc_refresh":      refresh,
		"oidc_link":         linking([]string{"password", "oidc"}, []string{"corp"}),
		"oidc_link_refused": refused,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := social()
			o.Action = strings.Replace(action, "registration", string(f.Kind), 1)
			encoded, err := json.Marshal(flow.NewView(f, flow.Render(f, fields, o)))
			if err != nil {
				t.Fatal(err)
			}
			compareGolden(t, name, encoded)
			if strings.Contains(string(encoded), "never shown") {
				t.Errorf("the flow shows a value that it must not: %s", encoded)
			}
		})
	}
}

// shown are the buttons of a flow, as name=value.
func shown(ui flow.UI) (buttons []string) {
	for _, n := range ui.Nodes {
		if a, ok := n.Attributes.(flow.Input); ok && a.Type == "submit" {
			buttons = append(buttons, a.Name+"="+a.Value.(string))
		}
	}
	return buttons
}

// Who links an account sees what leads to it, and nothing else.
func TestWaysToTheAccountThatIsLinked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what           string
		methods, known []string
		password       bool
		want           []string
	}{
		{"both", []string{"password", "oidc"}, []string{"corp"}, true, []string{"provider=corp", "method=password"}},
		{"a password", []string{"password"}, nil, true, []string{"method=password"}},
		{"a provider", []string{"oidc"}, []string{"corp"}, true, []string{"provider=corp"}},
		{"the provider that is linked", []string{"password", "oidc"}, []string{"google"}, true, []string{"method=password"}},
		{"a password where that is off", []string{"password", "oidc"}, []string{"corp"}, false, []string{"provider=corp"}},
		{"nobody knows", nil, nil, true, []string{"provider=corp", "method=password"}},
	} {
		o := social()
		o.Password = test.password
		if got := shown(flow.Render(linking(test.methods, test.known), fields, o)); !slices.Equal(got, test.want) {
			t.Errorf("buttons with %s = %q, want %q", test.what, got, test.want)
		}
	}
	if !slices.Equal(providers, social().Providers) || providers[0].ID != "google" {
		t.Errorf("Render changed the providers that it was given: %v", providers)
	}
}

// A provider that is gone from the configuration meanwhile is no way on.
func TestCameBackFromAProviderThatIsGone(t *testing.T) {
	t.Parallel()
	f := newFlow(flow.Browser)
	f.Form.Values = map[string]any{"provider": "gone"}
	want := []string{"provider=google", "provider=corp", "method=password"}
	if got := shown(flow.Render(f, fields, social())); !slices.Equal(got, want) {
		t.Errorf("buttons = %q, want %q", got, want)
	}
}

// The provider that a link waits for may be gone: it is called by its id then.
func TestLinkOfAProviderThatIsGone(t *testing.T) {
	t.Parallel()
	f := linking(nil, nil)
	f.Link.Provider = "gone"
	m := flow.Render(f, fields, social()).Messages
	if len(m) != 1 || m[0].ID != 1010016 || m[0].Type != "info" || !strings.Contains(m[0].Text, "add gone as") {
		t.Errorf("messages = %+v, want 1010016 of gone", m)
	}
}
