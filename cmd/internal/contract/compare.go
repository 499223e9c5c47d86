package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// schemaFiles and goldenFiles are where the promises stand.
var (
	schemaFiles = []string{"schemas/events/*.schema.json", "schemas/requests/*.schema.json"}
	goldenFiles = "events/testdata/golden/*.json"
)

// schema is what a reader relies on.
type schema struct {
	ID         string            `json:"$id"`
	Type       any               `json:"type"` // a name or a list of names
	Format     string            `json:"format"`
	Const      any               `json:"const"`
	Enum       []any             `json:"enum"`
	Properties map[string]schema `json:"properties"`
	Required   []string          `json:"required"`
	Items      *schema           `json:"items"`
}

// compare says which promises of former are broken in present: a schema or a
// member that is gone, has another type or has become required, and a golden
// event that is gone or has been changed. Members of events and replies must not
// become optional either: readers count on them.
func compare(former, present fs.FS) (broken []string, err error) {
	before, err := readSchemas(former)
	if err != nil {
		return nil, err
	}
	after, err := readSchemas(present)
	if err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(before)) {
		is, ok := after[id]
		if !ok {
			broken = append(broken, id+" is gone")
			continue
		}
		broken = append(broken, before[id].broken(id, is, strings.HasPrefix(id, "urn:usher:request:"))...)
	}
	changed, err := compareGolden(former, present)
	return append(broken, changed...), err
}

func readSchemas(tree fs.FS) (map[string]schema, error) {
	all := map[string]schema{}
	for _, pattern := range schemaFiles {
		names, err := fs.Glob(tree, pattern)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			text, err := fs.ReadFile(tree, name)
			if err != nil {
				return nil, err
			}
			var s schema
			if err := json.Unmarshal(text, &s); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			all[s.ID] = s
		}
	}
	if len(all) == 0 {
		return nil, errors.New("there are no schemas")
	}
	return all, nil
}

// broken says what of s, at a place, is does not keep. What is asked for may
// become optional.
func (s schema) broken(at string, is schema, asked bool) (broken []string) {
	if before, after := s.kind(), is.kind(); before != after {
		return []string{fmt.Sprintf("%s was %s and is %s", at, before, after)}
	}
	for _, value := range s.Enum {
		if is.Enum != nil && !slices.Contains(is.Enum, value) {
			broken = append(broken, fmt.Sprintf("%s can no longer be %v", at, value))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		member, ok := is.Properties[name]
		if !ok {
			broken = append(broken, at+" "+name+" is gone")
			continue
		}
		broken = append(broken, s.Properties[name].broken(at+" "+name, member, asked)...)
	}
	for _, name := range is.Required {
		if !slices.Contains(s.Required, name) {
			broken = append(broken, at+" "+name+" has become required")
		}
	}
	for _, name := range s.Required {
		if !asked && !slices.Contains(is.Required, name) {
			broken = append(broken, at+" "+name+" is no longer required")
		}
	}
	if s.Items != nil && is.Items != nil {
		broken = append(broken, s.Items.broken(at+"[]", *is.Items, asked)...)
	}
	return broken
}

// kind is what values of s are.
func (s schema) kind() string {
	kind := "anything"
	if s.Type != nil {
		kind = fmt.Sprint(s.Type)
	}
	if s.Format != "" {
		kind += " " + s.Format
	}
	if s.Const != nil {
		kind = fmt.Sprintf("always %v", s.Const)
	}
	return kind
}

func compareGolden(former, present fs.FS) (broken []string, err error) {
	names, err := fs.Glob(former, goldenFiles)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		before, err := fs.ReadFile(former, name)
		if err != nil {
			return nil, err
		}
		after, err := fs.ReadFile(present, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			broken = append(broken, "the golden event "+path.Base(name)+" is gone")
		case err != nil:
			return nil, err
		case !bytes.Equal(before, after):
			broken = append(broken, "the golden event "+path.Base(name)+" was changed; a member more is a file more")
		}
	}
	return broken, nil
}
