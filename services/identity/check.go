package identity

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Violation is one broken rule of a schema.
type Violation struct {
	// Node is the name of the node it belongs to, such as "traits.email".
	Node string
	// Rule is the JSON Schema keyword ("required", "minLength", …), or "email", "tel",
	// "unknown" (properties that the schema does not know), "type", "reason".
	Rule string
	// Context holds the limits and actual values, by the contract's keys. Where
	// the contract has none it holds the "reason".
	Context map[string]any
}

// maxMarked is how many identifiers and addresses one person may have.
const maxMarked = 100

// Check gives every rule that traits break, in schema order; nil if none.
// Traits that are left out, or null, count as empty. The rules of a list's
// items belong to the node of the list, which has each rule once.
func (s *Schema) Check(traits json.RawMessage) []Violation {
	value, err := decode(traits)
	if err != nil {
		return []Violation{reason("traits", err.Error())}
	}
	if _, ok := value.(map[string]any); !ok {
		return []Violation{{
			Node: "traits", Rule: "type",
			Context: map[string]any{"allowed_types": []string{"object"}, "actual_type": typeName(value)},
		}}
	}
	found := s.checkMarked(value)
	document := map[string]any{"traits": value}
	found = append(found, s.broken(s.compiled, document)...)
	return s.ordered(s.besidesFormats(found, document))
}

// broken are the rules of a compiled schema that a document breaks.
func (s *Schema) broken(compiled *jsonschema.Schema, document any) []Violation {
	err := compiled.Validate(document)
	if err == nil {
		return nil
	}
	var broken *jsonschema.ValidationError
	if !errors.As(err, &broken) {
		return []Violation{reason("traits", "The traits cannot be judged.")}
	}
	return s.collect(nil, broken)
}

// besidesFormats adds what is wrong with values whose format is wrong too.
func (s *Schema) besidesFormats(found []Violation, document any) []Violation {
	wrong := map[string]bool{}
	for _, v := range found {
		if v.Rule == "email" || v.Rule == "tel" || v.Rule == "format" {
			wrong[v.Node] = true
		}
	}
	if len(wrong) == 0 {
		return found
	}
	for _, v := range s.broken(s.formless, document) {
		if wrong[v.Node] && v.Rule != "reason" {
			found = append(found, v)
		}
	}
	return found
}

// checkMarked judges what is used as an identifier or address, which must be
// fit for that whatever else the schema says of it.
func (s *Schema) checkMarked(value any) []Violation {
	var found []Violation
	marked := 0
	s.traits.marked(value, func(t *trait, text string) {
		marked++
		if t.verifiable || t.recovery {
			if _, err := Canonical(text); err != nil {
				found = append(found, notEmail(t.name, text))
			}
		}
		if t.identifier && strings.TrimSpace(text) != "" && CanonicalIdentifier(text) == "" {
			found = append(found, reason(t.name, fmt.Sprintf("Must be text without control characters, at most %d bytes long.", maxIdentifier)))
		}
	})
	if marked > maxMarked {
		found = append(found, reason("traits", fmt.Sprintf("There are more than %d identifiers and addresses.", maxMarked)))
	}
	return found
}

// ordered sorts violations by the schema, and keeps of equal ones the first.
func (s *Schema) ordered(found []Violation) []Violation {
	place := func(node string) int {
		if p, ok := s.places[node]; ok {
			return p
		}
		return len(s.places)
	}
	slices.SortStableFunc(found, func(a, b Violation) int {
		return cmp.Or(
			cmp.Compare(place(a.Node), place(b.Node)),
			strings.Compare(a.Node, b.Node),
			cmp.Compare(slices.Index(order, a.Rule), slices.Index(order, b.Rule)),
		)
	})
	type said struct {
		node, rule string
		reason     any
	}
	seen := make(map[said]bool, len(found))
	return slices.DeleteFunc(found, func(v Violation) bool {
		key := said{node: v.Node, rule: v.Rule, reason: v.Context["reason"]}
		again := seen[key]
		seen[key] = true
		return again
	})
}

func notEmail(node, value string) Violation {
	return Violation{Node: node, Rule: "email", Context: map[string]any{"value": shortened(value)}}
}

func reason(node, text string) Violation {
	return Violation{Node: node, Rule: "reason", Context: map[string]any{"reason": text}}
}

// shortened cuts a value that is only repeated so that its owner knows it.
func shortened(value string) string {
	if len(value) <= maxIdentifier {
		return value
	}
	return strings.ToValidUTF8(value[:maxIdentifier], "") + "…"
}

func typeName(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	}
	return "number"
}
