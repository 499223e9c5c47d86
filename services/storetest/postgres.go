package storetest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/schemas"
	"github.com/usher-auth/usher/services/store"
)

// Secret is a secrets.cipher for tests.
const Secret = "storetest-secret-of-32-characters"

// PostgreSQL gives the DSN of a fresh database that has all tables and no keys:
// Migrate makes them. It is gone when the test, or the test process, is over.
//
// The server is the one that USHER_TEST_POSTGRES names by the DSN of a
// superuser, else one that lives as long as the test process. Where there is no
// PostgreSQL the test is skipped; in CI it fails.
func PostgreSQL(tb testing.TB) string {
	tb.Helper()
	s, err := sharedServer()
	if errors.Is(err, ErrNoPostgreSQL) && os.Getenv("CI") != "true" {
		tb.Skip("no PostgreSQL on this machine")
	}
	if err != nil {
		tb.Fatalf("start PostgreSQL: %v", err)
	}
	name, err := s.clone()
	if err != nil {
		tb.Fatalf("clone the template database: %v", err)
	}
	if s.stop == nil { // else it goes with its server
		tb.Cleanup(func() {
			if err := s.drop(name); err != nil {
				tb.Errorf("drop database %s: %v", name, err)
			}
		})
	}
	return s.dsn(name)
}

// server is the PostgreSQL of this test process, with a template database.
type server struct {
	admin    *sql.DB
	url      url.URL
	template string
	// stop is never called, but its pipe must stay open as long as this process lives.
	stop func()
}

// sharedServer starts what all tests of the process use, once.
var sharedServer = sync.OnceValues(func() (*server, error) {
	if dsn := os.Getenv("USHER_TEST_POSTGRES"); dsn != "" {
		return newServer(dsn, nil)
	}
	dir, err := os.MkdirTemp("", "usher-test-postgres-")
	if err != nil {
		return nil, err
	}
	dsn, stop, err := StartPostgreSQL(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return newServer(dsn, stop)
})

func newServer(dsn string, stop func()) (*server, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, err
	}
	version, err := migrationsHash()
	if err != nil {
		return nil, err
	}
	admin, err := sql.Open("postgres", dsn) // the driver that package store brings
	if err != nil {
		return nil, err
	}
	s := &server{admin: admin, url: *u, template: "usher_template_" + version, stop: stop}
	return s, s.shareTemplate()
}

// migrationsHash names the template: test processes of one version share it.
func migrationsHash() (string, error) {
	h := sha256.New()
	err := fs.WalkDir(schemas.SQL, "sql/postgres", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := schemas.SQL.ReadFile(path)
		h.Write(data)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)[:6]), err
}

// shareTemplate makes the template unless another process has made it. It gets
// its name when it is complete.
func (s *server) shareTemplate() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := s.admin.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	const lock = 7_307_099
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, lock); err != nil {
		return err
	}
	err = s.makeTemplate(ctx, conn)
	_, unlock := conn.ExecContext(ctx, `SELECT pg_advisory_unlock($1)`, lock)
	return errors.Join(err, unlock)
}

func (s *server) makeTemplate(ctx context.Context, conn *sql.Conn) error {
	var there bool
	err := conn.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)`, s.template).Scan(&there)
	if err != nil || there {
		return err
	}
	made := "usher_test_" + random()
	if _, err := conn.ExecContext(ctx, `CREATE DATABASE `+made); err != nil {
		return err
	}
	if err := s.fill(ctx, made); err != nil {
		return errors.Join(err, s.drop(made))
	}
	_, err = conn.ExecContext(ctx, `ALTER DATABASE `+made+` RENAME TO `+s.template)
	return err
}

// fill makes the tables. The keys go again: each copy is given its own, by
// whatever secret its test has.
func (s *server) fill(ctx context.Context, database string) error {
	st, err := store.Open(ctx, store.Options{DSN: s.dsn(database), CipherSecrets: []string{Secret}})
	if err != nil {
		return err
	}
	if err := errors.Join(st.Migrate(ctx), st.Close()); err != nil {
		return err
	}
	db, err := sql.Open("postgres", s.dsn(database))
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `DELETE FROM keys`)
	return errors.Join(err, db.Close())
}

func (s *server) clone() (name string, err error) {
	name = "usher_test_" + random()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err = s.admin.ExecContext(ctx, `CREATE DATABASE `+name+` TEMPLATE `+s.template)
	return name, err
}

func (s *server) drop(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := s.admin.ExecContext(ctx, `DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`)
	return err
}

func (s *server) dsn(database string) string {
	u := s.url
	u.Path = "/" + database
	return u.String()
}

func random() string { return strings.ToLower(rand.Text()[:12]) }

// ErrNoPostgreSQL says that no PostgreSQL is installed.
var ErrNoPostgreSQL = errors.New("no PostgreSQL on this machine")
