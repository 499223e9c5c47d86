package flow_test

import (
	"testing"

	"github.com/usher-auth/usher/services/flow"
)

func TestEnteredCode(t *testing.T) {
	t.Parallel()
	for entered, want := range map[string]string{
		"":                          "",
		" \t":                       "",
		"123456":                    "123456",
		" 123 456\n":                "123456",
		"123-456":                   "123456",
		"12 - 34 - 56":              "123456",
		"123\u00a0456":              "123456",
		"123\u2013456":              "123456",
		"123-45":                    "123-45",
		"123 4567":                  "123 4567",
		"123.456":                   "123.456",
		" 12a 456 ":                 "12a 456",
		" - ":                       "-",
		" abc-DEF_123456 ":          "abc-DEF_123456",
		"\u0661\u0662\u0663\u0664-": "\u0661\u0662\u0663\u0664-",
	} {
		if got := flow.EnteredCode(entered); got != want {
			t.Errorf("EnteredCode(%q) = %q, want %q", entered, got, want)
		}
	}
}
