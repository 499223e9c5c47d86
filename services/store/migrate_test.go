package store_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/storetest"
)

// said is a log that several may write.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), text)
}

// empty gives a database without tables.
func empty(t *testing.T) (dsn string) {
	t.Helper()
	dsn = storetest.PostgreSQL(t)
	exec(t, raw(t, dsn), `DROP SCHEMA public CASCADE; CREATE SCHEMA public`)
	return dsn
}

func TestPostgreSQLOneMigratesAndTheOthersWait(t *testing.T) {
	t.Parallel()
	dsn, db := empty(t), &said{}
	log := slog.New(slog.NewTextHandler(db, nil))
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			s, err := store.Open(t.Context(), store.Options{DSN: dsn, CipherSecrets: []string{storetest.Secret}, Log: log})
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			defer s.Close()
			if err := s.Migrate(t.Context()); err != nil {
				t.Errorf("Migrate: %v", err)
			}
			if ready, err := s.Migrated(t.Context()); !ready || err != nil {
				t.Errorf("Migrated = %t, %v", ready, err)
			}
		})
	}
	all.Wait()
	if !db.has("another process migrates this database") {
		t.Error("nobody says that it waits")
	}
	var twice, keys int
	check := raw(t, dsn)
	if err := check.QueryRow(`SELECT count(*) - count(DISTINCT version_id) FROM goose_db_version`).Scan(&twice); err != nil || twice != 0 {
		t.Errorf("%d migrations were made twice, %v", twice, err)
	}
	if err := check.QueryRow(`SELECT count(*) - count(DISTINCT purpose) FROM keys`).Scan(&keys); err != nil || keys != 0 {
		t.Errorf("%d keys were made twice, %v", keys, err)
	}
}

// A migration does not stand before a table for longer than its patience, with
// everybody behind it.
func TestPostgreSQLAMigrationLetsOthersPass(t *testing.T) {
	t.Parallel()
	dsn, log := storetest.PostgreSQL(t), &said{}
	db := raw(t, dsn)
	// The last migration, which changes a table in use, is to be made again.
	exec(t, db, `ALTER TABLE identities DROP COLUMN secured_at; DELETE FROM goose_db_version WHERE version_id = 15`)
	reader, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Exec(`SELECT * FROM identities`); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Options{DSN: dsn, CipherSecrets: []string{storetest.Secret}, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	done := make(chan error, 1)
	go func() { done <- s.Migrate(t.Context()) }()
	for deadline := time.Now().Add(20 * time.Second); !log.has("trying again"); {
		if time.Now().After(deadline) {
			t.Fatal("the migration waits for the lock for ever, or did not need it")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Migrate once the table is free: %v", err)
	}
}

// A program goes on, and starts, on a database of a later version, until that
// version needs what this program does not know.
func TestPostgreSQLOfALaterVersion(t *testing.T) {
	t.Parallel()
	dsn, log := storetest.PostgreSQL(t), &said{}
	s := open(t, store.Options{DSN: dsn})
	db := raw(t, dsn)
	exec(t, db, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9001, true)`)
	exec(t, db, `ALTER TABLE admin_tokens ADD COLUMN note text NOT NULL DEFAULT ''; CREATE TABLE of_the_next_version (n int)`)
	if err := s.AddAdminToken(t.Context(), "running", "admin", [32]byte{1}); err != nil {
		t.Errorf("AddAdminToken of one that runs: %v", err)
	}
	started := open(t, store.Options{DSN: dsn, Log: slog.New(slog.NewTextHandler(log, nil))})
	if ready, err := started.Migrated(t.Context()); !ready || err != nil || !log.has("later version") {
		t.Errorf("Migrated = %t, %v, want true and a line", ready, err)
	}
	if err := started.AddAdminToken(t.Context(), "started", "admin", [32]byte{2}); err != nil {
		t.Errorf("AddAdminToken of one that starts: %v", err)
	}
	exec(t, db, `INSERT INTO schema_minimum VALUES (9001)`)
	if ready, err := started.Migrated(t.Context()); ready || err == nil || !strings.Contains(err.Error(), "update this program") {
		t.Errorf("Migrated where more must be known = %t, %v, want an error", ready, err)
	}
	if err := started.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "update this program") {
		t.Errorf("Migrate where more must be known: %v, want an error", err)
	}
}
