package config

import (
	"encoding"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// key is a key that a configuration may hold, with those below it.
type key struct {
	name   string          // in full, empty for the root
	kids   map[string]*key // of an object
	item   *key            // of a list
	typ    reflect.Type    // of a single value; nil if any will do
	free   bool            // whatever is below is accepted
	effect effect
}

// knownKeys are those of Config and those of the contract beyond it.
func knownKeys() *key {
	root := keyOf("", reflect.TypeFor[Config]())
	for _, c := range contract {
		for _, name := range c.keys {
			root.add(join(c.under, name), c.effect)
		}
	}
	return root
}

var (
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
	durationType = reflect.TypeFor[time.Duration]()
)

// keyOf reads the keys off the fields of a type.
func keyOf(name string, t reflect.Type) *key {
	k := &key{name: name}
	switch {
	case reflect.PointerTo(t).Implements(textType):
		k.typ = t
	case t.Kind() == reflect.Struct:
		k.kids = map[string]*key{}
		for i := range t.NumField() {
			if tag, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); tag != "" && tag != "-" {
				k.kids[tag] = keyOf(join(name, tag), t.Field(i).Type)
			}
		}
	case t.Kind() == reflect.Map:
		k.kids = map[string]*key{anyName: keyOf(join(name, anyName), t.Elem())}
	case t.Kind() == reflect.Slice:
		k.item = keyOf(name+"[]", t.Elem())
	default:
		k.typ = t
	}
	return k
}

// anyName is the child that stands for all names.
const anyName = "*"

// add makes a key known, or gives one that is known an effect.
func (k *key) add(name string, e effect) {
	for part := range strings.SplitSeq(name, ".") {
		if part == "**" {
			k.free = true
			break
		}
		part, list := strings.CutSuffix(part, "[]")
		if k.kids == nil {
			k.kids = map[string]*key{}
		}
		next, ok := k.kids[part]
		if !ok {
			next = &key{name: join(k.name, part)}
			k.kids[part] = next
		}
		if k = next; list {
			k = k.item
		}
	}
	k.effect |= e
}

// single tells whether the key holds a value or a list, and none are below it.
func (k *key) single() bool { return k != nil && k.kids == nil && !k.free }

// below gives the child of that name, or nil.
func (k *key) below(name string) *key {
	if next, ok := k.kids[name]; ok {
		return next
	}
	return k.kids[anyName]
}

// find gives the key of that full name, or nil.
func (k *key) find(name string) *key {
	for part := range strings.SplitSeq(name, ".") {
		if k = k.below(part); k == nil || k.free {
			return k
		}
	}
	return k
}

// names are the full names of all single values and lists below k, in order.
func (k *key) names() []string {
	if k.kids == nil {
		return []string{k.name}
	}
	var names []string
	for _, child := range slices.Sorted(maps.Keys(k.kids)) {
		names = append(names, k.kids[child].names()...)
	}
	return names
}

// accept gives a value in the form that the key's type is decoded from, or an
// error that says what is wanted.
func (k *key) accept(v any) (any, error) {
	switch {
	case k.typ == nil:
		return v, nil
	case k.typ == durationType:
		text, ok := v.(string)
		if _, err := time.ParseDuration(text); !ok || err != nil {
			return nil, errors.New("want a duration such as 1h30m or 500ms")
		}
	case reflect.PointerTo(k.typ).Implements(textType):
		return acceptText(k.typ, v)
	case k.typ.Kind() == reflect.String:
		if _, ok := v.(string); !ok {
			return nil, errors.New("want a text: put it in quotes")
		}
	case k.typ.Kind() == reflect.Bool:
		if _, ok := v.(bool); !ok {
			return nil, errors.New("want true or false")
		}
	case k.typ.Kind() == reflect.Float64:
		switch v.(type) {
		case int, float64:
		default:
			return nil, errors.New("want a number")
		}
	case k.typ.Kind() == reflect.Int:
		if _, ok := v.(int); !ok {
			return nil, errors.New("want a whole number")
		}
	}
	return v, nil
}

func acceptText(t reflect.Type, v any) (any, error) {
	text, ok := v.(string)
	if !ok {
		return nil, errors.New("want a text: put it in quotes")
	}
	if t == prefixType {
		return acceptPrefix(text)
	}
	return text, reflect.New(t).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
}

func join(parent, name string) string {
	if parent == "" {
		return name
	}
	return parent + "." + name
}
