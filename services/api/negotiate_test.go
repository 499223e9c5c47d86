package api_test

import (
	"testing"

	"github.com/usher-auth/usher/services/api"
)

func TestPrefersJSON(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		accept []string
		want   bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"*/*"}, false},
		{[]string{"text/html"}, false},
		{[]string{"image/png"}, false},
		{[]string{"application/json"}, true},
		{[]string{"Application/JSON"}, true},
		{[]string{"application/json, text/plain, */*"}, true},
		{[]string{"application/json;charset=utf-8"}, true},
		{[]string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, false},
		{[]string{"text/html, application/json"}, false},
		{[]string{"application/json, text/html"}, true},
		{[]string{"application/json;q=0.5, text/html"}, false},
		{[]string{"text/html;q=0.5, application/json"}, true},
		{[]string{"text/html;q=0.9, application/json;q=0.9"}, false},
		{[]string{"application/*"}, true},
		{[]string{"text/*, application/*"}, false},
		{[]string{"text/*;q=0.1, */*"}, true},
		{[]string{"application/json;q=0"}, false},
		{[]string{"application/json;q=0, */*"}, false},
		{[]string{"application/json;q=nonsense, text/html;q=0.1"}, false},
		{[]string{"application/json;q=NaN"}, false},
		{[]string{"application/json;q=2"}, false},
		{[]string{"application/json;v=1;q=0.9", "text/html;q=0.8"}, true},
		{[]string{"application/vnd.api+json"}, false},
		{[]string{",,;;q=,"}, false},
	} {
		if got := api.PrefersJSON(tt.accept); got != tt.want {
			t.Errorf("prefersJSON(%q) = %v, want %v", tt.accept, got, tt.want)
		}
	}
}

// FuzzAccept: two lines of a header mean the same as one with a comma.
func FuzzAccept(f *testing.F) {
	f.Add("text/html,application/json;q=0.9,*/*;q=0.8", "application/json")
	f.Add(";q=;,", "*/*;q=1e-400")
	f.Fuzz(func(t *testing.T, first, second string) {
		one, two := api.PrefersJSON([]string{first + "," + second}), api.PrefersJSON([]string{first, second})
		if one != two {
			t.Errorf("prefersJSON of %q and %q = %v on one line, %v on two", first, second, one, two)
		}
	})
}
