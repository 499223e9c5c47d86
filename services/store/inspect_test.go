package store_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/storetest"
)

// TestInspect looks at a database of each kind: before and after the migration.
func TestInspect(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]func(*testing.T) store.Options{
		"sqlite":   func(t *testing.T) store.Options { return store.Options{DataDir: t.TempDir()} },
		"postgres": func(t *testing.T) store.Options { return store.Options{DSN: storetest.PostgreSQL(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			s := open(t, o)
			acted := events.New(events.AdminActed{Action: "hook.create", Target: "crm"}, time.Now(), events.About{Source: "/usher/test", Actor: "admin:ann"})
			if err := s.CreateHook(t.Context(), delivery.Hook{Name: "crm", Kind: delivery.Worker, Types: []string{"identity.created"}, CreatedAt: time.Now(), UpdatedAt: time.Now()}, acted); err != nil {
				t.Fatal(err)
			}
			i := inspect(t, o)
			inspectsAll(t, i)
			if name == "sqlite" { // and once more, as a file that nobody has open
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				before := digest(t, o.DataDir)
				inspectsAll(t, inspect(t, o))
				if after := digest(t, o.DataDir); after != before {
					t.Error("an inspection changes the file")
				}
			}
		})
	}
}

func inspect(t *testing.T, o store.Options) *store.Inspection {
	t.Helper()
	i, err := store.Inspect(o)
	if err != nil {
		t.Fatalf("Inspect: %v", err)
	}
	t.Cleanup(func() { _ = i.Close() })
	return i
}

func inspectsAll(t *testing.T, i *store.Inspection) {
	t.Helper()
	ctx := t.Context()
	if took, err := i.Ping(ctx); err != nil || took <= 0 {
		t.Errorf("Ping = %s, %v", took, err)
	}
	if v, err := i.Schema(ctx); err != nil || v.Is != v.Wanted || v.Wanted < 12 || v.Pending {
		t.Errorf("Schema = %+v, %v, want the same version", v, err)
	}
	if have, want, err := i.Keys(ctx, []string{storetest.Secret}); err != nil || have != want {
		t.Errorf("Keys = %d, %d, %v, want all", have, want, err)
	}
	if _, _, err := i.Keys(ctx, []string{"another-secret-of-32-characters!"}); !errors.Is(err, store.ErrSecret) {
		t.Errorf("Keys with another secret = %v, want ErrSecret", err)
	}
	hooks, err := i.Hooks(ctx)
	if err != nil || len(hooks) != 1 || hooks[0].Name != "crm" || len(hooks[0].Types) != 1 {
		t.Errorf("Hooks = %+v, %v, want crm", hooks, err)
	}
	if depth, _, err := i.Outbox(ctx); err != nil || depth != 1 {
		t.Errorf("Outbox = %d, %v, want 1", depth, err)
	}
	if letters, err := i.DeadLetters(ctx); err != nil || len(letters) != 0 {
		t.Errorf("DeadLetters = %v, %v, want none", letters, err)
	}
	if i.Postgres == nil {
		if facts, err := i.SQLite(ctx); err != nil || facts.Journal != "wal" || facts.Bytes == 0 {
			t.Errorf("SQLite = %+v, %v, want a file with a write-ahead log", facts, err)
		}
		return
	}
	facts, err := i.PostgreSQL(ctx)
	if err != nil || facts.VersionNumber < 130_000 || !facts.Autovacuum || facts.Standby || facts.MaxConnections == 0 || facts.Connections == 0 || facts.Bytes == 0 {
		t.Errorf("PostgreSQL = %+v, %v", facts, err)
	}
	if ahead, within, err := i.Clock(ctx); err != nil || ahead.Abs() > within+10*time.Millisecond {
		t.Errorf("Clock of this machine = %s within %s, %v, want 0", ahead, within, err)
	}
}

// digest is that of all files but what readers and the writer share.
func digest(t *testing.T, dir string) [32]byte {
	t.Helper()
	var all []byte
	files, err := filepath.Glob(filepath.Join(dir, "usher.db*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if filepath.Ext(path) == ".db-shm" {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(append(all, path...), data...)
	}
	return sha256.Sum256(all)
}

func TestInspectSeesWhatIsMissing(t *testing.T) {
	t.Parallel()
	if _, err := store.Inspect(store.Options{DataDir: t.TempDir()}); !errors.Is(err, store.ErrNoDatabase) {
		t.Errorf("Inspect of an empty folder = %v, want ErrNoDatabase", err)
	}
	if _, err := store.Inspect(store.Options{DSN: "memory"}); !errors.Is(err, store.ErrNoDatabase) {
		t.Errorf("Inspect of memory = %v, want ErrNoDatabase", err)
	}
	i := inspect(t, store.Options{DSN: "postgres://127.0.0.1:1/x?connect_timeout=1"})
	if _, err := i.Ping(t.Context()); err == nil {
		t.Error("Ping of a port where nobody listens = nil")
	}
}

func TestInspectionIsReadOnlyAndSeesALead(t *testing.T) {
	t.Parallel()
	dsn := storetest.PostgreSQL(t)
	s := open(t, store.Options{DSN: dsn})
	i := inspect(t, store.Options{DSN: dsn})
	if leads, err := i.Leads(t.Context()); err != nil || leads {
		t.Errorf("Leads = %v, %v, want nobody", leads, err)
	}
	release, _, err := s.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if leads, err := i.Leads(t.Context()); err != nil || !leads {
		t.Errorf("Leads = %v, %v, want somebody", leads, err)
	}
	now := time.Now()
	f := delivery.Failure{Hook: "crm", EventID: uuid.NewString(), EventType: "identity.created", State: delivery.Waiting, Attempts: 2, Reason: "refused", FirstAt: now, LastAt: now, NextAt: now}
	if saved, err := s.SaveFailure(t.Context(), nil, f); err != nil || !saved {
		t.Fatal(saved, err)
	}
	f.EventID, f.Attempts = uuid.NewString(), 1 // it may well succeed the next time
	if saved, err := s.SaveFailure(t.Context(), nil, f); err != nil || !saved {
		t.Fatal(saved, err)
	}
	if got, err := i.Retries(t.Context()); err != nil || len(got) != 1 || got["crm"] != 1 {
		t.Errorf("Retries = %v, %v, want 1 of crm", got, err)
	}
	execute(t, dsn, `DELETE FROM goose_db_version WHERE version_id >= 12`)
	if v, err := i.Schema(t.Context()); err != nil || v.Is != 11 || v.Wanted < 12 || !v.Pending {
		t.Errorf("Schema without the last migrations = %+v, %v", v, err)
	}
}

func execute(t *testing.T, dsn, query string) {
	t.Helper()
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(context.WithoutCancel(t.Context()), query); err != nil {
		t.Fatal(err)
	}
}

// TestInspectionAndStartAgree has a migration missing among others: neither goes
// by the newest number alone.
func TestInspectionAndStartAgree(t *testing.T) {
	t.Parallel()
	dsn := storetest.PostgreSQL(t)
	s := open(t, store.Options{DSN: dsn})
	execute(t, dsn, `DELETE FROM goose_db_version WHERE version_id = 9`)
	_, start := s.Migrated(t.Context())
	if v, err := inspect(t, store.Options{DSN: dsn}).Schema(t.Context()); start == nil || err == nil {
		t.Errorf("without migration 9: a start says %v, an inspection %+v, %v; want two errors", start, v, err)
	}
	execute(t, dsn, `DROP TABLE goose_db_version`)
	if v, err := inspect(t, store.Options{DSN: dsn}).Schema(t.Context()); err != nil || v.Is != 0 || v.Wanted < 12 || !v.Pending {
		t.Errorf("Schema of nothing = %+v, %v", v, err)
	}
}

func withDSN(t *testing.T, dsn string, change func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	change(u)
	return u.String()
}

// TestInspectAsARoleThatIsNoSuperuser is what production should have: it may not
// see how standbys are, unless it is told so, and everything else.
func TestInspectAsARoleThatIsNoSuperuser(t *testing.T) {
	t.Parallel()
	dsn := storetest.PostgreSQL(t)
	role := "plain_" + strings.ToLower(rand.Text()[:10])
	execute(t, dsn, `CREATE ROLE `+role+` LOGIN`)
	t.Cleanup(func() { execute(t, dsn, `DROP ROLE `+role) })
	i := inspect(t, store.Options{DSN: withDSN(t, dsn, func(u *url.URL) { u.User = url.User(role) })})
	facts, err := i.PostgreSQL(t.Context())
	if err != nil || facts.Monitors || facts.Version == "" || facts.MaxConnections == 0 || facts.Connections == 0 {
		t.Errorf("PostgreSQL as a role without rights = %+v, %v", facts, err)
	}
	execute(t, dsn, `GRANT pg_monitor TO `+role)
	if facts, err = i.PostgreSQL(t.Context()); err != nil || !facts.Monitors {
		t.Errorf("PostgreSQL with pg_monitor = %+v, %v", facts, err)
	}
}

func TestInspectSaysWhyItIsRefused(t *testing.T) {
	t.Parallel()
	dsn := storetest.PostgreSQL(t)
	for code, change := range map[string]func(*url.URL){
		"3D000": func(u *url.URL) { u.Path = "/nowhere" },
		"28000": func(u *url.URL) { u.User = url.UserPassword("nobody_at_all", "hunter2") },
	} {
		_, err := inspect(t, store.Options{DSN: withDSN(t, dsn, change)}).Ping(t.Context())
		var refusal *store.Refusal
		if !errors.As(err, &refusal) || refusal.Code != code || strings.Contains(refusal.Message, "hunter2") {
			t.Errorf("Ping = %v, want a refusal with %s", err, code)
		}
	}
}
