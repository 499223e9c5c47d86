package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/usher-auth/usher/cmd/internal/config"
)

// Elsewhere than in the folder of the server they made an empty database, or
// gave what SQLite says of one.
func TestCommandsFindTheDatabaseOrSayWhere(t *testing.T) {
	t.Parallel()
	none := filepath.Join(t.TempDir(), "none")
	elsewhere := write(t, "dev: true\ndata_dir: "+none+"\n")
	empty := t.TempDir()
	if err := os.WriteFile(filepath.Join(empty, "usher.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	unready := write(t, "dev: true\ndata_dir: "+empty+"\n")
	for _, args := range [][]string{
		{"admin", "token", "new", "siem"},
		{"admin", "token", "list"},
		{"admin", "token", "remove", "siem"},
		{"console", "user", "list"},
		{"console", "user", "reset", "owner"},
		{"audit", "keys"},
		{"audit", "verify", "--database"},
		{"database", "backup", filepath.Join(empty, "copy.db")},
	} {
		for file, want := range map[string]string{elsewhere: "no database " + none, unready: "the database " + empty + "/usher.db is not of this version"} {
			_, errOut, code := run(t, append(args, "-c", file)...)
			if code == 0 || !strings.Contains(errOut, want) || !strings.Contains(errOut, "USHER_DATA_DIR") {
				t.Errorf("usher %s = %d %s, want %q and what to give", strings.Join(args, " "), code, errOut, want)
			}
		}
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("a command that reads has made a folder")
	}
	there := write(t, "dev: true\ndata_dir: "+none+"\n")
	if _, errOut, code := run(t, "migrate", "-c", there); code != 0 {
		t.Fatal(errOut)
	}
	out, errOut, code := run(t, "admin", "token", "new", "siem", "-c", there)
	if code != 0 || strings.Count(out, "\n") != 1 || !strings.Contains(errOut, none+"/usher.db") {
		t.Errorf("usher admin token new = %d %s%s, want the token, and the database that has it", code, out, errOut)
	}
	const chosen = "usher_at_0123456789abcdef0123456789abcdef"
	for _, want := range []string{"stored", "is there already"} {
		out, errOut, code = run(t, "admin", "token", "new", "scraper", "--scope", "metrics", "--from", write(t, chosen+"\n"), "-c", there)
		if code != 0 || !strings.Contains(out, want) || strings.Contains(out+errOut, chosen) {
			t.Errorf("usher admin token new --from = %d %s%s, want %q, and not the token", code, out, errOut, want)
		}
	}
	if out, errOut, code = run(t, "admin", "token", "new", "other", "--from", write(t, chosen), "-c", there); code == 0 || !strings.Contains(errOut, "another name") {
		t.Errorf("usher admin token new --from of another's token = %d %s%s, want a refusal", code, out, errOut)
	}
}

func TestDatabaseIsNamedWithoutASecret(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"postgres://ann:hidden@db:5432/usher?sslpassword=hidden":   "postgres://db:5432/usher",
		"postgres://ann:hidden@one:5432,two/usher?password=hidden": "postgres://one:5432,two:5432/usher",
		"postgres://ann:%zz@db":                                    "that dsn names",
		"sqlite:///var/a.db":                                       "/var/a.db",
	} {
		cfg := &config.Config{DSN: config.NewAddress(dsn)}
		if got, _ := databaseOf(cfg); got != want {
			t.Errorf("database of %s = %q, want %q", dsn, got, want)
		}
	}
}

// TestBackup writes what can take the database's place, once.
func TestBackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	there := write(t, "dev: true\ndata_dir: "+dir+"\n")
	for _, args := range [][]string{{"migrate"}, {"console", "user", "add", "ann"}} {
		if _, errOut, code := run(t, append(args, "-c", there)...); code != 0 {
			t.Fatal(errOut)
		}
	}
	other := t.TempDir()
	file := filepath.Join(other, "usher.db")
	if out, errOut, code := run(t, "database", "backup", file, "-c", there); code != 0 || !strings.Contains(out, file) {
		t.Fatalf("usher database backup = %d %s%s", code, out, errOut)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy: %v %v, want one that others cannot read", info, err)
	}
	secrets, err := os.ReadFile(filepath.Join(dir, "dev-secrets.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other, "dev-secrets.json"), secrets, 0o600); err != nil {
		t.Fatal(err)
	}
	copied := write(t, "dev: true\ndata_dir: "+other+"\n")
	if out, errOut, code := run(t, "console", "user", "list", "-c", copied); code != 0 || !strings.Contains(out, "ann") {
		t.Errorf("usher console user list of the copy = %d %s%s, want ann", code, out, errOut)
	}
	if _, errOut, code := run(t, "database", "backup", file, "-c", there); code == 0 || !strings.Contains(errOut, "exists") {
		t.Errorf("usher database backup over a file = %d %s, want a refusal", code, errOut)
	}
}
