package flow_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
)

var update = flag.Bool("update", false, "write the golden files anew")

var issued = time.Date(2026, 3, 1, 12, 30, 0, 123456000, time.UTC)

// fields of a schema with each thing that a node may show.
var fields = []identity.Field{
	{Name: "traits.email", Type: "email", Title: "E-Mail", Required: true, Autocomplete: "email", Identifier: true},
	{Name: "traits.name.first", Type: "text", Title: "First name", Pattern: "^[A-Z]"},
	{Name: "traits.plan", Type: "text", Enum: []any{"free", json.Number("3")}},
	{Name: "traits.terms", Type: "checkbox", Title: `"Terms" & <conditions>`, Required: true},
}

func newFlow(t flow.Type) *flow.Flow {
	return &flow.Flow{
		ID:         uuid.MustParse("f0000000-0000-4000-8000-000000000001"),
		Kind:       flow.Registration,
		Type:       t,
		State:      flow.ChooseMethod,
		SchemaID:   "default",
		RequestURL: "http://127.0.0.1:4433/self-service/registration/" + string(t),
		IssuedAt:   issued,
		ExpiresAt:  issued.Add(time.Hour),
	}
}

const action = "http://127.0.0.1:4433/self-service/registration?flow=f0000000-0000-4000-8000-000000000001"

func TestView(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		flow    func() *flow.Flow
		options flow.Options
		change  func(*flow.View)
	}{
		"api":     {flow: func() *flow.Flow { return newFlow(flow.API) }, options: flow.Options{Action: action, Password: true}},
		"browser": {flow: func() *flow.Flow { return newFlow(flow.Browser) }, options: flow.Options{Action: action, CSRF: "bWFza2Vk", Password: true}},
		"no_password": {flow: func() *flow.Flow {
			f := newFlow(flow.Browser)
			f.ReturnTo = "https://app.example.com/?a=b&c"
			f.IssuedAt, f.ExpiresAt = f.IssuedAt.In(time.FixedZone("", 3600)), f.ExpiresAt.In(time.FixedZone("", 3600))
			return f
		}, options: flow.Options{Action: action, CSRF: "bWFza2Vk"}},
		"invalid": {
			flow: func() *flow.Flow {
				f := newFlow(flow.API)
				f.Active = "password"
				f.Form = flow.Form{
					Values: map[string]any{"traits.email": "x", "traits.terms": false, "traits.plan": json.Number("3"), "password": "never shown", "traits.other": "nor this"},
					Messages: map[string][]flow.Message{
						"":                {flow.IdentifierTaken(), flow.NoIdentifier()},
						"password":        {flow.Missing("password")},
						"traits.email":    {flow.FromViolation(identity.Violation{Rule: "email", Context: map[string]any{"value": "x"}}), flow.FromViolation(identity.Violation{Rule: "minLength", Context: map[string]any{"min_length": 3, "actual_length": 1}})},
						"traits":          {flow.Generic(`Additional properties are not allowed: "other".`)},
						"traits.name":     {flow.FromViolation(identity.Violation{Rule: "type", Context: map[string]any{"allowed_types": []string{"object", "null"}, "actual_type": "string"}})},
						"another.unknown": {flow.Generic("b")},
					},
				}
				return f
			},
			options: flow.Options{Action: action, Password: true},
			change:  func(v *flow.View) { v.TransientPayload = json.RawMessage(`{"a":1}`) },
		},
		"expired": {flow: func() *flow.Flow {
			f := newFlow(flow.Browser)
			f.Form.Messages = map[string][]flow.Message{"": {flow.Expired(flow.Registration, issued.Add(-time.Minute))}}
			return f
		}, options: flow.Options{Action: action, CSRF: "bWFza2Vk", Password: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := test.flow()
			view := flow.NewView(f, flow.Render(f, fields, test.options))
			if test.change != nil {
				test.change(&view)
			}
			encoded, err := json.Marshal(view)
			if err != nil {
				t.Fatal(err)
			}
			compareGolden(t, name, encoded)
			if strings.Contains(string(encoded), "never shown") || strings.Contains(string(encoded), "nor this") {
				t.Errorf("the flow shows a value that it must not: %s", encoded)
			}
		})
	}
}

// compareGolden compares with testdata/<name>.json.
func compareGolden(t *testing.T, name string, encoded []byte) {
	t.Helper()
	var indented bytes.Buffer
	if err := json.Indent(&indented, encoded, "", "  "); err != nil {
		t.Fatal(err)
	}
	indented.WriteByte('\n')
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(path, indented.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), indented.String()); diff != "" {
		t.Errorf("flow %s (-want +got):\n%s", name, diff)
	}
}

// Clients refuse a node without any of its keys.
func TestEveryNodeHasItsKeys(t *testing.T) {
	t.Parallel()
	f := newFlow(flow.API)
	f.Form.Messages = map[string][]flow.Message{"traits": {flow.Generic("x")}}
	encoded, err := json.Marshal(flow.Render(f, fields, flow.Options{Action: action, Password: true}))
	if err != nil {
		t.Fatal(err)
	}
	var ui struct {
		Nodes []map[string]json.RawMessage `json:"nodes"`
	}
	if err := json.Unmarshal(encoded, &ui); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range ui.Nodes {
		var attributes map[string]any
		if err := json.Unmarshal(n["attributes"], &attributes); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"type", "group", "attributes", "messages", "meta"} {
			if value := string(n[key]); value == "" || value == "null" {
				t.Errorf("node %v: %s is %q, want a value", attributes["name"], key, value)
			}
		}
		if attributes["node_type"] != "input" || attributes["disabled"] != false || attributes["type"] == "" {
			t.Errorf("node %v has attributes %v, want node_type, disabled and type", attributes["name"], attributes)
		}
		names = append(names, attributes["name"].(string))
	}
	want := []string{"csrf_token", "traits.email", "traits.name.first", "traits.plan", "traits.terms", "traits", "password", "method"}
	if !slices.Equal(names, want) {
		t.Errorf("nodes are %v, want %v", names, want)
	}
}

// Rendering must not change the flow, which may be rendered twice.
func TestRenderChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFlow(flow.API)
	f.Form.Messages = map[string][]flow.Message{"": {flow.NoIdentifier()}, "elsewhere": {flow.Generic("x")}}
	first := flow.Render(f, fields, flow.Options{Action: action})
	if diff := cmp.Diff(first, flow.Render(f, fields, flow.Options{Action: action})); diff != "" {
		t.Errorf("Render again (-first +second):\n%s", diff)
	}
	if n := len(f.Form.Messages[""]); n != 1 {
		t.Errorf("Render left %d messages of the whole flow, want 1", n)
	}
}

func TestEmptyUIHasNodes(t *testing.T) {
	t.Parallel()
	encoded, err := json.Marshal(flow.Render(newFlow(flow.API), nil, flow.Options{}))
	if err != nil || strings.Contains(string(encoded), "null") || strings.Contains(string(encoded), `"messages":null`) {
		t.Errorf("Render of nothing = %s, %v, want arrays", encoded, err)
	}
}

func TestFlowExpired(t *testing.T) {
	t.Parallel()
	f := newFlow(flow.API)
	for at, want := range map[time.Time]bool{
		f.ExpiresAt.Add(-time.Nanosecond): false,
		f.ExpiresAt:                       true,
		f.ExpiresAt.Add(time.Hour):        true,
	} {
		if got := f.Expired(at); got != want {
			t.Errorf("Expired(%v) = %v, want %v", at, got, want)
		}
	}
}

func BenchmarkRenderAndEncode(b *testing.B) {
	f := newFlow(flow.Browser)
	fields := []identity.Field{
		{Name: "traits.email", Type: "email", Title: "E-Mail", Required: true, Autocomplete: "email"},
		{Name: "traits.name.first", Type: "text", Title: "First name"},
		{Name: "traits.name.last", Type: "text", Title: "Last name"},
	}
	b.ReportAllocs()
	for b.Loop() {
		view := flow.NewView(f, flow.Render(f, fields, flow.Options{Action: action, CSRF: "bWFza2Vk", Password: true}))
		if _, err := json.Marshal(view); err != nil {
			b.Fatal(err)
		}
	}
}
