package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"

	"go.yaml.in/yaml/v3"
)

// Aliases can be circles, and make little text large: maxDepth is how deep a
// file may be nested, maxValues how much it may hold.
const (
	maxDepth  = 50
	maxValues = 100_000
)

// readFile reads a YAML file and remembers the line of each key.
func readFile(path string) (layer, error) {
	text, err := readRegular(path)
	if err != nil {
		return layer{}, err
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	switch err := d.Decode(&document); {
	case errors.Is(err, io.EOF):
		return layer{values: map[string]any{}, places: map[string]place{}}, nil // nothing but comments
	case err != nil:
		return layer{}, fmt.Errorf("%s: %w", path, err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return layer{}, fmt.Errorf("%s: want one YAML document", path)
	}
	r := reader{path: path, places: map[string]place{}}
	value, err := r.value(document.Content[0], "", 0)
	if err != nil {
		return layer{}, err
	}
	if value == nil {
		value = map[string]any{}
	}
	values, ok := value.(map[string]any)
	if !ok {
		return layer{}, fmt.Errorf("%s:%d: want keys and values", path, document.Content[0].Line)
	}
	return layer{values: values, places: r.places}, nil
}

// reader turns nodes into values.
type reader struct {
	path   string
	places map[string]place
	values int
}

func (r *reader) value(n *yaml.Node, name string, depth int) (any, error) {
	if r.values++; depth > maxDepth || r.values > maxValues {
		return nil, r.fail(n, "nested too deep, or too large")
	}
	if _, known := r.places[name]; !known {
		r.places[name] = place{r.path, n.Line}
	}
	switch n.Kind {
	case yaml.AliasNode:
		return r.value(n.Alias, name, depth+1)
	case yaml.MappingNode:
		return r.mapping(n, name, depth)
	case yaml.SequenceNode:
		list := []any{}
		for i, item := range n.Content {
			v, err := r.value(item, entry(name, i), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	default:
		var v any
		if err := n.Decode(&v); err != nil {
			return nil, r.fail(n, err.Error())
		}
		return v, nil
	}
}

func (r *reader) mapping(n *yaml.Node, name string, depth int) (any, error) {
	values := map[string]any{}
	for k, v := range pairs(n) {
		if k.Tag == mergeTag {
			if err := r.merge(values, v, name, depth); err != nil {
				return nil, err
			}
		}
	}
	own := map[string]bool{}
	for k, v := range pairs(n) {
		if k.Tag == mergeTag {
			continue
		}
		if k.Kind != yaml.ScalarNode {
			return nil, r.fail(k, "want a name before the colon")
		}
		full := join(name, k.Value)
		if own[k.Value] {
			return nil, r.fail(k, full+" is written twice")
		}
		own[k.Value] = true
		r.places[full] = place{r.path, k.Line}
		value, err := r.value(v, full, depth+1)
		if err != nil {
			return nil, err
		}
		values[k.Value] = value
	}
	return values, nil
}

// mergeTag is that of the key "<<".
const mergeTag = "!!merge"

// pairs are the keys and values of a mapping.
func pairs(n *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(k, v *yaml.Node) bool) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i], n.Content[i+1]) {
				return
			}
		}
	}
}

// merge reads what "<<" names, a mapping or several, of which the first wins.
func (r *reader) merge(into map[string]any, n *yaml.Node, name string, depth int) error {
	from := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		from = n.Content
	}
	for i := len(from) - 1; i >= 0; i-- {
		value, err := r.value(from[i], name, depth+1)
		if err != nil {
			return err
		}
		values, ok := value.(map[string]any)
		if !ok {
			return r.fail(from[i], "want keys and values behind <<")
		}
		maps.Copy(into, values)
	}
	return nil
}

func (r *reader) fail(n *yaml.Node, text string) error {
	return fmt.Errorf("%s:%d: %s", r.path, n.Line, text)
}
