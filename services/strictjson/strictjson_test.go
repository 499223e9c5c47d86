package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/strictjson"
)

func TestObjectDepth(t *testing.T) {
	t.Parallel()
	nested := func(n int) string {
		return strings.Repeat(`{"a":`, n-1) + "{}" + strings.Repeat("}", n-1)
	}
	if _, err := strictjson.Object([]byte(nested(16))); err != nil {
		t.Errorf("Object with depth 16: %v", err)
	}
	if _, err := strictjson.Object([]byte(nested(17))); !errors.Is(err, strictjson.ErrJSON) {
		t.Errorf("Object with depth 17 = %v, want %v", err, strictjson.ErrJSON)
	}
}

// FuzzObject holds the scanner against the standard decoder: what passes
// is JSON, and the members are the same.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1,"a":2}`, `{"a":"\ud800"}`, `{"a":"\u0000"}`, `{"a":[1,-0.5e+3,true,null,"x",{}]}`, `{"a":01}`, `{"a":1}x`,
		`{"\u0061":1,"a":2}`, `{"a":1e999}`, "{\"a\":\"\xff\"}", `{"a"`, `{"a":[`, `{"a":"\`, `{"a":"\u12`, `[{}]`, ` {"a" : tru }`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := strictjson.Object(data)
		if err != nil {
			if !errors.Is(err, strictjson.ErrJSON) {
				t.Errorf("Object(%q) = %v, want %v", data, err, strictjson.ErrJSON)
			}
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatalf("Object(%q) passes, json.Unmarshal says %v", data, err)
		}
		if len(got) != len(want) {
			t.Fatalf("Object(%q) = %q, want %q", data, got, want)
		}
		for key := range want {
			if !bytes.Equal(got[key], want[key]) {
				t.Errorf("Object(%q)[%q] = %q, want %q", data, key, got[key], want[key])
			}
		}
	})
}

func TestArray(t *testing.T) {
	t.Parallel()
	for text, good := range map[string]bool{"[]": true, ` [{"a":1},"x"] `: true, "{}": false, "[] []": false, "[1,]": false, "[\"\xff\"]": false, `[{"a":1,"a":1}]`: false} {
		if err := strictjson.Array([]byte(text)); (err == nil) != good || err != nil && !errors.Is(err, strictjson.ErrJSON) {
			t.Errorf("Array(%q) = %v, want it taken: %t", text, err, good)
		}
	}
}

// Who looks at names is told of all but those in values that it does not want to see.
func TestNamed(t *testing.T) {
	t.Parallel()
	var got []string
	name := func(key string) bool {
		got = append(got, key)
		return key != "closed"
	}
	if err := strictjson.Named([]byte(`{"a":[{"b":1}],"closed":{"c":{"d":1}},"e":{"closed":[{"f":1}],"g":{}}}`), 5, name); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "closed", "e", "closed", "g"}; !slices.Equal(got, want) {
		t.Errorf("Named tells of %q, want %q", got, want)
	}
	for text, good := range map[string]bool{`{"a":[[{}]]}`: true, `{"a":[[[{}]]]}`: false, `{"closed":{"a":1,"a":2}}`: false} {
		if err := strictjson.Named([]byte(text), 4, name); (err == nil) != good {
			t.Errorf("Named(%s) of depth 4 = %v, want it taken: %t", text, err, good)
		}
	}
}
