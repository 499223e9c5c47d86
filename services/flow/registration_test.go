package flow_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
)

// secondStep is a registration that waits for the password.
func secondStep(values map[string]any) *flow.Flow {
	f := newFlow(flow.Browser)
	f.Active = "profile"
	f.Step(flow.ChooseCredential, values)
	return f
}

// TestViewOfTwoSteps shows what both steps look like, byte for byte.
func TestViewOfTwoSteps(t *testing.T) {
	t.Parallel()
	entered := map[string]any{"traits.email": "ann@example.com", "traits.plan": json.Number("3"), "traits.terms": true, "traits.other": "never shown"}
	refused := secondStep(entered)
	refused.Form.Messages = map[string][]flow.Message{"password": {flow.FromPassword("listed", nil)}}
	for name, f := range map[string]*flow.Flow{
		"two_steps_first":    newFlow(flow.Browser),
		"two_steps_second":   secondStep(entered),
		"two_steps_password": refused,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := social()
			o.Profile = true
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

// Where one step is configured again, a flow that is at the second of two shows all
// of it.
func TestSecondStepOfOne(t *testing.T) {
	t.Parallel()
	f := secondStep(map[string]any{"traits.email": "ann@example.com"})
	ui := flow.Render(f, fields, flow.Options{Password: true})
	if got, want := shown(ui), []string{"method=password"}; !slices.Equal(got, want) || len(ui.Messages) > 0 {
		t.Errorf("buttons = %q, messages %v, want %q and none", got, ui.Messages, want)
	}
	if a := ui.Nodes[1].Attributes.(flow.Input); a.Type != "email" || a.Value != "ann@example.com" {
		t.Errorf("first trait = %+v, want it to be entered, with its value", a)
	}
}

// Who comes back from a provider without all traits enters them, whatever the step.
func TestCameBackToTheSecondStep(t *testing.T) {
	t.Parallel()
	f := secondStep(map[string]any{"provider": "corp"})
	o := social()
	o.Profile = true
	ui := flow.Render(f, fields, o)
	if got, want := shown(ui), []string{"provider=corp"}; !slices.Equal(got, want) || ui.Nodes[1].Attributes.(flow.Input).Type != "email" {
		t.Errorf("buttons = %q, first trait %+v, want %q and a field", got, ui.Nodes[1].Attributes, want)
	}
}

// Lists go along by index, as forms and schemas know them.
func TestHiddenLists(t *testing.T) {
	t.Parallel()
	f := secondStep(map[string]any{
		"traits.tags":  []any{"a", json.Number("2")},
		"traits.homes": []any{map[string]any{"street": "s", "number": json.Number("4")}},
	})
	listed := []identity.Field{{Name: "traits.tags", Type: "text"}, {Name: "traits.homes", Type: "text"}, {Name: "traits.none", Type: "text"}}
	var got []string
	for _, n := range flow.Render(f, listed, flow.Options{Password: true, Profile: true}).Nodes {
		if a := n.Attributes.(flow.Input); a.Type == "hidden" {
			got = append(got, fmt.Sprintf("%s=%v", a.Name, a.Value))
		}
	}
	want := []string{"csrf_token=", "traits.tags.0=a", "traits.tags.1=2", "traits.homes.0.number=4", "traits.homes.0.street=s", "traits.none=<nil>"}
	if !slices.Equal(got, want) {
		t.Errorf("hidden nodes = %q, want %q", got, want)
	}
}

// What is wrong is shown at the step where it can be mended.
func TestTurn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		from     string
		messages map[string][]flow.Message
		want     string
	}{
		"a trait":                   {flow.ChooseCredential, map[string][]flow.Message{"traits.email": {flow.Generic("x")}}, flow.ChooseMethod},
		"traits":                    {flow.ChooseCredential, map[string][]flow.Message{"traits": {flow.Generic("x")}}, flow.ChooseMethod},
		"a trait and the password":  {flow.ChooseCredential, map[string][]flow.Message{"traits.email": {flow.Generic("x")}, "password": {flow.Missing("password")}}, flow.ChooseMethod},
		"an identifier is taken":    {flow.ChooseCredential, map[string][]flow.Message{"": {flow.IdentifierTaken()}}, flow.ChooseMethod},
		"no identifier":             {flow.ChooseCredential, map[string][]flow.Message{"": {flow.NoIdentifier()}}, flow.ChooseMethod},
		"the password":              {flow.ChooseCredential, map[string][]flow.Message{"password": {flow.Missing("password")}}, flow.ChooseCredential},
		"the password, at once":     {flow.ChooseMethod, map[string][]flow.Message{"password": {flow.Missing("password")}}, flow.ChooseCredential},
		"something, second step":    {flow.ChooseCredential, map[string][]flow.Message{"": {flow.Generic("x")}}, flow.ChooseCredential},
		"something, first step":     {flow.ChooseMethod, map[string][]flow.Message{"": {flow.Generic("x")}}, flow.ChooseMethod},
		"nothing":                   {flow.ChooseCredential, nil, flow.ChooseCredential},
		"another node, second step": {flow.ChooseCredential, map[string][]flow.Message{"traitsof": {flow.Generic("x")}}, flow.ChooseCredential},
	} {
		f := newFlow(flow.API)
		f.State, f.Form.Messages = test.from, test.messages
		if f.Turn(); f.State != test.want {
			t.Errorf("%s: Turn leads from %s to %s, want %s", name, test.from, f.State, test.want)
		}
	}
	login := newOf(flow.Login, flow.API, flow.ChooseMethod)
	login.Form.Messages = map[string][]flow.Message{"password": {flow.Missing("password")}}
	if login.Turn(); login.State != flow.ChooseMethod {
		t.Errorf("Turn changes a login to %s", login.State)
	}
}

// A number that is entered at the first step is submitted at the second as it was.
func TestFormKeepsNumbers(t *testing.T) {
	t.Parallel()
	const stored = `{"values":{"traits.account":12345678901234567890,"traits.share":0.50}}`
	var form flow.Form
	if err := json.Unmarshal([]byte(stored), &form); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(form); err != nil || string(again) != stored {
		t.Errorf("form = %s, %v, want %s", again, err, stored)
	}
}
