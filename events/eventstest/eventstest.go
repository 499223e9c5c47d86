// Package eventstest holds in tests what is on the bus against its schemas:
//
//	event ─▶ Validate ─▶ canonical? envelope? data, by dataschema?
//	body of a request or reply ─▶ ValidateBody
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

// ValidateBody fails the test when body is not what a schema of a request or
// reply says, such as "urn:usher:request:hook.failed:1".
func ValidateBody(tb testing.TB, schema string, body []byte) {
	tb.Helper()
	if err := CheckBody(schema, body); err != nil {
		tb.Errorf("%s: %v", body, err)
	}
}

// CheckBody is [ValidateBody] with an error instead of a test.
func CheckBody(schema string, body []byte) error {
	if err := hold(schema, body); err != nil {
		return fmt.Errorf("%s: %w", schema, err)
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
		return fmt.Errorf("neither schemas/events nor schemas/requests has a schema %s", id)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// compiled are all schemas by id.
var compiled = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	all := map[string]*jsonschema.Schema{}
	for _, from := range []struct {
		files  fs.FS
		folder string
	}{{schemas.Events, "events"}, {schemas.Requests, "requests"}} {
		names, err := fs.Glob(from.files, from.folder+"/*.schema.json")
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			text, err := fs.ReadFile(from.files, name)
			if err != nil {
				return nil, err
			}
			id, schema, err := compile(compiler, text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			all[id] = schema
		}
	}
	return all, nil
})

func compile(compiler *jsonschema.Compiler, text []byte) (id string, schema *jsonschema.Schema, err error) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return "", nil, err
	}
	members, _ := document.(map[string]any)
	id, _ = members["$id"].(string)
	if err := compiler.AddResource(id, document); err != nil {
		return "", nil, err
	}
	schema, err = compiler.Compile(id)
	return id, schema, err
}
