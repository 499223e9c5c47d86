package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
)

// patience is how long a caller waits for a connection when all are in use.
const patience = 3 * time.Second

// pool is a pool of connections to one database. Statements are prepared once
// per connection: on PostgreSQL that is one round trip for each (without, it is
// two) and saves the server parsing and planning; on SQLite it saves the latter.
type pool struct {
	db      *sqlx.DB
	backend backend
	// slots has a place for each connection, so that waiting for one ends with
	// the caller's context and using it does not.
	slots chan struct{}
	// waited is how long callers have waited for one, in all.
	waited *atomic.Int64
	idle   int // connections that are kept
	// before and after are run around each transaction, see [pool.around].
	before, after string
	prepared      *statements
	// appended, unless nil, is called after each commit that has an event.
	appended func()
}

func newPool(db *sqlx.DB, b backend, size int) *pool {
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return &pool{
		db: db, backend: b, slots: make(chan struct{}, size), waited: new(atomic.Int64), idle: size,
		prepared: &statements{byText: map[string]runner{}},
	}
}

// around gives the same connections with statements to be run before and after
// each transaction.
func (p *pool) around(before, after string) *pool {
	q := *p
	q.before, q.after = before, after
	return &q
}

// acquire waits for a connection to be free. The context that it gives does not
// end: what is begun with it is limited by the database and the connection.
func (p *pool) acquire(ctx context.Context) (context.Context, func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	release := func() { <-p.slots }
	select {
	case p.slots <- struct{}{}:
		return context.WithoutCancel(ctx), release, nil
	default:
	}
	began := time.Now()
	defer func() { p.waited.Add(int64(time.Since(began))) }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case p.slots <- struct{}{}:
		return context.WithoutCancel(ctx), release, nil
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	case <-timer.C:
		return nil, nil, &unavailable{fmt.Errorf("no connection was free for %v", patience)}
	}
}

// get reads one row, or gives [sql.ErrNoRows].
func (p *pool) get(ctx context.Context, row any, query string, args ...any) error {
	return p.run(ctx, query, func(ctx context.Context, r runner) error { return r.GetContext(ctx, row, args...) })
}

// list reads all rows into a slice.
func (p *pool) list(ctx context.Context, rows any, query string, args ...any) error {
	return p.run(ctx, query, func(ctx context.Context, r runner) error { return r.SelectContext(ctx, rows, args...) })
}

// exec runs one statement, a transaction of its own.
func (p *pool) exec(ctx context.Context, query string, args ...any) (changed int64, err error) {
	if p.before != "" {
		err = p.commit(ctx, func(tx *tx) (err error) {
			changed, err = tx.exec(query, args...)
			return err
		})
		return changed, err
	}
	err = p.run(ctx, query, func(ctx context.Context, r runner) error {
		result, err := r.ExecContext(ctx, args...)
		if err == nil {
			changed, err = result.RowsAffected()
		}
		return err
	})
	return changed, err
}

func (p *pool) run(ctx context.Context, query string, work func(context.Context, runner) error) error {
	ctx, release, err := p.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	r, err := p.prepared.prepare(ctx, p.db, query)
	if err == nil {
		err = work(ctx, r)
	}
	return p.explain(err)
}

// commit does work in one transaction. An error of work rolls it back and is
// given as it is.
func (p *pool) commit(ctx context.Context, work func(*tx) error) error {
	ctx, release, err := p.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	t := &tx{ctx: ctx, pool: p}
	defer t.prepareMissed() // when the connection is free again
	conn, err := p.db.Connx(ctx)
	if err != nil {
		return p.explain(err)
	}
	defer conn.Close()
	if p.before != "" {
		if _, err := conn.ExecContext(ctx, p.before); err != nil {
			return p.explain(err)
		}
		defer func() {
			if _, err := conn.ExecContext(ctx, p.after); err != nil {
				discard(conn) // the next one must not find it as it was left
			}
		}()
	}
	if t.tx, err = conn.BeginTxx(ctx, nil); err != nil {
		return p.explain(err)
	}
	defer func() { _ = t.tx.Rollback() }() // does nothing after a commit
	if err := work(t); err != nil {
		return err
	}
	if err := t.tx.Commit(); err != nil {
		return p.explain(err)
	}
	if t.appends {
		p.tell()
	}
	return nil
}

// tell tells that there are events to be published.
func (p *pool) tell() {
	if p.appended != nil {
		p.appended()
	}
}

// insert runs inserts in their order, all or none. On PostgreSQL that is one
// statement and one round trip, whatever the number of tables.
func (p *pool) insert(ctx context.Context, inserts ...insert) error {
	if !p.backend.embedded() {
		parts := inserting(inserts)
		_, err := p.exec(ctx, "WITH "+parts.query+" SELECT 1", parts.args...)
		if err == nil && slices.ContainsFunc(inserts, insert.appends) {
			p.tell()
		}
		return err
	}
	return p.commit(ctx, func(tx *tx) error { return tx.insert(inserts...) })
}

// explain makes err one that callers can tell apart: [unavailable], [taken],
// or what it was.
func (p *pool) explain(err error) error { return explain(p.backend, err) }

func explain(b backend, err error) error {
	var known *unavailable
	switch {
	case err == nil, errors.Is(err, sql.ErrNoRows), errors.As(err, &known):
		return err
	case b.down(err):
		b.noticed(err)
		return &unavailable{err}
	}
	if column := b.violated(err); column != "" {
		return &taken{column, err}
	}
	return err
}

func (p *pool) state(name string) Pool {
	s := p.db.Stats()
	return Pool{Name: name, Used: s.InUse, Idle: s.Idle, Max: cap(p.slots), Waited: time.Duration(p.waited.Load())}
}

func (p *pool) close() error { return p.db.Close() }

// discard takes a connection out of its pool.
func discard(conn *sqlx.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}

// tx is a transaction.
type tx struct {
	ctx    context.Context
	pool   *pool
	tx     *sqlx.Tx
	missed []string
	// appends tells whether events were put into the outbox.
	appends bool
}

func (t *tx) get(row any, query string, args ...any) error {
	return t.pool.explain(t.runner(query).GetContext(t.ctx, row, args...))
}

func (t *tx) list(rows any, query string, args ...any) error {
	return t.pool.explain(t.runner(query).SelectContext(t.ctx, rows, args...))
}

func (t *tx) exec(query string, args ...any) (changed int64, err error) {
	result, err := t.runner(query).ExecContext(t.ctx, args...)
	if err != nil {
		return 0, t.pool.explain(err)
	}
	return result.RowsAffected()
}

// insert runs inserts in their order.
func (t *tx) insert(inserts ...insert) error {
	for _, in := range inserts {
		t.appends = t.appends || in.appends()
		for _, s := range in.statements() {
			if _, err := t.exec(s.query, s.args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// runner gives the prepared statement of a query, the first time a plain one:
// the only connection that may prepare it now is in the transaction.
func (t *tx) runner(query string) runner {
	if s := t.pool.prepared.known(query); s != nil {
		return t.tx.StmtxContext(t.ctx, s)
	}
	t.missed = append(t.missed, query)
	return plain{t.tx, t.tx.Rebind(query)}
}

// prepareMissed prepares what the next transaction will want again.
func (t *tx) prepareMissed() {
	for _, query := range t.missed {
		if _, err := t.pool.prepared.prepare(t.ctx, t.pool.db, query); err != nil {
			return // the next transaction tries again
		}
	}
}

// inserting gives inserts as the parts of one statement: "i0 AS (INSERT …), i1 AS …".
// PostgreSQL does all of them, or none, in an order of its own.
func inserting(inserts []insert) (parts statement) {
	var named []string
	for _, in := range inserts {
		for _, s := range in.statements() {
			named = append(named, fmt.Sprintf("i%d AS (%s)", len(named), s.query))
			parts.args = append(parts.args, s.args...)
		}
	}
	parts.query = strings.Join(named, ", ")
	return parts
}
