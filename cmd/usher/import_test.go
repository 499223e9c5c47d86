package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	annLine = `{"id":"7f3f8f0e-5f0b-4f7e-9a53-2a2f0c7f7f10","schema_id":"default","traits":{"email":"ann@example.org"},"created_at":"2020-01-02T03:04:05Z",` +
		`"credentials":{"password":{"type":"password","identifiers":["ann@example.org"],"version":0,"config":{"hashed_password":"$2a$12$` +
		`R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"}}},"verifiable_addresses":[{"value":"ann@example.org","via":"email","verified":true,"status":"completed"}]}`
	beaLine = `{"external_id":"crm-7","traits":{"email":"bea@example.org"}}`
)

// What is refused does not stop the rest, and the same command again stores nothing twice.
func TestImport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := write(t, "dev: true\ndata_dir: "+dir+"\n")
	if _, errOut, code := run(t, "migrate", "-c", config); code != 0 {
		t.Fatal(errOut)
	}
	refusals := []struct{ line, reason string }{
		{`{"traits":{"email":"cid@example.org"`, "the JSON is refused at byte"},
		{`{"traits":{"email":"cid@example.org"},"nick":"cid"}`, `unknown member "nick"`},
		{`{"traits":{"email":"no"}}`, "traits.email"},
		{`{"traits":{"email":"BEA@example.org"}}`, "the same identifier, address or external_id"},
		{beaLine, "line 2 is of the same identity"},
		{`{"external_id":"crm-7","traits":{"email":"dan@example.org"}}`, "the same identifier, address or external_id"},
		{`{"traits":{"email":"dan@example.org"},"credentials":{"totp":{"config":{"totp_url":"otpauth://secret"}}}}`, `"totp" are not imported`},
		{`{"traits":{"email":"dan@example.org"},"credentials":{"password":{"config":{"hashed_password":"$1$salt$secret"}}}}`, "hashed_password"},
		{`{"traits":{"email":"dan@example.org"},"credentials":{"password":{"identifiers":["dan@example.org"]}}}`, "include_credential"},
		{`{"traits":{"email":"` + strings.Repeat("x", 1<<20) + `"}}`, "longer than 1048576 bytes"},
		{`{"id":"secret","traits":{"email":"dan@example.org"}}`, "no UUID"},
	}
	lines := []string{annLine, beaLine}
	for _, r := range refusals {
		lines = append(lines, r.line)
	}
	lines = append(lines, "", `{"traits":{"email":"eve@example.org"}}`)
	file := filepath.Join(dir, "people.jsonl")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	for n, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--check"}, `3 would be imported, 0 there already, 11 refused`},
		{[]string{"--from-line", "15"}, `1 imported, 0 there already, 0 refused`},
		{nil, `2 imported, 1 there already, 11 refused`},
		{nil, `0 imported, 3 there already, 11 refused`},
		{[]string{"--events", "created"}, `0 imported, 3 there already, 11 refused`},
	} {
		refused := filepath.Join(dir, fmt.Sprint("refused", n))
		out, errOut, code := run(t, append([]string{"identities", "import", file, "--refused", refused, "-c", config}, c.args...)...)
		wantCode := 2
		if strings.HasSuffix(c.want, " 0 refused") {
			wantCode = 0
		}
		if code != wantCode || strings.TrimSpace(out) != c.want {
			t.Errorf("import %v = %d %s%s, want %d %s", c.args, code, out, errOut, wantCode, c.want)
		}
		if wantCode == 0 {
			continue
		}
		text, err := os.ReadFile(refused)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(errOut, "\n… and 6 more: --refused "+refused+" has all\n") || strings.Count(errOut, "\n") != 6 {
			t.Errorf("import %v says %s, want five refusals, and where the others are", c.args, errOut)
		}
		if !strings.Contains(string(text), `"external_id":"crm-7"}`) || strings.Contains(string(text), "dan@") {
			t.Errorf("import %v reports %s, want who is refused, and no address", c.args, text)
		}
		if strings.Contains(string(text)+errOut, "secret") {
			t.Errorf("import %v shows a secret:\n%s%s", c.args, text, errOut)
		}
		reasons := strings.Split(strings.TrimSpace(string(text)), "\n")
		if len(reasons) != len(refusals) {
			t.Fatalf("import %v: %d refused, want %d:\n%s", c.args, len(reasons), len(refusals), text)
		}
		for at, r := range refusals {
			if got := strings.ReplaceAll(reasons[at], `\"`, `"`); !strings.Contains(got, r.reason) || !strings.Contains(got, fmt.Sprintf(`"line":%d,`, at+3)) {
				t.Errorf("line %d is refused with %s, want %s", at+3, got, r.reason)
			}
		}
	}
	other := strings.ReplaceAll(annLine, "ann@example.org", "other@example.org")
	if err := os.WriteFile(file, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errOut, code := run(t, "identities", "import", file, "-c", config); code != 2 || !strings.Contains(errOut, "with other traits") {
		t.Errorf("import of another with an id that is there = %d %s, want it refused", code, errOut)
	}
}

// An import changes nobody, and says so; it says too who cannot sign in at a provider.
func TestImportSaysWhatItDoesNot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := write(t, "dev: true\ndata_dir: "+dir+"\n")
	if _, errOut, code := run(t, "migrate", "-c", config); code != 0 {
		t.Fatal(errOut)
	}
	file := filepath.Join(dir, "people.jsonl")
	social := strings.Replace(beaLine, "{", `{"credentials":{"oidc":{"config":{"providers":[{"provider":"google","subject":"1"}]}}},`, 1)
	for n, c := range []struct{ text, want, warning string }{
		{annLine + "\n" + social, "2 imported, 0 there already, 0 refused", "1 person has an account at google, which is not configured"},
		{annLine + "\n" + social, "0 imported, 2 there already, 0 refused", ""},
		{annLine + "\n" + strings.Replace(social, "crm-7", "crm-8", 1), "0 imported, 2 there already (1 of them differs: an import changes nobody), 0 refused", ""},
		{strings.Replace(annLine, "{", `{"metadata_admin":1,`, 1) + "\n" + strings.Replace(social, "{", `{"state":"inactive",`, 1), "0 imported, 2 there already (2 of them differ: an import changes nobody), 0 refused", ""},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, errOut, code := run(t, "identities", "import", file, "-c", config)
		if code != 0 || strings.TrimSpace(out) != c.want || strings.TrimSpace(errOut) != c.warning {
			t.Errorf("%d: import = %d %s%s, want %s and %q", n, code, out, errOut, c.want, c.warning)
		}
	}
}

// A report of refusals is written anew, but not over what is imported.
func TestImportReportsAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := write(t, "dev: true\ndata_dir: "+dir+"\n")
	if _, errOut, code := run(t, "migrate", "-c", config); code != 0 {
		t.Fatal(errOut)
	}
	file, refused := filepath.Join(dir, "people.jsonl"), filepath.Join(dir, "refused.jsonl")
	for _, text := range []string{"{\n{\n" + annLine, "{\n" + annLine} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, errOut, code := run(t, "identities", "import", file, "--refused", refused, "-c", config); code != 2 {
			t.Errorf("import = %d %s, want 2", code, errOut)
		}
		got, err := os.ReadFile(refused)
		if want := strings.Count(text, "{\n"); err != nil || strings.Count(string(got), "\n") != want {
			t.Errorf("the report is %q, %v, want %d lines", got, err, want)
		}
	}
	if _, errOut, code := run(t, "identities", "import", file, "--refused", file, "-c", config); code != 1 || !strings.Contains(errOut, "--refused") {
		t.Errorf("import with its file as report = %d %s, want it refused", code, errOut)
	}
	if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "ann@") {
		t.Errorf("the file is %q, %v, want it as it was", text, err)
	}
}

// A check needs no database, and makes none.
func TestImportChecksWithoutADatabase(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "people.jsonl")
	if err := os.WriteFile(file, []byte(annLine+"\n"+beaLine+"\n"+`{"traits":{"email":"no"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for dsn, why := range map[string]string{
		"":              "start 'usher serve' once, or 'usher migrate'",
		"dsn: memory\n": "no other process can read: set dsn to sqlite://PATH or postgres://",
		"dsn: postgres://usher:secret@127.0.0.1:1/usher?sslmode=disable&connect_timeout=1\n": "",
	} {
		dir := filepath.Join(t.TempDir(), "none")
		config := write(t, "dev: true\ndata_dir: "+dir+"\n"+dsn)
		out, errOut, code := run(t, "identities", "import", "--check", file, "-c", config)
		if want := "2 would be imported, 0 there already, 1 refused\n"; code != 2 || out != want || !strings.Contains(errOut, "not checked: whether somebody is there") || strings.Contains(errOut, "secret") {
			t.Errorf("import --check with %q = %d %s%s, want %s and what is not checked", dsn, code, out, errOut, want)
		}
		if _, errOut, code := run(t, "identities", "import", file, "-c", config); code != 1 || !strings.Contains(errOut, why) {
			t.Errorf("import with %q = %d %s, want it to fail with %s", dsn, code, errOut, why)
		}
		if _, err := os.Stat(dir); err == nil && !strings.Contains(dsn, "postgres") { // whose keys are sealed with what is made there
			t.Errorf("with %q %s was made", dsn, dir)
		}
	}
}
