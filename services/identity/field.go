package identity

import "slices"

// Field is a trait that a person enters: a leaf of the schema.
type Field struct {
	Name  string // dotted, such as "traits.name.first"
	Type  string // of the input: "text", "email", "number", "checkbox", …
	Title string
	// Required says that nobody can leave it out.
	Required     bool
	Autocomplete string
	Pattern      string
	Enum         []any // the allowed values, if they are listed
	// Identifier says that people sign in with it.
	Identifier bool
}

// fields are the leaves of t; required says that t itself cannot be left out.
func (t *trait) fields(required bool) []Field {
	var all []Field
	for _, p := range t.properties {
		needed := required && slices.Contains(t.requires, p.key)
		switch {
		case len(p.properties) > 0:
			all = append(all, p.fields(needed)...)
		case p.kind != "object":
			all = append(all, p.field(needed))
		}
	}
	return all
}

func (t *trait) field(required bool) Field {
	f := Field{Name: t.name, Type: "text", Title: t.title, Required: required, Pattern: t.pattern, Enum: t.enum}
	f.Identifier = t.identifier || t.items != nil && t.items.identifier
	switch t.kind {
	case "number", "integer":
		f.Type = "number"
		return f
	case "boolean":
		f.Type = "checkbox"
		return f
	}
	switch t.format {
	case "email":
		f.Type, f.Autocomplete = "email", "email"
	case "tel":
		f.Type, f.Autocomplete = "tel", "tel"
	case "uri":
		f.Type, f.Autocomplete = "url", "url"
	case "date":
		f.Type = "date"
	case "date-time":
		f.Type = "datetime-local"
	}
	return f
}
