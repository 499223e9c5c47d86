package identity

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// order is that of several broken rules of one node.
var order = []string{
	"unknown", "required", "type", "email", "tel", "format", "pattern", "enum", "const",
	"minLength", "maxLength", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum",
	"multipleOf", "minItems", "maxItems", "uniqueItems", "reason",
}

// collect adds the rules that are broken, each at its node.
func (s *Schema) collect(found []Violation, broken *jsonschema.ValidationError) []Violation {
	switch k := broken.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.AllOf, *kind.Reference:
		for _, cause := range broken.Causes {
			found = s.collect(found, cause)
		}
		return found
	case *kind.Required:
		return s.missing(found, broken.InstanceLocation, k.Missing)
	case *kind.Dependency:
		return s.missing(found, broken.InstanceLocation, k.Missing)
	case *kind.DependentRequired:
		return s.missing(found, broken.InstanceLocation, k.Missing)
	case *kind.AdditionalProperties:
		return append(found, unknown(k.Properties))
	case *kind.FalseSchema:
		if n := len(broken.InstanceLocation); n > 1 {
			return append(found, unknown(broken.InstanceLocation[n-1:]))
		}
	}
	v := judge(broken.ErrorKind)
	v.Node = s.traits.node(broken.InstanceLocation)
	return append(found, v)
}

func (s *Schema) missing(found []Violation, location, properties []string) []Violation {
	for _, p := range properties {
		found = append(found, Violation{
			Node:    s.traits.node(append(slices.Clip(location), p)),
			Rule:    "required",
			Context: map[string]any{"property": p},
		})
	}
	return found
}

// unknown is the violation for properties that the schema does not know. They
// have no node of their own.
func unknown(properties []string) Violation {
	const shown = 5
	slices.Sort(properties)
	names := make([]string, 0, shown)
	for _, p := range properties[:min(len(properties), shown)] {
		names = append(names, fmt.Sprintf("%q", shortened(p)))
	}
	text := "Additional properties are not allowed: " + strings.Join(names, ", ")
	if more := len(properties) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	v := reason("traits", text+".")
	v.Rule = "unknown"
	return v
}

// judge is the violation, but for its node, of one broken keyword.
func judge(broken jsonschema.ErrorKind) Violation {
	rule := func(name string, context map[string]any) Violation { return Violation{Rule: name, Context: context} }
	switch k := broken.(type) {
	case *kind.Type:
		return rule("type", map[string]any{"allowed_types": k.Want, "actual_type": k.Got})
	case *kind.Format:
		return format(k)
	case *kind.Pattern:
		return rule("pattern", map[string]any{"pattern": k.Want})
	case *kind.MinLength:
		return rule("minLength", map[string]any{"min_length": k.Want, "actual_length": k.Got})
	case *kind.MaxLength:
		return rule("maxLength", map[string]any{"max_length": k.Want, "actual_length": k.Got})
	case *kind.Minimum:
		return rule("minimum", map[string]any{"minimum": number(k.Want), "actual": number(k.Got)})
	case *kind.ExclusiveMinimum:
		return rule("exclusiveMinimum", map[string]any{"minimum": number(k.Want), "actual": number(k.Got)})
	case *kind.Maximum:
		return rule("maximum", map[string]any{"maximum": number(k.Want), "actual": number(k.Got)})
	case *kind.ExclusiveMaximum:
		return rule("exclusiveMaximum", map[string]any{"maximum": number(k.Want), "actual": number(k.Got)})
	case *kind.MultipleOf:
		return rule("multipleOf", map[string]any{"base": number(k.Want), "actual": number(k.Got)})
	case *kind.MinItems:
		return rule("minItems", map[string]any{"min_items": k.Want, "actual_items": k.Got})
	case *kind.MaxItems:
		return rule("maxItems", map[string]any{"max_items": k.Want, "actual_items": k.Got})
	case *kind.UniqueItems:
		return rule("uniqueItems", map[string]any{"index_a": k.Duplicates[0], "index_b": k.Duplicates[1]})
	case *kind.Const:
		return rule("const", map[string]any{"expected": k.Want})
	case *kind.Enum:
		return rule("enum", map[string]any{"reason": sentence(english(k))})
	}
	return rule("reason", map[string]any{"reason": sentence(english(broken))})
}

func format(k *kind.Format) Violation {
	value := shortened(fmt.Sprint(k.Got))
	switch k.Want {
	case "email", "tel":
		return Violation{Rule: k.Want, Context: map[string]any{"value": value}}
	}
	return Violation{Rule: "format", Context: map[string]any{"pattern": k.Want}}
}

func number(r *big.Rat) float64 {
	f, _ := r.Float64()
	return f
}

// english is the library's text for a broken rule.
func english(k jsonschema.ErrorKind) string {
	return k.LocalizedString(message.NewPrinter(language.English))
}

func sentence(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
