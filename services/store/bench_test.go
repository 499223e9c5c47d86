package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/storetest"
)

// The hot commits, with 1 and 8 in flight, and beside them the floor: a bare
// durable commit of one row through the same driver.
func BenchmarkRegister(b *testing.B) {
	onEach(b, func(b *testing.B, s *store.Store, _ *sql.DB, flight int) {
		records := make([]registration.Record, b.N)
		for n := range records {
			records[n] = storetest.NewRecord(fmt.Sprintf("a%d@example.org", n))
		}
		inFlight(b, flight, func(ctx context.Context, n int) error { return s.Register(ctx, records[n]) })
	})
}

func BenchmarkIssueSession(b *testing.B) {
	onEach(b, func(b *testing.B, s *store.Store, _ *sql.DB, flight int) {
		records := make([]registration.Record, b.N)
		for n := range records {
			records[n] = storetest.NewRecord(fmt.Sprintf("a%d@example.org", n))
			if err := s.Register(b.Context(), records[n]); err != nil {
				b.Fatal(err)
			}
		}
		inFlight(b, flight, func(ctx context.Context, n int) error {
			_, err := s.IssueSession(ctx, storetest.NewIssue(records[n]))
			return err
		})
	})
}

// A login of one of a thousand people, as often as each comes back.
func BenchmarkLogin(b *testing.B) {
	onEach(b, func(b *testing.B, s *store.Store, _ *sql.DB, flight int) {
		records := people(b, s)
		inFlight(b, flight, func(ctx context.Context, n int) error {
			_, err := s.IssueSession(ctx, storetest.NewLogin(records[n%len(records)]))
			return err
		})
	})
}

func BenchmarkIdentityByIdentifier(b *testing.B) {
	onEach(b, func(b *testing.B, s *store.Store, _ *sql.DB, flight int) {
		records := people(b, s)
		inFlight(b, flight, func(ctx context.Context, n int) error {
			_, err := s.IdentityByIdentifier(ctx, records[n%len(records)].Identity.Addresses[0].Value)
			return err
		})
	})
}

// people registers a thousand.
func people(b *testing.B, s *store.Store) []registration.Record {
	b.Helper()
	records := make([]registration.Record, 1000)
	for n := range records {
		records[n] = storetest.NewRecord(fmt.Sprintf("a%d@example.org", n))
		if err := s.Register(b.Context(), records[n]); err != nil {
			b.Fatal(err)
		}
	}
	return records
}

func BenchmarkCreateFlow(b *testing.B) {
	onEach(b, func(b *testing.B, s *store.Store, _ *sql.DB, flight int) {
		inFlight(b, flight, func(context.Context, int) error { createFlow(b, s); return nil })
	})
}

func BenchmarkFloor(b *testing.B) {
	onEach(b, func(b *testing.B, _ *store.Store, db *sql.DB, flight int) {
		insert, err := db.PrepareContext(b.Context(), `INSERT INTO floor VALUES ($1, $2)`) //nolint:sqlclosecheck // it is, below
		if err != nil {
			b.Fatal(err)
		}
		defer insert.Close()
		inFlight(b, flight, func(ctx context.Context, n int) error {
			_, err := insert.ExecContext(ctx, n, "one row of forty characters, for the floor")
			return err
		})
	})
}

// onEach runs a benchmark on both databases; db has a table floor and syncs as the store does.
func onEach(b *testing.B, run func(b *testing.B, s *store.Store, db *sql.DB, flight int)) {
	for _, name := range []string{"sqlite", "postgres"} {
		for _, flight := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s-%d", name, flight), func(b *testing.B) {
				o := store.Options{DataDir: b.TempDir()}
				source := filepath.Join(o.DataDir, "floor.db") + "?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
				if name == "postgres" {
					o.DSN = storetest.PostgreSQL(b)
					source = o.DSN
				}
				s := open(b, o)
				db, err := sql.Open(name, source)
				if err != nil {
					b.Fatal(err)
				}
				defer db.Close()
				if name == "sqlite" {
					db.SetMaxOpenConns(1)
				}
				db.SetMaxIdleConns(flight)
				if _, err := db.ExecContext(b.Context(), `CREATE TABLE floor (n bigint PRIMARY KEY, text text)`); err != nil {
					b.Fatal(err)
				}
				run(b, s, db, flight)
			})
		}
	}
}

// inFlight makes b.N calls, so many at once.
func inFlight(b *testing.B, flight int, call func(ctx context.Context, n int) error) {
	b.Helper()
	var next atomic.Int64
	done := make(chan error, flight)
	ctx := b.Context()
	b.ResetTimer()
	for range flight {
		go func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= b.N {
					done <- nil
					return
				}
				if err := call(ctx, n); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	for range flight {
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
	b.StopTimer()
}
