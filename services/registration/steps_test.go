package registration_test

import (
	"encoding/json"
	"errors"
	"maps"
	"testing"

	"github.com/usher-auth/usher/services/flow"
)

// The first of two steps judges as the end does, and asks nobody.
func TestJudge(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		schema, traits string
		want           map[string]int64
	}{
		"in order":      {"person", `{"email":"ann@example.org","name":{}}`, nil},
		"taken":         {"person", `{"email":"taken@example.org","name":{}}`, nil},
		"several wrong": {"person", `{"email":"x","name":{"first":"much too long"}}`, map[string]int64{"traits.email": 4000040, "traits.name.first": 4000017}},
		"no identifier": {"person", `{"name":{}}`, map[string]int64{"": 4000009}},
		"nothing":       {"anything", ``, map[string]int64{"": 4000009}},
	} {
		f := newFakes(t)
		f.taken["taken@example.org"] = true
		in := submit(flow.API)
		in.Flow.SchemaID, in.Traits = tt.schema, json.RawMessage(tt.traits)
		err := f.service().Judge(in)
		var invalid *flow.Invalid
		got := map[string]int64{}
		if errors.As(err, &invalid) {
			for node, messages := range invalid.Form.Messages {
				got[node] = messages[0].ID
			}
		}
		if (err == nil) != (tt.want == nil) || !maps.Equal(got, tt.want) && tt.want != nil {
			t.Errorf("%s: Judge = %v %v, want %v", name, err, got, tt.want)
		}
		if len(f.steps) > 0 {
			t.Errorf("%s: Judge has asked for %v, want nobody", name, f.steps)
		}
	}
	f := newFakes(t)
	in := submit(flow.API)
	in.Flow.SchemaID = "gone"
	var invalid *flow.Invalid
	if err := f.service().Judge(in); err == nil || errors.As(err, &invalid) {
		t.Errorf("Judge by a schema that is gone = %v, want an error that nobody can mend", err)
	}
}
