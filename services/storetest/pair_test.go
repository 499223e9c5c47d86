package storetest_test

import (
	"database/sql"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/storetest"
)

// What was acknowledged is on the other server when the primary is gone.
func TestPairLosesNothing(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "usher-test-pair-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	began := time.Now()
	p, err := storetest.StartPair(dir)
	if errors.Is(err, storetest.ErrNoPostgreSQL) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	t.Logf("started after %v", time.Since(began))
	execOn(t, p.Primary.DSN(), `CREATE TABLE kept (n int)`)
	execOn(t, p.Primary.DSN(), `INSERT INTO kept VALUES (1)`)
	if err := p.Primary.Kill(); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	if err := p.Promote(); err != nil {
		t.Fatal(err)
	}
	promoted := time.Since(began)
	execOn(t, p.Primary.DSN(), `INSERT INTO kept VALUES (1)`)
	began = time.Now()
	if err := p.Rejoin(); err != nil {
		t.Fatal(err)
	}
	t.Logf("promoted after %v, rejoined after %v", promoted, time.Since(began))
	db, err := sql.Open("postgres", p.Standby.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var n int
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM kept`).Scan(&n); err != nil || n != 2 {
		t.Errorf("the new standby has %d rows, %v, want 2", n, err)
	}
}

func execOn(t *testing.T, dsn, query string) {
	t.Helper()
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}
