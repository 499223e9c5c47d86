package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// extension is the key of a schema under which it says what a trait is used for.
const extension = "ory.sh/kratos"

// maxParts bounds what references to references can make of a schema.
const maxParts = 10_000

// trait is what is known of one place in the traits: all that the schema says
// of it, with the branches of allOf, anyOf, oneOf, then and else read as one.
type trait struct {
	name       string // dotted; the items of a list have the list's name
	key        string // the last part of the name
	kind       string // JSON type; the first that is not null
	format     string
	title      string
	pattern    string
	enum       []any
	requires   []string // keys of properties
	properties []*trait
	items      *trait

	identifier, verifiable, recovery bool
}

// property is the part of t with a key, nil if the schema does not know it.
func (t *trait) property(key string) *trait {
	for _, p := range t.properties {
		if p.key == key {
			return p
		}
	}
	return nil
}

// number gives each name its place in the document's order.
func (t *trait) number(places map[string]int) {
	if _, ok := places[t.name]; !ok {
		places[t.name] = len(places)
	}
	for _, p := range t.properties {
		p.number(places)
	}
	if t.items != nil {
		t.items.number(places)
	}
}

// node is the name of the node for a place in the document {"traits": …}; all
// places in a list share the list's node, unless the list holds objects.
func (t *trait) node(location []string) string {
	name := t.name
	for n := 1; n < len(location); n++ {
		switch {
		case t == nil:
			name += "." + location[n]
		case t.property(location[n]) != nil:
			t = t.property(location[n])
			name = t.name
		case t.items != nil:
			t = t.items
		default:
			t, name = nil, name+"."+location[n]
		}
	}
	return name
}

// reader reads the description of the traits out of a document.
type reader struct {
	document any
	parts    int
}

func readTraits(document any) (*trait, error) {
	root, _ := document.(*object)
	if root == nil || root.child("properties") == nil || root.child("properties").child("traits") == nil {
		return nil, errors.New("#/properties/traits: must be an object that describes the traits")
	}
	r := reader{document: document}
	t := &trait{name: "traits", key: "traits"}
	at := place{path: []string{"properties", "traits"}, certain: true}
	if err := r.read(t, root.child("properties").child("traits"), at); err != nil {
		return nil, err
	}
	return t, t.onlyStringsAreMarked()
}

// place is where in the document a part of the schema stands.
type place struct {
	path []string
	// references are those that led here, so that a circle ends.
	references []string
	// certain is false inside branches that need not apply.
	certain bool
}

// below is a place further down.
func (p place) below(tokens ...string) place {
	p.path = append(slices.Clip(p.path), tokens...)
	return p
}

func (p place) uncertain() place {
	p.certain = false
	return p
}

// read adds what a part of the schema says of t.
func (r *reader) read(t *trait, s *object, at place) error {
	if r.parts++; r.parts > maxParts {
		return fmt.Errorf("%s: the schema has more than %d parts", pointer(at.path), maxParts)
	}
	if err := r.readReference(t, s, at); err != nil {
		return err
	}
	t.describe(s)
	if err := readExtension(t, s.members[extension]); err != nil {
		return fmt.Errorf("%s: %w", pointer(at.below(extension).path), err)
	}
	if err := r.readProperties(t, s, at); err != nil {
		return err
	}
	if err := r.readItems(t, s, at.uncertain()); err != nil {
		return err
	}
	return r.readBranches(t, s, at)
}

func (r *reader) readReference(t *trait, s *object, at place) error {
	reference := s.text("$ref")
	if reference == "" || slices.Contains(at.references, reference) {
		return nil
	}
	target, err := lookup(r.document, reference)
	if err != nil {
		return fmt.Errorf("%s: %w", pointer(at.path), err)
	}
	o, ok := target.(*object)
	if !ok {
		return nil
	}
	at.references = append(slices.Clip(at.references), reference)
	return r.read(t, o, at)
}

func (r *reader) readProperties(t *trait, s *object, at place) error {
	if at.certain {
		for _, key := range s.list("required") {
			t.requires = append(t.requires, fmt.Sprint(key))
		}
	}
	properties := s.child("properties")
	if properties == nil {
		return nil
	}
	for _, key := range properties.keys {
		p := t.property(key)
		if p == nil {
			p = &trait{name: t.name + "." + key, key: key}
			t.properties = append(t.properties, p)
		}
		if o := properties.child(key); o != nil {
			below := at.below("properties", key)
			below.certain = true // of the property, if there is one
			if err := r.read(p, o, below); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) readItems(t *trait, s *object, at place) error {
	for _, keyword := range []string{"items", "prefixItems"} {
		all := s.list(keyword)
		if one := s.child(keyword); one != nil {
			all = []any{one}
		}
		for _, item := range all {
			o, ok := item.(*object)
			if !ok {
				continue
			}
			if t.items == nil {
				t.items = &trait{name: t.name, key: t.key}
			}
			if err := r.read(t.items, o, at.below(keyword)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) readBranches(t *trait, s *object, at place) error {
	for _, keyword := range []string{"allOf", "anyOf", "oneOf"} {
		for i, branch := range s.list(keyword) {
			o, ok := branch.(*object)
			if !ok {
				continue
			}
			below := at.below(keyword, strconv.Itoa(i))
			below.certain = at.certain && keyword == "allOf"
			if err := r.read(t, o, below); err != nil {
				return err
			}
		}
	}
	for _, keyword := range []string{"then", "else"} {
		if o := s.child(keyword); o != nil {
			if err := r.read(t, o, at.below(keyword).uncertain()); err != nil {
				return err
			}
		}
	}
	return nil
}

// describe keeps what the first part that speaks of it says.
func (t *trait) describe(s *object) {
	keep := func(to *string, value string) {
		if *to == "" {
			*to = value
		}
	}
	keep(&t.kind, s.text("type"))
	for _, kind := range s.list("type") {
		if name, ok := kind.(string); ok && name != "null" {
			keep(&t.kind, name)
		}
	}
	keep(&t.format, s.text("format"))
	keep(&t.title, s.text("title"))
	keep(&t.pattern, s.text("pattern"))
	if t.enum == nil {
		for _, value := range s.list("enum") {
			t.enum = append(t.enum, plain(value))
		}
	}
}

// uses is what a trait may be used for. What other servers' methods add is
// accepted and has no effect.
type uses struct {
	Credentials struct {
		Password struct {
			Identifier bool `json:"identifier"`
		} `json:"password"`
		Code     any `json:"code"`
		WebAuthn any `json:"webauthn"`
		Passkey  any `json:"passkey"`
		TOTP     any `json:"totp"`
	} `json:"credentials"`
	Verification struct {
		Via string `json:"via"`
	} `json:"verification"`
	Recovery struct {
		Via string `json:"via"`
	} `json:"recovery"`
	Organizations any `json:"organizations"`
}

func readExtension(t *trait, value any) error {
	if value == nil {
		return nil
	}
	encoded, err := json.Marshal(plain(value))
	if err != nil {
		return err
	}
	var u uses
	d := json.NewDecoder(bytes.NewReader(encoded))
	d.DisallowUnknownFields()
	if err := d.Decode(&u); err != nil {
		return err
	}
	for _, via := range []string{u.Verification.Via, u.Recovery.Via} {
		if via != "" && via != "email" {
			return fmt.Errorf("via %q is not known, only \"email\"", via)
		}
	}
	t.identifier = t.identifier || u.Credentials.Password.Identifier
	t.verifiable = t.verifiable || u.Verification.Via != ""
	t.recovery = t.recovery || u.Recovery.Via != ""
	return nil
}

// onlyStringsAreMarked makes sure that no identifier or address is silently
// passed over.
func (t *trait) onlyStringsAreMarked() error {
	marked := t.identifier || t.verifiable || t.recovery
	if marked && t.kind != "string" && t.kind != "" {
		return fmt.Errorf("%s is of type %s: only strings can be identifiers or addresses", t.name, t.kind)
	}
	parts := t.properties
	if t.items != nil {
		parts = append(slices.Clip(parts), t.items)
	}
	for _, p := range parts {
		if err := p.onlyStringsAreMarked(); err != nil {
			return err
		}
	}
	return nil
}
