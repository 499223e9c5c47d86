package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

func TestConsoleUsers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := write(t, "dev: true\ndata_dir: "+dir+"\nserve: {admin: {base_url: 'https://admin.example.org/'}}\n")
	usher := func(args ...string) (out, errOut string, code int) { return run(t, append(args, "-c", file)...) }
	if _, errOut, code := usher("migrate"); code != 0 {
		t.Fatal(errOut)
	}
	out, errOut, code := usher("console", "user", "add", "ann", "--role", "owner")
	if code != 0 || !strings.HasPrefix(out, "https://admin.example.org/console/set-up?link=usher_setup_") || strings.Count(out, "\n") != 1 {
		t.Errorf("add = %d %s, want a link alone", code, out)
	}
	if !strings.Contains(errOut, filepath.Join(dir, "usher.db")) || strings.Contains(errOut, "usher_setup_") {
		t.Errorf("add says %q, want the database and no link", errOut)
	}
	out, _, _ = usher("console", "user", "add", "bob", "--json")
	var made struct{ Name, Link string }
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.Name != "bob" || !strings.Contains(made.Link, "usher_setup_") {
		t.Errorf("add --json = %s, %v", out, err)
	}
	again, _, code := usher("console", "user", "reset", "bob")
	if code != 0 || strings.TrimSpace(again) == made.Link {
		t.Errorf("reset = %d %s, want another link", code, again)
	}
	out, _, _ = usher("console", "user", "list", "--json")
	var all []shownOperator
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 2 || all[0].Role != "owner" || all[1].SetUp || all[1].SetUpUntil == nil || strings.Contains(out, "usher_setup_") {
		t.Errorf("list --json = %s, %v, want ann and bob without their links", out, err)
	}
	if out, _, _ := usher("console", "user", "list"); !strings.Contains(out, "bob   operator  link until") {
		t.Errorf("list = %s", out)
	}
	if out, _, code := run(t, "__complete", "-c", file, "console", "user", "remove", "b"); code != 0 || !strings.HasPrefix(out, "bob\n") {
		t.Errorf("completion = %s, want bob", out)
	}
	for want, args := range map[string][]string{
		"'usher console user reset ann' makes":        {"add", "ann"},
		"audit trail":                                 {"add", "ann@example.org"},
		"did you mean owner?":                         {"add", "cat", "--role", "ownr"},
		"'usher console user list' shows all":         {"reset", "nobody"},
		"there is no operator \"nobody\"":             {"remove", "nobody"},
		"'usher console user add NAME --role owner' ": {"remove", "ann"},
	} {
		if _, errOut, code := usher(append([]string{"console", "user"}, args...)...); code == 0 || !strings.Contains(errOut, want) {
			t.Errorf("%q = %d %s, want %q", args, code, errOut, want)
		}
	}
	if _, errOut, code := usher("admin", "token", "new", "ann"); code == 0 || !strings.Contains(errOut, "audit trail") {
		t.Errorf("a token with the name of an operator = %d %s, want a refusal", code, errOut)
	}
	for name, want := range map[string]string{"local": "command line", "ops@example.org": "audit trail", "o p": "letters"} {
		if _, errOut, code := usher("admin", "token", "new", name); code == 0 || !strings.Contains(errOut, want) {
			t.Errorf("a token with the name %q = %d %s, want a refusal with %q", name, code, errOut, want)
		}
	}
	if _, errOut, code := usher("console", "user", "role", "ann", "operator"); code == 0 || !strings.Contains(errOut, "nobody else") {
		t.Errorf("taking the last owner's role = %d %s, want a refusal", code, errOut)
	}
	if out, errOut, code := usher("console", "user", "role", "bob", "owner"); code != 0 || out != "bob is owner\n" {
		t.Errorf("role = %d %s%s", code, out, errOut)
	}
	if out, errOut, code := usher("console", "user", "remove", "bob"); code != 0 || out != "removed bob\n" {
		t.Errorf("remove = %d %s%s", code, out, errOut)
	}
}
