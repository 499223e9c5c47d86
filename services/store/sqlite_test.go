package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/storetest"
)

// open gives a migrated store, closed at the end of the test unless before.
func open(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	o.CipherSecrets = []string{storetest.Secret}
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatalf("Migrate: %v", err)
	}
	return s
}

func createFlow(t testing.TB, s *store.Store) uuid.UUID {
	t.Helper()
	f := &flow.Flow{ID: uuid.New(), Kind: flow.Registration, Type: flow.API, State: flow.ChooseMethod, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
	if err := s.CreateFlow(t.Context(), f); err != nil {
		t.Fatalf("CreateFlow: %v", err)
	}
	return f.ID
}

func TestSQLiteFlowsOutliveTheProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, store.Options{DataDir: dir})
	id := createFlow(t, s)
	copied := t.TempDir() // as a killed process leaves it
	for _, name := range []string{"usher-flows.db", "usher-flows.db-wal"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(copied, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for how, dir := range map[string]string{"closed": dir, "killed": copied} {
		if _, err := open(t, store.Options{DataDir: dir}).Flow(t.Context(), id); err != nil {
			t.Errorf("Flow after the process was %s: %v", how, err)
		}
	}
}

func TestSQLiteDamagedFlowsAreThrownAway(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func([]byte){
		"no database": func(file []byte) { copy(file, "this is no database at all") },
		"a page":      func(file []byte) { copy(file[4096:], bytes.Repeat([]byte{0xff}, 4096)) },
		"all pages":   func(file []byte) { copy(file[100:], bytes.Repeat([]byte{0xff}, len(file))) },
		"the version": func(file []byte) { file[63] = 99 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := open(t, store.Options{DataDir: dir})
			lost := createFlow(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "usher-flows.db")
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			damage(file)
			if err := os.WriteFile(path, file, 0o600); err != nil {
				t.Fatal(err)
			}
			s = open(t, store.Options{DataDir: dir})
			id := createFlow(t, s)
			if _, err := s.Flow(t.Context(), id); err != nil {
				t.Errorf("Flow in the new file: %v", err)
			}
			if _, err := s.Flow(t.Context(), lost); !errors.Is(err, flow.ErrNotFound) {
				t.Errorf("Flow of the damaged file: %v, want %v", err, flow.ErrNotFound)
			}
		})
	}
}

func TestSQLiteFlowsDamagedWhileInUseAreThrownAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var said bytes.Buffer
	s := open(t, store.Options{DataDir: dir, Log: slog.New(slog.NewTextHandler(&said, nil))})
	createFlow(t, s)
	db, err := sql.Open("sqlite", filepath.Join(dir, "usher-flows.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = db.Exec(`PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'damaged'; PRAGMA schema_version = 99`)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		id := createFlow(t, s)
		if _, err := s.Flow(t.Context(), id); err != nil {
			t.Fatalf("Flow: %v", err)
		}
	}
	if got := strings.Count(said.String(), "made anew"); got != 1 {
		t.Errorf("the log says %d times that the file was made anew, want 1: %s", got, &said)
	}
}

func TestSQLiteFilesAreOurs(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, store.Options{DataDir: dir})
	createFlow(t, s)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) < 4 {
		t.Errorf("%d files in the data folder, want the two databases and their logs", len(entries))
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v: others can read it", e.Name(), info.Mode())
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data folder has mode %v, %v, want 0700", info.Mode(), err)
	}
}

func TestSQLiteDSN(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a b?c%20.db")
	path = strings.ReplaceAll(path, "?", "") // begins the parameters of a DSN
	s := open(t, store.Options{DSN: "sqlite://" + path})
	if !s.Embedded() {
		t.Error("Embedded() = false for SQLite")
	}
	createFlow(t, s)
	if _, err := os.Stat(path); err != nil {
		t.Errorf("Open of sqlite:// made no file there: %v", err)
	}
	temporary := open(t, store.Options{DSN: "memory"})
	createFlow(t, temporary)
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"mysql://user:hunter2@h/db":                         "mysql is not supported",
		"cockroach://user:hunter2@h/db":                     "cockroach is not supported",
		"oracle:hunter2":                                    "want postgres://",
		"sqlite://":                                         "needs a path",
		"sqlite://:memory:":                                 "takes a path alone",
		"sqlite://file:/tmp/z.db":                           "takes a path alone",
		"sqlite:///tmp/x.db?_fk=true":                       "no parameter",
		"postgres://user:hunter2@h:port/db":                 "invalid port",
		"postgres://user:hunter2@h/db?max_conns=many":       "max_conns=many",
		"postgres://user:hunter2@h/db?max_conns=2":          "at least 3",
		"postgres://user:hunter2@h/db?max_conn_lifetime=5":  "max_conn_lifetime=5",
		"postgres://user:hunter2@h/db?statement_timeout=5s": "statement_timeout=5s",
		"postgres://user:hunter2@h/db?sslmode=perhaps":      "sslmode",
	} {
		_, err := store.Open(context.Background(), store.Options{DSN: dsn, CipherSecrets: []string{storetest.Secret}})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open(%q): %v, want an error with %q and without the password", dsn, err, want)
		}
	}
}
