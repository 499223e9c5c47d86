package config

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
)

// layer is what one source says.
type layer struct {
	values map[string]any
	places map[string]place // by name of the key
}

// place is where a value was written. The zero place is nowhere in particular.
type place struct {
	source string // the file, or the variable
	line   int    // in the file
}

// String is how compilers write it.
func (p place) String() string {
	if p.line == 0 {
		return p.source
	}
	return fmt.Sprintf("%s:%d", p.source, p.line)
}

// checkKeys holds a layer against the known keys. It removes empty values and
// brings the others into the form that they are decoded from.
func (l *loader) checkKeys(in layer) {
	c := checker{loader: l, layer: in}
	c.object(l.keys, "", in.values)
}

type checker struct {
	*loader
	layer layer
}

func (c *checker) object(k *key, name string, values map[string]any) {
	for _, child := range slices.Sorted(maps.Keys(values)) {
		full := join(name, child)
		next := k.below(child)
		switch {
		case next == nil:
			c.refuse(c.layer.places[full], full, "unknown key%s", c.keys.suggest(k, child, full))
			delete(values, child)
		case values[child] == nil:
			delete(values, child)
		default:
			values[child] = c.value(next, full, values[child])
		}
	}
}

func (c *checker) value(k *key, name string, v any) any {
	c.mention(k, name, v)
	var err error
	switch {
	case k.free:
		return v
	case k.kids != nil:
		if values, ok := v.(map[string]any); ok {
			c.object(k, name, values)
			return values
		}
		err = errors.New("want keys below it")
	case k.item != nil:
		if list, ok := v.([]any); ok {
			for i, item := range list {
				list[i] = c.value(k.item, entry(name, i), item)
			}
			return list
		}
		err = errors.New("want a list")
	default:
		v, err = k.accept(v)
	}
	if err != nil {
		c.refuse(c.layer.places[name], name, "%w", err)
	}
	return v
}

// mention notes what the key's effect asks for.
func (c *checker) mention(k *key, name string, v any) {
	if k.effect&refused != 0 && on(v) {
		c.unbuilt++
		c.refuse(c.layer.places[name], name, "this is not built yet: leave the key out%s", orFalse(v))
		return
	}
	if k.effect&ignored != 0 {
		c.idle.ignored = append(c.idle.ignored, name)
	}
	if k.effect&pending != 0 {
		c.idle.pending = append(c.idle.pending, name)
	}
}

func orFalse(v any) string {
	if v == true {
		return ", or set it to false"
	}
	return ""
}

var prefixType = reflect.TypeFor[netip.Prefix]()

// acceptPrefix takes a network or a single address.
func acceptPrefix(text string) (string, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked().String(), nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return "", errors.New("want an address or a network such as 10.0.0.0/8")
	}
	return netip.PrefixFrom(a, a.BitLen()).String(), nil
}
