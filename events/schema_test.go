package events_test

import (
	"encoding/json"
	"io/fs"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/schemas"
)

func TestEveryTypeHasASchema(t *testing.T) {
	t.Parallel()
	have := map[string]bool{}
	files, err := fs.Glob(schemas.Events, "events/*.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		have[strings.TrimSuffix(filepath.Base(f), ".schema.json")] = true
	}
	delete(have, "envelope")
	for _, p := range payloads {
		if !have[p.EventType()] {
			t.Errorf("schemas/events has no %s.schema.json", p.EventType())
		}
		delete(have, p.EventType())
	}
	for left := range have {
		t.Errorf("schemas/events/%s.schema.json belongs to no payload", left)
	}
}

// bodies are the types of requests and replies, by the schema that each has.
var bodies = map[string]any{
	"urn:usher:request:session.issue:1": events.SessionIssue{},
	"urn:usher:reply:session.issue:1":   events.IssuedSession{},
	"urn:usher:request:hook.failed:1":   events.HookFailed{},
	"urn:usher:reply:hook.failed:1":     events.HookFailedReply{},
	"urn:usher:request:identity.get:1":  events.IdentityGet{},
	"urn:usher:reply:identity.get:1":    events.IdentityGetReply{},
}

// A schema has the members that its Go type has, and requires those that are
// never left out.
func TestSchemasHaveTheMembersOfTheirTypes(t *testing.T) {
	t.Parallel()
	types := maps.Clone(bodies)
	for _, p := range payloads {
		types[event(p).DataSchema] = p
	}
	types["urn:usher:event:envelope:1"] = events.Event{}
	have := map[string]schema{}
	for folder, files := range map[string]fs.FS{"events": schemas.Events, "requests": schemas.Requests} {
		names, err := fs.Glob(files, folder+"/*.schema.json")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := fs.ReadFile(files, name)
			if err != nil {
				t.Fatal(err)
			}
			var s schema
			if err := json.Unmarshal(text, &s); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			have[s.ID] = s
		}
	}
	for id, value := range types {
		s, ok := have[id]
		if !ok {
			t.Errorf("there is no schema %s for %T", id, value)
			continue
		}
		s.compare(t, id, reflect.TypeOf(value))
	}
}

// schema is what the test compares of one.
type schema struct {
	ID         string            `json:"$id"`
	Properties map[string]schema `json:"properties"`
	Required   []string          `json:"required"`
	Items      *schema           `json:"items"`
}

func (s schema) compare(t *testing.T, at string, is reflect.Type) {
	t.Helper()
	left := maps.Clone(s.Properties)
	for n := range is.NumField() {
		name, option, _ := strings.Cut(is.Field(n).Tag.Get("json"), ",")
		member, ok := s.Properties[name]
		if !ok {
			t.Errorf("%s has no member %s, which %s has", at, name, is)
			continue
		}
		delete(left, name)
		if required := slices.Contains(s.Required, name); required != (option != "omitempty") {
			t.Errorf("%s: %s is required: %t, but its tag says %q", at, name, required, option)
		}
		if inner := is.Field(n).Type; inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct {
			member.Items.compare(t, at+"/"+name, inner.Elem())
		}
	}
	for name := range left {
		t.Errorf("%s has a member %s, which %s does not have", at, name, is)
	}
}

func TestCheckBodyFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	const report = "urn:usher:request:hook.failed:1"
	good := `{"event_id":"` + anEvent + `","attempt":1,"reason":"error: it is away"}`
	if err := eventstest.CheckBody(report, []byte(good)); err != nil {
		t.Fatalf("CheckBody(%s) = %v, want nil", good, err)
	}
	for _, test := range []struct{ name, old, new string }{
		{"no attempt", `"attempt":1,`, ``},
		{"attempt 0", `"attempt":1`, `"attempt":0`},
		{"a long reason", `it is away`, strings.Repeat("x", 200)},
		{"no id", anEvent, "1"},
		{"no JSON", `{`, ``},
	} {
		bad := strings.Replace(good, test.old, test.new, 1)
		if err := eventstest.CheckBody(report, []byte(bad)); err == nil {
			t.Errorf("CheckBody of a report with %s = nil, want an error", test.name)
		}
	}
	if err := eventstest.CheckBody("urn:usher:request:hook.failed:2", []byte(good)); err == nil {
		t.Error("CheckBody by a schema that is not there = nil, want an error")
	}
}
