package identity_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/identity"
)

func TestCoerce(t *testing.T) {
	t.Parallel()
	s := compile(t, everything)
	for name, test := range map[string]struct{ form, want string }{
		"none":              {"method=password&password=x", `{}`},
		"text":              {"traits.email=a%40b&method=password", `{"email":"a@b"}`},
		"nested":            {"traits.name.first=A&traits.name.last=B", `{"name":{"first":"A","last":"B"}}`},
		"empty optional":    {"traits.username=&traits.name.first=&traits.age=&traits.tags=&traits.terms=", `{}`},
		"empty required":    {"traits.email=", `{"email":""}`},
		"last of several":   {"traits.username=a&traits.username=b", `{"username":"b"}`},
		"local time":        {"traits.seen=2026-11-25T10:30", `{"seen":"2026-11-25T10:30:00Z"}`},
		"with seconds":      {"traits.seen=2026-11-25T10:30:15.25", `{"seen":"2026-11-25T10:30:15.25Z"}`},
		"with a zone":       {"traits.seen=2026-11-25T10:30:00%2B01:00", `{"seen":"2026-11-25T10:30:00+01:00"}`},
		"no time":           {"traits.seen=today", `{"seen":"today"}`},
		"integer":           {"traits.age=20", `{"age":20}`},
		"number":            {"traits.share=0.50", `{"share":0.50}`},
		"exponent":          {"traits.share=1e-3", `{"share":1e-3}`},
		"number with plus":  {"traits.share=%2B.5", `{"share":0.5}`},
		"leading zeros":     {"traits.age=007", `{"age":7}`},
		"number with space": {"traits.age=+20+", `{"age":20}`},
		"no number":         {"traits.age=old&traits.share=0x1p-2", `{"age":"old","share":"0x1p-2"}`},
		"infinite":          {"traits.share=Inf", `{"share":"Inf"}`},
		"too large":         {"traits.share=%2B1e999", `{"share":"+1e999"}`},
		"checkbox":          {"traits.terms=on", `{"terms":true}`},
		"true":              {"traits.terms=true", `{"terms":true}`},
		"hidden and ticked": {"traits.terms=false&traits.terms=true", `{"terms":true}`},
		"false":             {"traits.terms=false", `{"terms":false}`},
		"no boolean":        {"traits.terms=maybe", `{"terms":"maybe"}`},
		"repeated list":     {"traits.tags=b&traits.tags=a&traits.tags=", `{"tags":["b","a"]}`},
		"bracketed list":    {"traits.tags[]=b&traits.tags[]=a", `{"tags":["b","a"]}`},
		"indexed list":      {"traits.tags.10=c&traits.tags.2=b&traits.tags.0=a", `{"tags":["a","b","c"]}`},
		"bracketed index":   {"traits.tags[1]=b&traits.tags[0]=a", `{"tags":["a","b"]}`},
		"huge index":        {"traits.tags.4294967295=a", `{"tags":["a"]}`},
		"list of numbers":   {"traits.scores=1&traits.scores=x&traits.scores.0=2", `{"scores":[1,"x",2]}`},
		"list of objects":   {"traits.homes.0.street=s&traits.homes.0.number=4&traits.homes.1.street=t", `{"homes":[{"number":4,"street":"s"},{"street":"t"}]}`},
		"unknown":           {"traits.x=1&traits.y.z=2&traits.empty=", `{"x":"1","y":{"z":"2"}}`},
		"parts of a scalar": {"traits.email.x=1", `{"email":{"x":"1"}}`},
		"an object as text": {"traits.name=&traits.name.first=A", `{"name":{"first":"A"}}`},
		"traits itself":     {"traits=x", `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			form, err := url.ParseQuery(test.form)
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Coerce(form)
			if err != nil || string(got) != test.want {
				t.Errorf("Coerce(%s) = %s, %v, want %s", test.form, got, err, test.want)
			}
		})
	}
}

func TestCoerceRefuses(t *testing.T) {
	t.Parallel()
	s := compile(t, everything)
	for name, form := range map[string]url.Values{
		"too deep":             {"traits" + strings.Repeat(".a", 17): {"x"}},
		"object and text":      {"traits.name": {"x"}, "traits.name.first": {"y"}},
		"text for an object":   {"traits.name": {"x"}},
		"unknown in two forms": {"traits.x": {"1"}, "traits.x.y": {"1"}},
		"no index":             {"traits.tags.first": {"x"}},
		"negative index":       {"traits.tags.-1": {"x"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := s.Coerce(form); err == nil {
				t.Errorf("Coerce(%v) = %s, nil, want an error", form, got)
			}
		})
	}
}

func FuzzCoerce(f *testing.F) {
	s := compile(f, everything)
	for _, seed := range []string{
		"traits.email=a&traits.name.first=b", "traits.tags[0]=a&traits.tags[]=b&traits.tags=c", "traits.=x&traits..=y&traits.a..b=z",
		"traits.homes.0.street=s&traits.homes.0=", "traits.age=1e5&traits.share=-.5",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		form, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		traits, err := s.Coerce(form)
		if err != nil {
			return
		}
		var object map[string]any
		if err := json.Unmarshal(traits, &object); err != nil {
			t.Errorf("Coerce(%q) = %s, which is no object: %v", query, traits, err)
		}
		if again, _ := s.Coerce(form); string(again) != string(traits) {
			t.Errorf("Coerce(%q) = %s, then %s", query, traits, again)
		}
		s.Check(traits)
	})
}

func ExampleSchema_Coerce() {
	s, err := identity.Compile("shop", []byte(`{"properties":{"traits":{"type":"object","properties":{
		"email": {"type": "string"}, "age": {"type": "integer"}, "news": {"type": "boolean"}}}}}`))
	if err != nil {
		panic(err)
	}
	traits, err := s.Coerce(url.Values{"traits.email": {"ann@example.com"}, "traits.age": {"42"}, "traits.news": {"on"}, "method": {"password"}})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(traits))
	// Output: {"age":42,"email":"ann@example.com","news":true}
}
