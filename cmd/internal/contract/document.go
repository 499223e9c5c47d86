package main

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is what the page shows of schemas/asyncapi.yaml.
type document struct {
	Info struct {
		Title       string `yaml:"title"`
		Description string `yaml:"description"`
	} `yaml:"info"`
	Servers struct {
		Bus struct {
			Description string          `yaml:"description"`
			Accounts    members[string] `yaml:"x-accounts"`
		} `yaml:"bus"`
	} `yaml:"servers"`
	JetStream struct {
		Stream  members[any] `yaml:"stream"`
		Durable members[any] `yaml:"durable"`
	} `yaml:"x-jetstream"`
	Channels   members[channel] `yaml:"channels"`
	Components struct {
		Messages      members[message]      `yaml:"messages"`
		MessageTraits members[messageTrait] `yaml:"messageTraits"`
	} `yaml:"components"`

	tree fs.FS
}

type channel struct {
	Address     string         `yaml:"address"`
	Description string         `yaml:"description"`
	Messages    members[refTo] `yaml:"messages"`
	Account     string         `yaml:"x-account"`
}

type message struct {
	Title   string   `yaml:"title"`
	Summary string   `yaml:"summary"`
	Traits  []refTo  `yaml:"traits"`
	Headers object   `yaml:"headers"`
	Payload *payload `yaml:"payload"`
}

type messageTrait struct {
	Headers object `yaml:"headers"`
}

type refTo struct {
	Ref string `yaml:"$ref"`
}

// payload is a schema, or for events the envelope and what its data is.
type payload struct {
	refTo  `yaml:",inline"`
	Type   string `yaml:"type"`
	Format string `yaml:"format"`
	AllOf  []struct {
		Properties struct {
			Data refTo `yaml:"data"`
		} `yaml:"properties"`
	} `yaml:"allOf"`
}

// object is a schema as the page shows it.
type object struct {
	Description string          `yaml:"description"`
	Type        any             `yaml:"type"` // a name or a list of names
	Format      string          `yaml:"format"`
	Const       any             `yaml:"const"`
	Enum        []string        `yaml:"enum"`
	Required    []string        `yaml:"required"`
	Properties  members[object] `yaml:"properties"`
	Items       *object         `yaml:"items"`
}

func readDocument(tree fs.FS) (*document, error) {
	text, err := fs.ReadFile(tree, "schemas/asyncapi.yaml")
	if err != nil {
		return nil, err
	}
	d := &document{tree: tree}
	if err := yaml.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("schemas/asyncapi.yaml: %w", err)
	}
	return d, nil
}

// schema reads the file that a reference names; JSON is YAML too.
func (d *document) schema(r refTo) (o object, err error) {
	text, err := fs.ReadFile(d.tree, path.Join("schemas", r.Ref))
	if err != nil {
		return o, err
	}
	if err := yaml.Unmarshal(text, &o); err != nil {
		return o, fmt.Errorf("%s: %w", r.Ref, err)
	}
	return o, nil
}

// message is what a reference of a channel names.
func (d *document) message(r refTo) (message, error) {
	name := strings.TrimPrefix(r.Ref, "#/components/messages/")
	m, ok := d.Components.Messages.find(name)
	if !ok {
		return m, fmt.Errorf("there is no message %s", r.Ref)
	}
	for _, t := range m.Traits {
		trait, ok := d.Components.MessageTraits.find(strings.TrimPrefix(t.Ref, "#/components/messageTraits/"))
		if !ok {
			return m, fmt.Errorf("there is no trait %s", t.Ref)
		}
		m.Headers = trait.Headers
	}
	return m, nil
}

// members is a map in the order in which it is written.
type members[T any] struct {
	names  []string
	values []T
}

// UnmarshalYAML reads a mapping.
func (m *members[T]) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return errors.New("want a mapping")
	}
	for i := 0; i < len(n.Content); i += 2 {
		var value T
		if err := n.Content[i+1].Decode(&value); err != nil {
			return fmt.Errorf("%s: %w", n.Content[i].Value, err)
		}
		m.names = append(m.names, n.Content[i].Value)
		m.values = append(m.values, value)
	}
	return nil
}

func (m members[T]) all() iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		for n, name := range m.names {
			if !yield(name, m.values[n]) {
				return
			}
		}
	}
}

func (m members[T]) find(name string) (value T, ok bool) {
	for is, value := range m.all() {
		if is == name {
			return value, true
		}
	}
	return value, false
}
