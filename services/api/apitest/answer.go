package apitest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Listener says who has answered.
type Listener int

// The listeners. Either is for a test that does not know which it has asked.
const (
	Either Listener = iota
	Public
	Admin
)

// Answer is what a test received, and the request that it sent.
type Answer struct {
	Listener Listener
	Method   string
	URL      *url.URL    // its path and query count
	Sent     http.Header // of the request
	Status   int
	Header   http.Header
	Body     []byte
}

// Finding is a rule that an answer breaks.
type Finding struct{ Rule, Text string }

// Verify fails the test for each rule that a breaks.
func Verify(t testing.TB, a Answer) {
	t.Helper()
	for _, f := range Check(a) {
		t.Errorf("%s %s = %d breaks the rule %q: %s\n%.2000s", a.Method, a.URL.Path, a.Status, f.Rule, f.Text, a.Body)
	}
}

// Check gives the rules that a breaks, none if all is well.
func Check(a Answer) (findings []Finding) {
	x := newExchange(a)
	for _, r := range rules {
		if text := r.broken(x); text != "" {
			findings = append(findings, Finding{r.name, text})
		}
	}
	return findings
}

// Rules are the names of all rules.
func Rules() (names []string) {
	for _, r := range rules {
		names = append(names, r.name)
	}
	return names
}

// rule is something that every answer keeps. broken says what is wrong, "" if nothing is.
type rule struct {
	name   string
	broken func(*exchange) string
}

// rules is all of them: of the document, headers, cookies and bodies.
var rules = joined(documentRules, headerRules, cookieRules, secretRules, bodyRules)

func joined(parts ...[]rule) (all []rule) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// exchange is an answer and what the rules want to know of it.
type exchange struct {
	Answer
	path      *path      // in the document, or nil
	operation *operation // or nil
	value     any        // the body if it is JSON
	parsed    error      // why it is not
}

func newExchange(a Answer) *exchange {
	x := &exchange{Answer: a}
	x.path = description().find(a.Listener, a.URL)
	if x.path != nil {
		x.operation = x.path.operation(a.Method)
	}
	if x.json() {
		x.value, x.parsed = strict(a.Body)
	}
	return x
}

// json tells whether the body says that it is JSON.
func (x *exchange) json() bool {
	return strings.HasPrefix(x.Header.Get("Content-Type"), "application/json") && len(x.Body) > 0
}

// lines tells whether the body is an export: lines, of which no schema knows.
func (x *exchange) lines() bool { return x.Header.Get("Content-Type") == "application/x-ndjson" }

// bodiless answers never have a body, whatever they are about.
func (x *exchange) bodiless() bool {
	return x.Method == http.MethodHead || x.Status == http.StatusNoContent
}

// below tells whether the path is one of these or under one of them.
func (x *exchange) below(paths ...string) bool {
	for _, p := range paths {
		if x.URL.Path == p || strings.HasPrefix(x.URL.Path, p+"/") {
			return true
		}
	}
	return false
}

// page tells whether a built-in page has answered.
func (x *exchange) page() bool { return x.path != nil && x.below("/ui") }

// foreign tells whether a handler from outside the API has answered, which sets
// most of its headers itself.
func (x *exchange) foreign() bool {
	return x.page() || x.path != nil && x.Status == http.StatusOK && x.below("/metrics", "/admin/plan", "/debug")
}

// failed tells whether the answer is an error as the API writes it.
func (x *exchange) failed() bool {
	_, has := x.object()["error"].(map[string]any)
	return x.Status >= http.StatusBadRequest && has
}

// object is the body as an object, nil if it is none.
func (x *exchange) object() map[string]any {
	o, _ := x.value.(map[string]any)
	return o
}

// inner is an object in an object, nil if it is none.
func inner(o map[string]any, name string) map[string]any {
	i, _ := o[name].(map[string]any)
	return i
}

// free are members whose content is somebody else's choice.
var free = map[string]bool{
	"traits": true, "metadata_public": true, "metadata_admin": true, "transient_payload": true,
	"schema": true, "config": true, "value": true,
}

// walk visits all objects of a value but those in free members.
func walk(v any, visit func(map[string]any) string) string {
	switch v := v.(type) {
	case map[string]any:
		if wrong := visit(v); wrong != "" {
			return wrong
		}
		for name, member := range v {
			if free[name] {
				continue
			}
			if wrong := walk(member, visit); wrong != "" {
				return wrong
			}
		}
	case []any:
		for _, item := range v {
			if wrong := walk(item, visit); wrong != "" {
				return wrong
			}
		}
	}
	return ""
}

// number is a JSON number as an integer, -1 if it is none.
func number(v any) int64 {
	n, _ := v.(json.Number)
	i, err := n.Int64()
	if err != nil {
		return -1
	}
	return i
}
