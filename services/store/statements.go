package store

import (
	"context"
	"database/sql"
	"sync"

	"github.com/jmoiron/sqlx"
)

// runner is a statement that can be run, prepared or not.
type runner interface {
	GetContext(ctx context.Context, row any, args ...any) error
	SelectContext(ctx context.Context, rows any, args ...any) error
	ExecContext(ctx context.Context, args ...any) (sql.Result, error)
}

// plain is a statement that is not prepared.
type plain struct {
	on    sqlx.ExtContext
	query string
}

func (p plain) GetContext(ctx context.Context, row any, args ...any) error {
	return sqlx.GetContext(ctx, p.on, row, p.query, args...)
}

func (p plain) SelectContext(ctx context.Context, rows any, args ...any) error {
	return sqlx.SelectContext(ctx, p.on, rows, p.query, args...)
}

func (p plain) ExecContext(ctx context.Context, args ...any) (sql.Result, error) {
	return p.on.ExecContext(ctx, p.query, args...)
}

// statements are the prepared statements of a pool, by their text. They are
// closed with the pool.
type statements struct {
	mu     sync.RWMutex
	byText map[string]runner // *sqlx.Stmt
}

// What is kept prepared: inserts of hundreds of rows are too rare to be worth it.
const (
	maxPrepared     = 128
	maxPreparedText = 4096
)

// known gives nil for what is not prepared.
func (s *statements) known(query string) runner {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byText[query]
}

// prepare prepares a query, unless it is long or there are too many.
func (s *statements) prepare(ctx context.Context, db *sqlx.DB, query string) (runner, error) {
	s.mu.RLock()
	known, full := s.byText[query], len(s.byText) >= maxPrepared
	s.mu.RUnlock()
	if known != nil {
		return known, nil
	}
	if full || len(query) > maxPreparedText {
		return plain{db, db.Rebind(query)}, nil
	}
	made, err := db.PreparexContext(ctx, db.Rebind(query))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.byText[query]; known != nil { // another was faster
		defer made.Close()
		return known, nil
	}
	s.byText[query] = made
	return made, nil
}
