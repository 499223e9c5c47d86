package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Schema judges traits. It is compiled once and safe for concurrent use.
type Schema struct {
	id       string
	raw      json.RawMessage
	compiled *jsonschema.Schema
	// formless is compiled without formats: the library stops at a wrong
	// format, and people are told all that is wrong with what they entered.
	formless *jsonschema.Schema
	traits   *trait
	places   map[string]int // of the traits in the document's order, by name
	fields   []Field
}

// Compile reads an identity schema: a JSON Schema, draft 7 unless it says
// otherwise, whose properties.traits describes the traits. Nothing that it
// refers to outside itself is loaded. The error names the place in the
// document by a JSON pointer.
func Compile(id string, document []byte) (*Schema, error) {
	s := &Schema{id: id, raw: slices.Clone(document)}
	if err := s.compile(); err != nil {
		return nil, fmt.Errorf("identity schema %q: %w", id, err)
	}
	return s, nil
}

func (s *Schema) compile() error {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(s.raw))
	if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	if s.compiled, err = compile(document, formats); err != nil {
		return err
	}
	if s.formless, err = compile(document, without(document)); err != nil {
		return err
	}
	ordered, err := parseOrdered(s.raw)
	if err != nil {
		return err
	}
	if s.traits, err = readTraits(ordered); err != nil {
		return err
	}
	s.places = map[string]int{}
	s.traits.number(s.places)
	s.fields = s.traits.fields(true)
	return nil
}

// TraitNames are the names of the traits at the top, as the schema lists them.
func (s *Schema) TraitNames() (names []string) {
	for _, p := range s.traits.properties {
		names = append(names, p.key)
	}
	return names
}

func compile(document any, formats []*jsonschema.Format) (*jsonschema.Schema, error) {
	const url = "urn:usher:identity-schema"
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft7)
	compiler.AssertFormat()
	compiler.UseLoader(noLoader{})
	for _, f := range formats {
		compiler.RegisterFormat(f)
	}
	if err := compiler.AddResource(url, document); err != nil {
		return nil, compileError(err)
	}
	compiled, err := compiler.Compile(url)
	if err != nil {
		return nil, compileError(err)
	}
	return compiled, nil
}

// ID is the name that the schema is configured with.
func (s *Schema) ID() string { return s.id }

// Raw is the document as it was given. It must not be changed.
func (s *Schema) Raw() json.RawMessage { return s.raw }

// Fields are the leaves of the traits in the document's order. They must not
// be changed.
func (s *Schema) Fields() []Field { return s.fields }

// noLoader refuses everything outside the document: a schema must not make
// the server fetch or read anything.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("references outside the document are not loaded: %s", url)
}

// compileError says in one line what is wrong with a schema, and where.
func compileError(err error) error {
	var invalid *jsonschema.SchemaValidationError
	var detail *jsonschema.ValidationError
	if !errors.As(err, &invalid) || !errors.As(invalid.Err, &detail) {
		return err
	}
	for len(detail.Causes) > 0 {
		detail = detail.Causes[0]
	}
	return fmt.Errorf("%s: %s", pointer(detail.InstanceLocation), english(detail.ErrorKind))
}
