package identity_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/services/identity"
)

type context = map[string]any

func TestCheck(t *testing.T) {
	t.Parallel()
	s := compile(t, everything)
	missing := []identity.Violation{{Node: "traits.email", Rule: "required", Context: context{"property": "email"}}}
	for name, test := range map[string]struct {
		traits string
		want   []identity.Violation
	}{
		"good":      {`{"email":"ann@example.com"}`, nil},
		"all of it": {`{"email":"a@x","username":"Ann","second":"b@x","contact":"c@x","phone":"+49 (30) 123-456","site":"https://x.y","born":"2000-02-29","seen":"2024-01-01T00:00:00Z","age":20,"share":0.5,"terms":true,"plan":3,"tags":["a","b"],"more":["d@x"],"scores":[1],"homes":[{"street":"s"}],"name":{"first":"A","last":null},"extra":{"a":[]}}`, nil},
		"absent":    {``, missing},
		"null":      {` null `, missing},
		"empty":     {`{}`, missing},
		"not a map": {`[]`, []identity.Violation{{Node: "traits", Rule: "type", Context: context{"allowed_types": []string{"object"}, "actual_type": "array"}}}},
		"text":      {`"x"`, []identity.Violation{{Node: "traits", Rule: "type", Context: context{"allowed_types": []string{"object"}, "actual_type": "string"}}}},
		"number":    {`1`, []identity.Violation{{Node: "traits", Rule: "type", Context: context{"allowed_types": []string{"object"}, "actual_type": "number"}}}},
		"bad address": {`{"email":"x"}`, []identity.Violation{
			{Node: "traits.email", Rule: "email", Context: context{"value": "x"}},
			{Node: "traits.email", Rule: "minLength", Context: context{"min_length": 3, "actual_length": 1}},
		}},
		"marked, without format": {`{"email":"a@x","contact":"nobody"}`, []identity.Violation{
			{Node: "traits.contact", Rule: "email", Context: context{"value": "nobody"}},
		}},
		"marked by reference": {`{"email":"a@x","second":""}`, []identity.Violation{
			{Node: "traits.second", Rule: "email", Context: context{"value": ""}},
		}},
		"marked in a list, once": {`{"email":"a@x","more":["b@x","c","d"]}`, []identity.Violation{
			{Node: "traits.more", Rule: "email", Context: context{"value": "c"}},
		}},
		"unknown": {`{"email":"a@x","z":1,"b":2}`, []identity.Violation{
			{Node: "traits", Rule: "unknown", Context: context{"reason": `Additional properties are not allowed: "b", "z".`}},
		}},
		"unknown inside": {`{"email":"a@x","name":{"first":"A","middle":"B"}}`, []identity.Violation{
			{Node: "traits", Rule: "unknown", Context: context{"reason": `Additional properties are not allowed: "middle".`}},
		}},
		"many unknown": {`{"email":"a@x","1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0}`, []identity.Violation{
			{Node: "traits", Rule: "unknown", Context: context{"reason": `Additional properties are not allowed: "1", "2", "3", "4", "5" and 2 more.`}},
		}},
		"wrong type": {`{"email":3,"age":"old","name":"Ann"}`, []identity.Violation{
			{Node: "traits.email", Rule: "type", Context: context{"allowed_types": []string{"string"}, "actual_type": "number"}},
			{Node: "traits.age", Rule: "type", Context: context{"allowed_types": []string{"integer"}, "actual_type": "string"}},
			{Node: "traits.name", Rule: "type", Context: context{"allowed_types": []string{"object"}, "actual_type": "string"}},
		}},
		"one of two types": {`{"email":"a@x","name":{"first":"A","last":1}}`, []identity.Violation{
			{Node: "traits.name.last", Rule: "type", Context: context{"allowed_types": []string{"null", "string"}, "actual_type": "number"}},
		}},
		"required inside": {`{"email":"a@x","name":{}}`, []identity.Violation{
			{Node: "traits.name.first", Rule: "required", Context: context{"property": "first"}},
		}},
		"several rules in schema order": {`{"name":{},"username":"1"}`, []identity.Violation{
			{Node: "traits.username", Rule: "pattern", Context: context{"pattern": "^[A-Za-z]+$"}},
			{Node: "traits.username", Rule: "minLength", Context: context{"min_length": 2, "actual_length": 1}},
			{Node: "traits.email", Rule: "required", Context: context{"property": "email"}},
			{Node: "traits.name.first", Rule: "required", Context: context{"property": "first"}},
		}},
		"too long": {`{"email":"a@x","username":"abcdefghi"}`, []identity.Violation{
			{Node: "traits.username", Rule: "maxLength", Context: context{"max_length": 8, "actual_length": 9}},
		}},
		"numbers": {`{"email":"a@x","age":17,"share":0}`, []identity.Violation{
			{Node: "traits.age", Rule: "minimum", Context: context{"minimum": 18.0, "actual": 17.0}},
			{Node: "traits.age", Rule: "multipleOf", Context: context{"base": 2.0, "actual": 17.0}},
			{Node: "traits.share", Rule: "exclusiveMinimum", Context: context{"minimum": 0.0, "actual": 0.0}},
		}},
		"large numbers": {`{"email":"a@x","age":152,"share":1}`, []identity.Violation{
			{Node: "traits.age", Rule: "maximum", Context: context{"maximum": 150.0, "actual": 152.0}},
			{Node: "traits.share", Rule: "exclusiveMaximum", Context: context{"maximum": 1.0, "actual": 1.0}},
		}},
		"const and enum": {`{"email":"a@x","terms":false,"plan":"x"}`, []identity.Violation{
			{Node: "traits.terms", Rule: "const", Context: context{"expected": true}},
			{Node: "traits.plan", Rule: "enum", Context: context{"reason": "Value must be one of 'free', 'paid', 3."}},
		}},
		"formats": {`{"email":"a@x","phone":"none","site":"::","born":"2001-02-29","seen":"now"}`, []identity.Violation{
			{Node: "traits.phone", Rule: "tel", Context: context{"value": "none"}},
			{Node: "traits.site", Rule: "format", Context: context{"pattern": "uri"}},
			{Node: "traits.born", Rule: "format", Context: context{"pattern": "date"}},
			{Node: "traits.seen", Rule: "format", Context: context{"pattern": "date-time"}},
		}},
		"lists": {`{"email":"a@x","tags":["long","long"],"homes":[{},{},{"street":"s","number":"1"}],"scores":[]}`, []identity.Violation{
			{Node: "traits.tags", Rule: "maxLength", Context: context{"max_length": 3, "actual_length": 4}},
			{Node: "traits.tags", Rule: "uniqueItems", Context: context{"index_a": 0, "index_b": 1}},
			{Node: "traits.homes.street", Rule: "required", Context: context{"property": "street"}},
			{Node: "traits.homes.number", Rule: "type", Context: context{"allowed_types": []string{"integer"}, "actual_type": "string"}},
		}},
		"list lengths": {`{"email":"a@x","tags":["a"]}`, []identity.Violation{
			{Node: "traits.tags", Rule: "minItems", Context: context{"min_items": 2, "actual_items": 1}},
		}},
		"longer list": {`{"email":"a@x","tags":["a","b","c","d"]}`, []identity.Violation{
			{Node: "traits.tags", Rule: "maxItems", Context: context{"max_items": 3, "actual_items": 4}},
		}},
		"too many addresses": {`{"email":"a@x","more":["` + strings.Repeat(`b@x","`, 100) + `b@x"]}`, []identity.Violation{
			{Node: "traits", Rule: "reason", Context: context{"reason": "There are more than 100 identifiers and addresses."}},
		}},
		"identifier that cannot be one": {`{"email":"a@x","username":"a\nb"}`, []identity.Violation{
			{Node: "traits.username", Rule: "pattern", Context: context{"pattern": "^[A-Za-z]+$"}},
			{Node: "traits.username", Rule: "reason", Context: context{"reason": "Must be text without control characters, at most 254 bytes long."}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, s.Check(json.RawMessage(test.traits))); diff != "" {
				t.Errorf("Check(%s) (-want +got):\n%s", test.traits, diff)
			}
		})
	}
}

func TestCheckComposedSchemas(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ members, traits, want string }{
		"allOf":               {`"allOf":[{"required":["a"]},{"required":["b"]}]`, `{}`, "[traits.a required traits.b required]"},
		"anyOf":               {`"anyOf":[{"required":["a"]},{"required":["b"]}]`, `{}`, "[traits reason]"},
		"then":                {`"properties":{"b":{}},"if":{"required":["a"]},"then":{"required":["b"]}`, `{"a":1}`, "[traits.b required]"},
		"dependencies":        {`"dependencies":{"a":["b"]}`, `{"a":1}`, "[traits.b required]"},
		"reference":           {`"properties":{"a":{"$ref":"#/properties/traits/properties/b"},"b":{"minLength":2}}`, `{"a":"x"}`, "[traits.a minLength]"},
		"property names":      {`"propertyNames":{"maxLength":1}`, `{"ab":1}`, "[traits reason]"},
		"unknown of a type":   {`"additionalProperties":{"type":"string"}`, `{"a":1}`, "[traits.a type]"},
		"forbidden property":  {`"properties":{"a":false}`, `{"a":1}`, "[traits unknown]"},
		"number of members":   {`"minProperties":1`, `{}`, "[traits reason]"},
		"a key with a dot":    {`"properties":{"a.b":{"minLength":2}}`, `{"a.b":"x"}`, "[traits.a.b minLength]"},
		"traits are required": {`"properties":{"a":{}}`, `{}`, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := []string{}
			for _, v := range compile(t, traitsSchema(test.members)).Check(json.RawMessage(test.traits)) {
				got = append(got, v.Node, v.Rule)
			}
			if fmt.Sprint(got) != test.want {
				t.Errorf("Check(%s) = %v, want %s", test.traits, got, test.want)
			}
		})
	}
}

// What no database takes, and what would take long to compute with, is refused
// whatever the schema says.
func TestCheckRefusesWhatCanNotBeStored(t *testing.T) {
	t.Parallel()
	s := compile(t, traitsSchema(`"properties":{"n":{"minimum":1},"e":{"multipleOf":0.1}}`))
	for _, traits := range []string{
		`{`, `{} {}`, `{"a":1,}`, `nul`, "{\"a\":\"\xff\"}",
		`{"a":"\u0000"}`, `{"\u0000":1}`, `{"a":"x\\\u0000"}`, `{"a":"\ud800"}`, `{"a":"\ud800x"}`, `{"a":"\ud800\ud800"}`, `{"a":"\udc00\ud800"}`,
		`{"n":1e400}`, `{"n":1e1000000000}`, `{"n":1e-1000000000}`, `{"n":0e99999999999999999999}`, `{"a":[{"b":1E+999}]}`,
		`{"n":` + strings.Repeat("9", 65) + `}`,
	} {
		got := s.Check(json.RawMessage(traits))
		if len(got) != 1 || got[0].Node != "traits" || got[0].Rule != "reason" {
			t.Errorf("Check(%q) = %v, want one reason at traits", traits, got)
		}
	}
	for _, traits := range []string{
		`{"a":"\\u0000"}`, `{"a":"\ud83d\ude00"}`, `{"a":"\\\\ud800"}`, `{"a":"\n\u00e9"}`, `{"n":1e300}`, `{"e":1.5e0}`,
	} {
		if got := s.Check(json.RawMessage(traits)); got != nil {
			t.Errorf("Check(%q) = %v, want nil", traits, got)
		}
	}
}

func FuzzCheck(f *testing.F) {
	s := compile(f, everything)
	for _, seed := range []string{
		`{}`, `null`, `[]`, `{"email":"a@x","name":{"first":1,"x":2}}`, `{"tags":[[],{}],"homes":[{"street":[]}],"more":{"a":1}}`,
		`{"age":1e9,"share":-1,"terms":0,"plan":null}`, `{"a":"\ud83d\ude00"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, traits []byte) {
		violations := s.Check(traits)
		if len(violations) > 200 {
			t.Errorf("Check(%q) gives %d violations", traits, len(violations))
		}
		for _, v := range violations {
			if _, err := json.Marshal(v.Context); err != nil || v.Node == "" || v.Rule == "" {
				t.Errorf("Check(%q) gives %v, %v", traits, v, err)
			}
		}
		if violations == nil && len(traits) > 0 && !json.Valid(traits) {
			t.Errorf("Check(%q) = nil, want a violation", traits)
		}
		s.Extract(traits)
	})
}
