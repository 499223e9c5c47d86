package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// Lookout looks whether the database answers, on a connection of its own: it waits for
// none of the pools, all of which may be in use for long.
type Lookout struct {
	store *Store
	db    *sql.DB // nil where the database is a file
}

// NewLookout makes one, which connects at its first look. Whoever made it closes it
// before the store.
func (s *Store) NewLookout() *Lookout {
	l := &Lookout{store: s}
	if b, ok := s.backend.(*postgres); ok {
		session := map[string]string{"statement_timeout": fmt.Sprint(DefaultStatement.Milliseconds())}
		l.db = sql.OpenDB(&connector{servers: b.servers, settings: session, silence: DefaultStatement})
		l.db.SetMaxOpenConns(1)
		l.db.SetConnMaxLifetime(defaultLifetime)
	}
	return l
}

// Look tells whether the database answers. What it has begun does not end with ctx, but
// within the time that a connection and a statement may take. A server that has no room
// for one more connection is looked at as [Store.Ping] does.
func (l *Lookout) Look(ctx context.Context) error {
	if l.db == nil {
		return l.store.Ping(ctx)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var one int
	err := l.db.QueryRowContext(context.WithoutCancel(ctx), `SELECT 1`).Scan(&one)
	if pq.As(err, pqerror.TooManyConnections) != nil {
		return l.store.Ping(ctx)
	}
	if err != nil {
		return fmt.Errorf("look: %w", l.store.durable.explain(err))
	}
	return nil
}

// Close ends the connection.
func (l *Lookout) Close() error {
	if l.db == nil {
		return nil
	}
	return l.db.Close()
}
