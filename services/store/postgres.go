package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
	"github.com/pressly/goose/v3"
)

// Advisory locks of PostgreSQL, one number for each purpose.
const (
	lockMigration = 7_307_001
	lockLead      = 7_307_002
)

// How a lead is sought, and held.
const (
	leadPoll  = time.Second
	leadCheck = 2 * time.Second
)

// postgres is the backend for servers. Flows and what else does not wait for
// the disk have connections of their own, with synchronous_commit off from
// their start, so that such a commit is one round trip.
type postgres struct {
	config           pq.Config
	durable, relaxed *pool
	openDB           func(driver.Connector) *sql.DB // that of [Options]
}

func (s *Store) openPostgres(o Options) error {
	config, limits, err := parseDSN(o.DSN)
	if err != nil {
		return err
	}
	b := &postgres{config: config, openDB: o.OpenDB}
	relaxed := max(1, limits.conns/4)
	b.durable, err = b.open(limits, limits.conns-relaxed, nil)
	if err != nil {
		return err
	}
	b.relaxed, err = b.open(limits, relaxed, map[string]string{"synchronous_commit": "off"})
	if err != nil {
		return errors.Join(err, b.durable.close())
	}
	s.backend, s.durable, s.relaxed, s.reads = b, b.durable, b.relaxed, b.durable
	return nil
}

func (b *postgres) open(l limits, conns int, settings map[string]string) (*pool, error) {
	db, err := b.connect(l.statement, settings)
	if err != nil {
		return nil, err
	}
	p := newPool(sqlx.NewDb(db, "postgres"), b, conns)
	if l.idle > 0 {
		p.db.SetMaxIdleConns(min(l.idle, conns))
	}
	p.db.SetConnMaxLifetime(l.lifetime)
	p.db.SetConnMaxIdleTime(l.idleTime)
	return p, nil
}

// connect makes a pool whose statements may take so long, on the server and,
// when that is silent, here; zero means any time.
func (b *postgres) connect(statement time.Duration, settings map[string]string) (*sql.DB, error) {
	config := b.config.Clone()
	for name, value := range settings {
		config.Runtime[name] = value
	}
	config.Runtime["statement_timeout"] = fmt.Sprint(statement.Milliseconds())
	connector, err := pq.NewConnectorConfig(config)
	if err != nil {
		return nil, err
	}
	connector.Dialer(dialer{silence: statement})
	return b.openDB(connector), nil
}

func (*postgres) embedded() bool { return false }

func (*postgres) goose() (goose.Dialect, string) { return goose.DialectPostgres, "postgres" }

func (b *postgres) withFlows(_ context.Context, work func(*pool) error) error { return work(b.relaxed) }

func (b *postgres) close() error { return errors.Join(b.relaxed.close(), b.durable.close()) }

func (b *postgres) exclusively(ctx context.Context, work func(*sql.DB) error) error {
	db, err := b.connect(0, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() // and with it the lock goes
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, lockMigration); err != nil {
		return err
	}
	return work(db)
}

// lead holds an advisory lock on a connection of its own for as long as it leads.
func (b *postgres) lead(ctx context.Context) (release func(), lost <-chan struct{}, err error) {
	for {
		release, lost, err := b.tryLead(ctx)
		if err != nil || release != nil {
			return release, lost, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(leadPoll):
		}
	}
}

// tryLead gives no release when another leads.
func (b *postgres) tryLead(ctx context.Context) (release func(), lost <-chan struct{}, err error) {
	ctx, free, err := b.durable.acquire(ctx)
	if err != nil {
		return nil, nil, err
	}
	conn, err := b.durable.db.Connx(ctx)
	if err != nil {
		free()
		return nil, nil, err
	}
	var leads bool
	if err := conn.GetContext(ctx, &leads, `SELECT pg_try_advisory_lock($1)`, lockLead); err != nil || !leads {
		conn.Close()
		free()
		return nil, nil, err
	}
	stop, done, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer free()
		defer conn.Close()
		holdLead(ctx, conn, stop, over)
	}()
	return func() {
		close(stop)
		<-done
	}, over, nil
}

// holdLead keeps the connection under watch until stop, and closes over when it is lost.
func holdLead(ctx context.Context, conn *sqlx.Conn, stop <-chan struct{}, over chan<- struct{}) {
	tick := time.NewTicker(leadCheck)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_unlock($1)`, lockLead); err != nil {
				discard(conn) // the lock goes with it
			}
			return
		case <-tick.C:
			if _, err := conn.ExecContext(ctx, `SELECT 1`); err != nil {
				discard(conn)
				close(over)
				<-stop
				return
			}
		}
	}
}

// violated reads the column from the constraint's name, <table>_<column>_key.
func (*postgres) violated(err error) string {
	e := pq.As(err, pqerror.UniqueViolation)
	if e == nil {
		return ""
	}
	column := strings.TrimPrefix(strings.TrimSuffix(e.Constraint, "_key"), e.Table+"_")
	return e.Table + "." + column
}

func (*postgres) missing(err error) bool { return pq.As(err, pqerror.UndefinedTable) != nil }

// down is true for all that is not about the statement: the server is gone,
// going, full, read-only, silent, or waited for something too long.
func (*postgres) down(err error) bool {
	if e := pq.As(err); e != nil {
		switch e.Code.Class() {
		case "08", "53", "57", "58":
			return true
		}
		return e.Code == pqerror.ReadOnlySQLTransaction || e.Code == pqerror.IdleInTransactionSessionTimeout
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}
