package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExportIdentities(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := write(t, "dev: true\ndata_dir: "+dir+"\n")
	people := filepath.Join(dir, "people.jsonl")
	if err := os.WriteFile(people, []byte(annLine), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"migrate"}, {"identities", "import", people}} {
		if _, errOut, code := run(t, append(args, "-c", config)...); code != 0 {
			t.Fatal(errOut)
		}
	}
	file := filepath.Join(dir, "out.jsonl")
	export := func(wantCode int, said string, args ...string) (out string) {
		t.Helper()
		out, errOut, code := run(t, append([]string{"identities", "export", "-c", config}, args...)...)
		if code != wantCode || !strings.Contains(out+errOut, said) {
			t.Errorf("export %s = %d %s%s, want %d %s", args, code, out, errOut, wantCode, said)
		}
		return out
	}
	const hash = "$2a$12$"
	if out := export(0, "1 exported"); !strings.Contains(out, "ann@example.org") || strings.Contains(out, hash) {
		t.Errorf("export = %s, want ann without her hash", out)
	}
	if out := export(0, "1 exported", "--include-credentials"); !strings.Contains(out, hash) {
		t.Errorf("export --include-credentials = %s, want the hash", out)
	}
	if err := os.WriteFile(file, []byte("mine"), 0o644); err != nil { //nolint:gosec // that it is another's is what is tried
		t.Fatal(err)
	}
	export(1, "--force", file)
	if text, err := os.ReadFile(file); err != nil || string(text) != "mine" {
		t.Errorf("a file that was there is %q, %v", text, err)
	}
	export(0, "1 exported to "+file, "--force", file)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() < 100 {
		t.Errorf("the file is %v, %v, want it readable by its owner only", info, err)
	}
	if parts, err := filepath.Glob(filepath.Join(dir, ".*part*")); err != nil || len(parts) > 0 {
		t.Errorf("left beside the file: %q, %v", parts, err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	export(1, "no file", "--force", link)
	export(1, "no database", filepath.Join(dir, "none"), "-c", write(t, "dev: true\ndata_dir: "+filepath.Join(dir, "nowhere")+"\n"))
}

// An export that does not end well leaves a file that is there, and nothing else; one that
// was not to take its place does not, also where it has come meanwhile.
func TestAnExportIsWholeOrNot(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		force  bool
		before string // "" for no file at the beginning
		err    error
		later  string // written before the end
		want   string
	}{
		"whole":                {false, "", nil, "", "new"},
		"whole, in its place":  {true, "former", nil, "", "new"},
		"broken":               {false, "", boom, "", ""},
		"broken, in its place": {true, "former", boom, "", "former"},
		"another came":         {false, "", nil, "another", "another"},
	} {
		path := filepath.Join(t.TempDir(), "out.jsonl")
		put := func(text string) {
			if text == "" {
				return
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		put(c.before)
		f := exporting{force: c.force}
		file, err := f.create(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteString("new"); err != nil {
			t.Fatal(err)
		}
		put(c.later)
		err = f.finish(file, path, c.err)
		if bad := c.err != nil || c.later != ""; (err != nil) != bad {
			t.Errorf("%s: finish = %v, want an error: %t", name, err, bad)
		}
		if text, _ := os.ReadFile(path); string(text) != c.want {
			t.Errorf("%s: the file is %q, want %q", name, text, c.want)
		}
		if parts, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(parts) > 0 {
			t.Errorf("%s: left beside it: %q", name, parts)
		}
	}
}
