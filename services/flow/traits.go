package flow

import (
	"bytes"
	"encoding/json"
)

// Entered gives traits as a form shows them: by the names of its nodes, such as
// "traits.name.first". Numbers stay as they were written.
func Entered(traits json.RawMessage) map[string]any {
	var tree any
	d := json.NewDecoder(bytes.NewReader(traits))
	d.UseNumber()
	if d.Decode(&tree) != nil {
		return nil
	}
	flat := map[string]any{}
	var walk func(name string, v any)
	walk = func(name string, v any) {
		if object, ok := v.(map[string]any); ok {
			for key, member := range object {
				walk(name+"."+key, member)
			}
			return
		}
		flat[name] = v
	}
	walk("traits", tree)
	return flat
}
