package store_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/storetest"
)

// A process whose connections are all in use took the database for away.
func TestPostgreSQLALookWaitsForNoPool(t *testing.T) {
	t.Parallel()
	dsn := storetest.PostgreSQL(t)
	s := open(t, store.Options{DSN: with(t, with(t, dsn, "max_conns", "4"), "lock_timeout", "60000") + "&statement_timeout=60000"})
	l := lookout(t, s)
	add := func(n byte) {
		if err := s.AddAdminToken(t.Context(), string('a'+rune(n)), "admin", [32]byte{n}); err != nil {
			t.Errorf("AddAdminToken: %v", err)
		}
	}
	add(0) // those that are held do not wait for each other to prepare it
	tx, err := raw(t, dsn).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), `LOCK TABLE admin_tokens`); err != nil {
		t.Fatal(err)
	}
	var held sync.WaitGroup
	full := s.Pools()[0].Max
	for n := range full {
		held.Go(func() { add(byte(1 + n)) })
	}
	for s.Pools()[0].Used < full {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ping while all connections are in use: %v, want that it waits", err)
	}
	if err := l.Look(t.Context()); err != nil {
		t.Errorf("Look while all connections are in use: %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	held.Wait()
}

// One that has no room for a look serves the connections that there are all the same.
func TestPostgreSQLALookAtAServerWithoutRoom(t *testing.T) {
	t.Parallel()
	dsn := scramServer(t, "one")
	s := open(t, store.Options{DSN: with(t, dsn, "max_conns", "4")})
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	admin := raw(t, strings.Replace(dsn, "usher:one", "postgres", 1))
	exec(t, admin, `ALTER ROLE usher CONNECTION LIMIT 1`)
	l := lookout(t, s)
	if err := l.Look(t.Context()); err != nil {
		t.Errorf("Look at a server without room: %v", err)
	}
	exec(t, admin, `ALTER ROLE usher NOLOGIN`)
	if err := l.Look(t.Context()); err == nil {
		t.Error("Look at a server that lets nobody in: it answers")
	}
}

func TestALookAtAFile(t *testing.T) {
	t.Parallel()
	l := lookout(t, open(t, store.Options{DataDir: t.TempDir()}))
	if err := l.Look(t.Context()); err != nil {
		t.Errorf("Look: %v", err)
	}
}

func lookout(t *testing.T, s *store.Store) *store.Lookout {
	t.Helper()
	l := s.NewLookout()
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}
