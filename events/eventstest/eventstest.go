// Package eventstest holds events in tests against their schemas:
//
//	payload ─▶ Validate ─▶ canonical? envelope? data, by dataschema?
package eventstest

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/gowebpki/jcs"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/schemas"
)

// Validate fails the test when payload is not an event as it is published:
// canonical JSON, the envelope of all events, and data by the schema that the
// event names.
func Validate(tb testing.TB, payload []byte) {
	tb.Helper()
	if err := Check(payload); err != nil {
		tb.Errorf("event %s: %v", payload, err)
	}
}

// Check is [Validate] with an error instead of a test.
func Check(payload []byte) error {
	canonical, err := jcs.Transform(payload)
	if err != nil {
		return err
	}
	if !bytes.Equal(canonical, payload) {
		return fmt.Errorf("is not canonical JSON, that would be %s", canonical)
	}
	e, err := events.Decode(payload)
	if err != nil {
		return err
	}
	if want := "urn:usher:event:" + e.Type + ":"; !strings.HasPrefix(e.DataSchema, want) {
		return fmt.Errorf("dataschema is %q, want %q and a version", e.DataSchema, want)
	}
	if err := hold("urn:usher:event:envelope:1", payload); err != nil {
		return fmt.Errorf("envelope: %w", err)
	}
	if err := hold(e.DataSchema, e.Data); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	return nil
}

// hold holds a document against the schema with an id.
func hold(id string, document []byte) error {
	all, err := compiled()
	if err != nil {
		return err
	}
	schema, ok := all[id]
	if !ok {
		return fmt.Errorf("schemas/events has no schema %s", id)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// compiled are all event schemas by id.
var compiled = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	files, err := fs.Glob(schemas.Events, "events/*.schema.json")
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	all := map[string]*jsonschema.Schema{}
	for _, name := range files {
		text, err := schemas.Events.ReadFile(name)
		if err != nil {
			return nil, err
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		id, _ := document.(map[string]any)["$id"].(string)
		if err := compiler.AddResource(id, document); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if all[id], err = compiler.Compile(id); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return all, nil
})
