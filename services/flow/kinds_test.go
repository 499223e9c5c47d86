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

// newOf is a flow of a kind in a state, as a store gives it back.
func newOf(k flow.Kind, t flow.Type, state string) *flow.Flow {
	f := newFlow(t)
	f.Kind, f.State, f.RequestURL = k, state, strings.Replace(f.RequestURL, "registration", string(k), 1)
	if k == flow.Verification || k == flow.Settings {
		f.SchemaID = ""
	}
	return f
}

// TestViewOfKinds shows what login and verification look like, byte for byte.
func TestViewOfKinds(t *testing.T) {
	t.Parallel()
	const home = "https://app.example.com/home?a=b&c"
	for name, test := range map[string]struct {
		flow   *flow.Flow
		change func(*flow.Flow)
	}{
		"login_api":     {newOf(flow.Login, flow.API, flow.ChooseMethod), nil},
		"login_browser": {newOf(flow.Login, flow.Browser, flow.ChooseMethod), nil},
		"login_wrong": {newOf(flow.Login, flow.API, flow.ChooseMethod), func(f *flow.Flow) {
			f.Active = "password"
			f.Form = flow.Form{Values: map[string]any{"identifier": "ann@example.com", "password": "never shown"}, Messages: map[string][]flow.Message{"": {flow.WrongCredentials()}}}
		}},
		"login_refresh": {newOf(flow.Login, flow.Browser, flow.ChooseMethod), func(f *flow.Flow) {
			f.Refresh = true
			f.Form.Values = map[string]any{"identifier": "ann@example.com"}
		}},
		"verification_choose_method": {newOf(flow.Verification, flow.Browser, flow.ChooseMethod), nil},
		"verification_no_email": {newOf(flow.Verification, flow.API, flow.ChooseMethod), func(f *flow.Flow) {
			f.Form.Messages = map[string][]flow.Message{"email": {flow.Missing("email")}}
		}},
		"verification_sent_email": {newOf(flow.Verification, flow.Browser, flow.SentEmail), func(f *flow.Flow) {
			f.Active = "code"
			f.Form.Values = map[string]any{"email": "ann@example.com"}
		}},
		"verification_wrong_code": {newOf(flow.Verification, flow.API, flow.SentEmail), func(f *flow.Flow) {
			f.Active = "code"
			f.Form = flow.Form{Values: map[string]any{"email": "ann@example.com"}, Messages: map[string][]flow.Message{"": {flow.WrongCode(flow.Verification)}}}
		}},
		"verification_passed": {newOf(flow.Verification, flow.Browser, flow.PassedChallenge), func(f *flow.Flow) {
			f.Active = "code"
			f.Form = flow.Form{Values: map[string]any{"email": "ann@example.com"}, Messages: map[string][]flow.Message{"": {flow.WrongCode(flow.Verification)}}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.change != nil {
				test.change(test.flow)
			}
			o := flow.Options{Action: strings.Replace(action, "registration", string(test.flow.Kind), 1), Password: true, Code: true, Continue: home}
			if test.flow.Type == flow.Browser {
				o.CSRF = "bWFza2Vk"
			}
			encoded, err := json.Marshal(flow.NewView(test.flow, flow.Render(test.flow, fields, o)))
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

func TestIdentifierLabel(t *testing.T) {
	t.Parallel()
	email := identity.Field{Name: "traits.email", Title: "E-Mail", Identifier: true}
	name := identity.Field{Name: "traits.name", Title: "Name", Identifier: true}
	for _, test := range []struct {
		what   string
		fields []identity.Field
		want   int64
	}{
		{"one", []identity.Field{{Name: "traits.age", Title: "Age"}, email}, 1070002},
		{"none", []identity.Field{{Name: "traits.age", Title: "Age"}}, 1070004},
		{"several", []identity.Field{email, name}, 1070004},
		{"one without a title", []identity.Field{{Name: "traits.email", Identifier: true}}, 1070004},
	} {
		ui := flow.Render(newOf(flow.Login, flow.API, flow.ChooseMethod), test.fields, flow.Options{})
		if got := ui.Nodes[1].Meta.Label; got == nil || got.ID != test.want {
			t.Errorf("label with %s identifier = %+v, want %d", test.what, got, test.want)
		}
	}
}

// Clients decode the attributes of a node by node_type: it is never missing.
func TestEveryNodeSaysItsType(t *testing.T) {
	t.Parallel()
	for _, k := range []flow.Kind{flow.Registration, flow.Login, flow.Verification} {
		for _, state := range []string{flow.ChooseMethod, flow.SentEmail, flow.PassedChallenge} {
			ui := flow.Render(newOf(k, flow.API, state), fields, flow.Options{Password: true, Code: true, Continue: "https://a"})
			for n, node := range ui.Nodes {
				encoded, err := json.Marshal(node)
				var decoded struct {
					Type       string
					Attributes map[string]any
				}
				if err != nil || json.Unmarshal(encoded, &decoded) != nil {
					t.Fatal(err)
				}
				if decoded.Type == "" || decoded.Attributes["node_type"] != decoded.Type {
					t.Errorf("%s %s: node %d = %s, want type and node_type alike", k, state, n, encoded)
				}
			}
		}
	}
}

// A refresh without a known identifier asks for it: a hidden empty node could
// never be mended.
func TestRefreshWithoutIdentifier(t *testing.T) {
	t.Parallel()
	f := newOf(flow.Login, flow.API, flow.ChooseMethod)
	f.Refresh = true
	ui := flow.Render(f, fields, flow.Options{Password: true})
	if a := ui.Nodes[1].Attributes.(flow.Input); a.Name != "identifier" || a.Type != "text" {
		t.Errorf("identifier of a refresh = %+v, want an input of type text", a)
	}
	if !slices.ContainsFunc(ui.Messages, func(m flow.Message) bool { return m.ID == 1010003 }) {
		t.Errorf("messages of a refresh = %+v, want 1010003", ui.Messages)
	}
}

func TestMessageTypes(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]string{flow.SentEmail: "1080003 info", flow.PassedChallenge: "1080002 success"} {
		m := flow.Render(newOf(flow.Verification, flow.API, state), nil, flow.Options{Code: true}).Messages
		if len(m) != 1 || m[0].Type != strings.Fields(want)[1] {
			t.Errorf("messages in %s = %+v, want %s", state, m, want)
		}
	}
	if m := flow.Expired(flow.Login, time.Unix(0, 0)); m.Type != "error" {
		t.Errorf("Expired = %+v, want an error", m)
	}
}
