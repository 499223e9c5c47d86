package chart

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// odd are texts that YAML takes for something else wherever they stand without quotes.
// Each is a value of testdata/odd.yaml, or several.
var odd = []string{"123", "1.5", "1e3", "0x10", ".5", "1_000", "-", "null", "yes", "off", "true", "*.example.com", `it's "quoted": {}`}

// renamed gives a tree with texts, and keys of maps, replaced.
func renamed(tree any, replace func(string) string) any {
	switch tree := tree.(type) {
	case string:
		return replace(tree)
	case []any:
		list := make([]any, len(tree))
		for i, v := range tree {
			list[i] = renamed(v, replace)
		}
		return list
	case map[string]any:
		of := map[string]any{}
		for key, v := range tree {
			of[replace(key)] = renamed(v, replace)
		}
		return of
	}
	return tree
}

// tree gives objects as a tree, with the configuration in it as one, not as text.
func tree(t *testing.T, o *Objects) map[string]any {
	t.Helper()
	var all map[string]any
	o.Notes = ""
	if err := json.Unmarshal([]byte(canonical(t, o)), &all); err != nil {
		t.Fatal(err)
	}
	for _, m := range all["ConfigMaps"].([]any) {
		data := m.(map[string]any)["data"].(map[string]any)
		if text, ok := data["usher.yaml"].(string); ok {
			var config any
			if err := yaml.Unmarshal([]byte(text), &config); err != nil {
				t.Fatal(err)
			}
			data["usher.yaml"] = config
		}
	}
	return all
}

// TestOddNames sees that objects with odd names in the values are those with plain names,
// but for the names: none becomes a number, a truth, nothing, or an error.
func TestOddNames(t *testing.T) {
	t.Parallel()
	plain, back, used := map[string]string{}, []string{}, map[string]bool{}
	for i, name := range odd {
		plain[name] = fmt.Sprintf("plain-%02d-name", i)
		back = append(back, plain[name], name)
	}
	given := values(t, "odd")
	other := renamed(given, func(s string) string {
		if name, ok := plain[s]; ok {
			used[s] = true
			return name
		}
		return s
	}).(map[string]any)
	if len(used) != len(odd) {
		t.Fatalf("values of odd.yaml are %q, want each of %q", slices.Sorted(maps.Keys(used)), odd)
	}
	got, want := tree(t, render(t, given)), renamed(tree(t, render(t, other)), strings.NewReplacer(back...).Replace).(map[string]any)
	for kind := range want {
		if !reflect.DeepEqual(got[kind], want[kind]) {
			t.Errorf("%s with odd names:\n%s\nwant\n%s", kind, canonical(t, got[kind]), canonical(t, want[kind]))
		}
	}
}

// TestOddReleases sees that a release may be called whatever a Service can be called
// after, and that others are refused before a job has run.
func TestOddReleases(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"null": "", "yes": "", "y": "", "usher": "", "123": "a Service cannot be called 123-usher", "a.b": "a Service cannot be called a.b-usher"} {
		o, err := Render(load(t), name, values(t, "minimum"))
		switch {
		case want != "":
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("release %s: %v, want %q", name, err, want)
			}
		case err != nil:
			t.Errorf("release %s: %v", name, err)
		default:
			for _, problem := range o.Check() {
				t.Errorf("release %s: %s", name, problem)
			}
			if got := o.Deployments[0].Labels["app.kubernetes.io/instance"]; got != name {
				t.Errorf("release %s: its objects are labelled %q", name, got)
			}
		}
	}
}
