package main

import (
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
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	export(1, "no file", "--force", link)
	export(1, "no database", filepath.Join(dir, "none"), "-c", write(t, "dev: true\ndata_dir: "+filepath.Join(dir, "nowhere")+"\n"))
}
