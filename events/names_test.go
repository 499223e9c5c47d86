package events_test

import (
	"strings"
	"testing"

	"github.com/usher-auth/usher/events"
)

func TestCheckName(t *testing.T) {
	t.Parallel()
	for name, good := range map[string]bool{
		"crm": true, "crm-sync-2": true, "7": false, "7-up": false, strings.Repeat("a", 64): true,
		"": false, strings.Repeat("a", 65): false, "Crm": false, "crm.sync": false, "crm_sync": false, "crm--sync": false,
		"-crm": false, "crm-": false, "crm*": false, ">": false, "crm\n": false, "größe": false,
	} {
		if err := events.CheckName(name); (err == nil) != good {
			t.Errorf("CheckName(%q) = %v, want it good: %t", name, err, good)
		}
	}
}

func TestCleanReason(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                       "",
		" \n":                    "",
		"error: away":            "error: away",
		"a\n\tb\x1b[31m\x00 c":   "a b [31m c",
		"right\u202eleft":        "rightleft",
		"a\u2028b":               "a b",
		"bad \xff byte":          "bad ? byte",
		strings.Repeat("é", 200): strings.Repeat("é", 200),
		strings.Repeat("é", 201): strings.Repeat("é", 199) + "…",
	} {
		if got := events.CleanReason(text); got != want {
			t.Errorf("CleanReason(%q) = %q, want %q", text, got, want)
		}
	}
}
