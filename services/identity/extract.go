package identity

import (
	"encoding/json"
	"slices"
)

// Extract gives the addresses and the sign-in identifiers that valid traits
// hold, canonical, without repetition and in the schema's order. What one
// address is used for stands in one row. An identifier that is an e-mail
// address is among the addresses too. IDs and times are left to the caller.
func (s *Schema) Extract(traits json.RawMessage) (addresses []Address, identifiers []string) {
	value, err := decode(traits)
	if err != nil {
		return nil, nil
	}
	s.traits.marked(value, func(t *trait, text string) {
		if canonical := CanonicalIdentifier(text); t.identifier && canonical != "" && !slices.Contains(identifiers, canonical) {
			identifiers = append(identifiers, canonical)
		}
		canonical, err := Canonical(text)
		if err != nil {
			return
		}
		at := slices.IndexFunc(addresses, func(a Address) bool { return a.Value == canonical })
		if at < 0 {
			at = len(addresses)
			addresses = append(addresses, Address{Via: "email", Value: canonical})
		}
		a := &addresses[at]
		a.Verifiable = a.Verifiable || t.verifiable
		a.Recovery = a.Recovery || t.recovery
		a.Identifier = a.Identifier || t.identifier
	})
	return addresses, identifiers
}

// marked calls each for every string in value that the schema marks as an
// identifier or an address, in the schema's order.
func (t *trait) marked(value any, each func(t *trait, text string)) {
	switch v := value.(type) {
	case string:
		if t.identifier || t.verifiable || t.recovery {
			each(t, v)
		}
	case []any:
		if t.items == nil {
			return
		}
		for _, item := range v {
			t.items.marked(item, each)
		}
	case map[string]any:
		for _, p := range t.properties {
			if member, ok := v[p.key]; ok {
				p.marked(member, each)
			}
		}
	}
}
