package main

import (
	"strings"
	"testing"
)

func TestATerminalTakesNoOrdersOfOthers(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	text := "crm\x1b[31m\tdead\n\u202egnp \x9b é\r\n"
	if n, err := (terminal{&out}).Write([]byte(text)); n != len(text) || err != nil {
		t.Errorf("Write = %d, %v, want %d", n, err, len(text))
	}
	if want := `crm\x1b[31m` + "\tdead\n" + `\u202egnp \x9b é\r` + "\n"; out.String() != want {
		t.Errorf("Write(%q) gives %q, want %q", text, out.String(), want)
	}
	if unguarded(terminal{&out}) != any(&out) || unguarded(&out) != any(&out) {
		t.Error("unguarded gives another writer")
	}
}
