package identity

import (
	"errors"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// formats are those that the schema's language leaves to us. An e-mail address
// is what [Canonical] takes, so that one rule holds everywhere.
var formats = []*jsonschema.Format{
	{Name: "email", Validate: func(v any) error {
		text, ok := v.(string)
		if !ok {
			return nil
		}
		_, err := Canonical(text)
		return err
	}},
	{Name: "tel", Validate: func(v any) error {
		text, ok := v.(string)
		if !ok || telephone(text) {
			return nil
		}
		return errors.New("not a phone number")
	}},
}

// telephone tells whether s could be a phone number as people write it: digits,
// of which the longest number has 15, after a + and with something between them.
func telephone(s string) bool {
	s = strings.TrimSpace(s)
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -./()", r) {
			return -1
		}
		return r
	}, strings.TrimPrefix(s, "+"))
	return 5 <= len(digits) && len(digits) <= 15 && strings.Trim(digits, "0123456789") == ""
}

// without replaces all formats that a document names by ones that take anything.
func without(document any) []*jsonschema.Format {
	var formats []*jsonschema.Format
	switch v := document.(type) {
	case map[string]any:
		for key, member := range v {
			if name, ok := member.(string); ok && key == "format" {
				formats = append(formats, &jsonschema.Format{Name: name, Validate: func(any) error { return nil }})
			}
			formats = append(formats, without(member)...)
		}
	case []any:
		for _, item := range v {
			formats = append(formats, without(item)...)
		}
	}
	return formats
}
