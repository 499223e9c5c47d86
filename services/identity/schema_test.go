package identity_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/services/identity"
)

// everything is a schema with each kind of trait.
const everything = `{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "definitions": {
    "mail": {"type": "string", "format": "email", "title": "Second address", "ory.sh/kratos": {"recovery": {"via": "email"}}}
  },
  "properties": {
    "traits": {
      "type": "object",
      "properties": {
        "username": {"type": "string", "title": "Name to sign in with", "pattern": "^[A-Za-z]+$", "minLength": 2, "maxLength": 8,
          "ory.sh/kratos": {"credentials": {"password": {"identifier": true}, "webauthn": {"identifier": true}}}},
        "email": {"type": "string", "format": "email", "title": "E-Mail", "minLength": 3,
          "ory.sh/kratos": {"credentials": {"password": {"identifier": true}}, "verification": {"via": "email"}}},
        "second": {"$ref": "#/definitions/mail"},
        "contact": {"type": "string", "ory.sh/kratos": {"verification": {"via": "email"}}},
        "phone": {"type": "string", "format": "tel"},
        "site": {"type": "string", "format": "uri"},
        "born": {"type": "string", "format": "date"},
        "seen": {"type": "string", "format": "date-time"},
        "age": {"type": "integer", "minimum": 18, "maximum": 150, "multipleOf": 2},
        "share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "terms": {"type": "boolean", "const": true},
        "plan": {"enum": ["free", "paid", 3]},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "minItems": 2, "maxItems": 3, "uniqueItems": true},
        "more": {"type": "array", "items": {"type": "string", "ory.sh/kratos": {"verification": {"via": "email"}}}},
        "scores": {"type": "array", "items": {"type": "number"}},
        "homes": {"type": "array", "items": {"type": "object", "properties": {"street": {"type": "string"}, "number": {"type": "integer"}}, "required": ["street"], "additionalProperties": false}},
        "name": {"type": "object", "properties": {"first": {"type": "string", "title": "First"}, "last": {"type": ["null", "string"]}}, "required": ["first"], "additionalProperties": false},
        "extra": {"type": "object"}
      },
      "required": ["email"],
      "additionalProperties": false
    }
  }
}`

func compile(t testing.TB, document string) *identity.Schema {
	t.Helper()
	s, err := identity.Compile("test", []byte(document))
	if err != nil {
		t.Fatalf("Compile = %v, want nil", err)
	}
	return s
}

// traitsSchema describes traits by the given members of an object schema.
func traitsSchema(members string) string {
	return `{"type":"object","properties":{"traits":{"type":"object",` + members + `}}}`
}

func TestBuiltInSchema(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../../schemas/identity/default.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := identity.Compile("default", document)
	if err != nil {
		t.Fatalf("Compile = %v, want nil", err)
	}
	want := []identity.Field{
		{Name: "traits.email", Type: "email", Title: "Email", Required: true, Autocomplete: "email", Identifier: true},
		{Name: "traits.name.first", Type: "text", Title: "First name"},
		{Name: "traits.name.last", Type: "text", Title: "Last name"},
	}
	if diff := cmp.Diff(want, s.Fields()); diff != "" {
		t.Errorf("Fields() (-want +got):\n%s", diff)
	}
	addresses, identifiers := s.Extract(json.RawMessage(`{"email":"Ann@Example.com"}`))
	wantAddresses := []identity.Address{{Via: "email", Value: "ann@example.com", Verifiable: true, Recovery: true, Identifier: true}}
	if diff := cmp.Diff(wantAddresses, addresses); diff != "" {
		t.Errorf("Extract addresses (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ann@example.com"}, identifiers); diff != "" {
		t.Errorf("Extract identifiers (-want +got):\n%s", diff)
	}
	if s.ID() != "default" || string(s.Raw()) != string(document) {
		t.Errorf("ID() = %q, Raw() has %d bytes, want default and the document", s.ID(), len(s.Raw()))
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	want := []identity.Field{
		{Name: "traits.username", Type: "text", Title: "Name to sign in with", Pattern: "^[A-Za-z]+$", Identifier: true},
		{Name: "traits.email", Type: "email", Title: "E-Mail", Required: true, Autocomplete: "email", Identifier: true},
		{Name: "traits.second", Type: "email", Title: "Second address", Autocomplete: "email"},
		{Name: "traits.contact", Type: "text"},
		{Name: "traits.phone", Type: "tel", Autocomplete: "tel"},
		{Name: "traits.site", Type: "url", Autocomplete: "url"},
		{Name: "traits.born", Type: "date"},
		{Name: "traits.seen", Type: "datetime-local"},
		{Name: "traits.age", Type: "number"},
		{Name: "traits.share", Type: "number"},
		{Name: "traits.terms", Type: "checkbox"},
		{Name: "traits.plan", Type: "text", Enum: []any{"free", "paid", json.Number("3")}},
		{Name: "traits.tags", Type: "text"},
		{Name: "traits.more", Type: "text"},
		{Name: "traits.scores", Type: "text"},
		{Name: "traits.homes", Type: "text"},
		{Name: "traits.name.first", Type: "text", Title: "First"}, // required only where there is a name
		{Name: "traits.name.last", Type: "text"},
	}
	if diff := cmp.Diff(want, compile(t, everything).Fields()); diff != "" {
		t.Errorf("Fields() (-want +got):\n%s", diff)
	}
}

func TestFieldsOfComposedSchemas(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		members string
		want    string // names, required ones with a star
	}{
		"allOf is certain": {
			`"allOf":[{"required":["b"]},{"properties":{"b":{"type":"string"}}}]`, "b*",
		},
		"branches are not": {
			`"properties":{"a":{}},"oneOf":[{"properties":{"b":{}},"required":["b"]},{"properties":{"c":{}},"required":["a"]}]`, "a b c",
		},
		"then and else": {
			`"properties":{"a":{}},"if":{"required":["a"]},"then":{"properties":{"b":{}}},"else":{"properties":{"c":{}},"required":["c"]}`, "a b c",
		},
		"required within required": {
			`"properties":{"n":{"properties":{"b":{},"a":{}},"required":["a"]}},"required":["n"]`, "n.b n.a*",
		},
		"a circle ends": {
			`"properties":{"a":{"$ref":"#/properties/traits"},"b":{}}`, "a.a a.b b",
		},
		"no properties": {`"minProperties":0`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, f := range compile(t, traitsSchema(test.members)).Fields() {
				name := strings.TrimPrefix(f.Name, "traits.")
				if f.Required {
					name += "*"
				}
				got = append(got, name)
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("Fields() = %v, want %s", got, test.want)
			}
		})
	}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	deep := `"properties":{"a":{"$ref":"#/definitions/0"}}`
	var definitions []string
	for _, n := range []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14"} {
		next := `{"$ref":"#/definitions/1` + n + `"}`
		definitions = append(definitions, `"`+n+`":{"allOf":[`+strings.ReplaceAll(next, "/1"+n, "/"+after(n))+`,`+strings.ReplaceAll(next, "/1"+n, "/"+after(n))+`]}`)
	}
	definitions = append(definitions, `"15":{}`)

	for name, test := range map[string]struct{ document, want string }{
		"not JSON":            {`{`, "not JSON"},
		"not an object":       {`[]`, "#"},
		"true":                {`true`, "#/properties/traits"},
		"no traits":           {`{"properties":{"email":{}}}`, "#/properties/traits"},
		"wrong type":          {traitsSchema(`"properties":{"a":{"type":"strin"}}`), "#/properties/traits/properties/a/type"},
		"wrong keyword":       {traitsSchema(`"properties":{"a":{"minLength":"3"}}`), "#/properties/traits/properties/a/minLength"},
		"wrong pattern":       {traitsSchema(`"properties":{"a":{"pattern":"("}}`), "#/properties/traits/properties/a/pattern"},
		"file":                {traitsSchema(`"properties":{"a":{"$ref":"file:///etc/passwd"}}`), "not loaded"},
		"remote":              {traitsSchema(`"properties":{"a":{"$ref":"https://example.com/a.json"}}`), "not loaded"},
		"remote metaschema":   {`{"$schema":"https://example.com/a.json","properties":{"traits":{}}}`, "not loaded"},
		"relative":            {traitsSchema(`"properties":{"a":{"$ref":"other.json"}}`), "other.json"},
		"nowhere":             {traitsSchema(`"properties":{"a":{"$ref":"#/definitions/none"}}`), "#/definitions/none"},
		"by anchor":           {`{"definitions":{"m":{"$id":"#m"}},"properties":{"traits":{"type":"object","properties":{"a":{"$ref":"#m"}}}}}`, "#/properties/traits/properties/a"},
		"misspelt extension":  {traitsSchema(`"properties":{"a":{"ory.sh/kratos":{"verifcation":{"via":"email"}}}}`), "#/properties/traits/properties/a/ory.sh~1kratos"},
		"extension type":      {traitsSchema(`"properties":{"a":{"ory.sh/kratos":{"recovery":true}}}`), "#/properties/traits/properties/a/ory.sh~1kratos"},
		"via sms":             {traitsSchema(`"properties":{"a":{"ory.sh/kratos":{"verification":{"via":"sms"}}}}`), `"sms"`},
		"number identifier":   {traitsSchema(`"properties":{"a":{"type":"integer","ory.sh/kratos":{"credentials":{"password":{"identifier":true}}}}}`), "traits.a"},
		"list identifier":     {traitsSchema(`"properties":{"a":{"type":"array","ory.sh/kratos":{"recovery":{"via":"email"}}}}`), "traits.a"},
		"references explode":  {`{"definitions":{` + strings.Join(definitions, ",") + `},"properties":{"traits":{"type":"object",` + deep + `}}}`, "more than"},
		"traits is not a map": {`{"properties":{"traits":true}}`, "#/properties/traits"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := identity.Compile("test", []byte(test.document))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), `identity schema "test"`) {
				t.Errorf("Compile = %v, want an error of schema test that holds %s", err, test.want)
			}
		})
	}
}

// after is the name of the definition that n refers to.
func after(n string) string {
	numbers := []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"}
	for i, number := range numbers {
		if number == n {
			return numbers[i+1]
		}
	}
	return ""
}

func TestCompileKeepsItsOwnCopy(t *testing.T) {
	t.Parallel()
	document := []byte(traitsSchema(`"properties":{"a":{}}`))
	s, err := identity.Compile("test", document)
	if err != nil {
		t.Fatal(err)
	}
	want := string(document)
	clear(document)
	if string(s.Raw()) != want {
		t.Errorf("Raw() = %q after the caller's bytes changed, want %q", s.Raw(), want)
	}
}

func TestExtract(t *testing.T) {
	t.Parallel()
	s := compile(t, everything)
	for name, test := range map[string]struct {
		traits      string
		addresses   []identity.Address
		identifiers []string
	}{
		"nothing":   {traits: `{}`},
		"absent":    {traits: ``},
		"not valid": {traits: `{`},
		"identifier that is no address": {
			traits:      `{"username":" Ann "}`,
			identifiers: []string{"ann"},
		},
		"identifier that is an address": {
			traits:      `{"username":"Ann@Example.com"}`,
			addresses:   []identity.Address{{Via: "email", Value: "ann@example.com", Identifier: true}},
			identifiers: []string{"ann@example.com"},
		},
		"one address, three uses": {
			traits:      `{"second":"ANN@example.com","email":"ann@Example.com ","username":"ann@example.com"}`,
			addresses:   []identity.Address{{Via: "email", Value: "ann@example.com", Identifier: true, Verifiable: true, Recovery: true}},
			identifiers: []string{"ann@example.com"},
		},
		"several in schema order": {
			traits: `{"more":["d@x","c@x","d@X"],"contact":"b@x","email":"a@x"}`,
			addresses: []identity.Address{
				{Via: "email", Value: "a@x", Identifier: true, Verifiable: true},
				{Via: "email", Value: "b@x", Verifiable: true},
				{Via: "email", Value: "d@x", Verifiable: true},
				{Via: "email", Value: "c@x", Verifiable: true},
			},
			identifiers: []string{"a@x"},
		},
		"empty identifier": {traits: `{"username":"  "}`},
		"other types":      {traits: `{"username":3,"email":["a@x"],"more":{"a":"b@x"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addresses, identifiers := s.Extract(json.RawMessage(test.traits))
			if diff := cmp.Diff(test.addresses, addresses); diff != "" {
				t.Errorf("Extract(%s) addresses (-want +got):\n%s", test.traits, diff)
			}
			if diff := cmp.Diff(test.identifiers, identifiers); diff != "" {
				t.Errorf("Extract(%s) identifiers (-want +got):\n%s", test.traits, diff)
			}
		})
	}
}

func BenchmarkCheckAndExtract(b *testing.B) {
	document, err := os.ReadFile("../../schemas/identity/default.schema.json")
	if err != nil {
		b.Fatal(err)
	}
	s := compile(b, string(document))
	traits := json.RawMessage(`{"email":"Ann.Lee@example.com","name":{"first":"Ann","last":"Lee"}}`)
	b.ReportAllocs()
	for b.Loop() {
		if v := s.Check(traits); v != nil {
			b.Fatal(v)
		}
		s.Extract(traits)
	}
}
