package store

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"strings"
	"sync"
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

// How a migration waits for others, and for a table that it changes.
const (
	migrationPoll  = 250 * time.Millisecond
	migrationLock  = 2 * time.Second
	migrationPause = time.Second
	migrationTries = 60
)

// postgres is the backend for servers. Flows and what else does not wait for
// the disk have connections of their own, with synchronous_commit off from
// their start, so that such a commit is one round trip.
type postgres struct {
	servers          *servers
	durable, relaxed *pool
	log              *slog.Logger
	openDB           func(driver.Connector) *sql.DB // that of [Options]
	stopWatch        func()
}

func (s *Store) openPostgres(o Options) error {
	config, limits, err := parseDSN(o.DSN)
	if err != nil {
		return err
	}
	config.ApplicationName = cmp.Or(config.ApplicationName, strings.TrimSuffix("usher-"+o.Part, "-"))
	b := &postgres{log: o.Log, openDB: o.OpenDB}
	b.servers = newServers(config, b.drop)
	durable, relaxed := limits.shares()
	b.durable = b.open(durable, nil)
	b.relaxed = b.open(relaxed, map[string]string{"synchronous_commit": "off"})
	b.watch(len(config.Multi) > 0)
	s.backend, s.durable, s.relaxed, s.reads = b, b.durable, b.relaxed, b.durable
	return nil
}

// watch has the other hosts looked at, if there are any, until stopWatch.
func (b *postgres) watch(others bool) {
	stop := make(chan struct{})
	var watching sync.WaitGroup
	if others {
		watching.Go(func() { b.servers.watch(stop) })
	}
	b.stopWatch = sync.OnceFunc(func() {
		close(stop)
		watching.Wait()
	})
}

func (b *postgres) open(l limits, settings map[string]string) *pool {
	p := newPool(sqlx.NewDb(b.connect(l.statement, settings), "postgres"), b, l.conns)
	if l.idle > 0 {
		p.idle = min(l.idle, l.conns)
	}
	p.db.SetMaxIdleConns(p.idle)
	p.db.SetConnMaxLifetime(l.lifetime)
	p.db.SetConnMaxIdleTime(l.idleTime)
	return p
}

// connect makes a pool whose statements may take so long, on the server and,
// when that is silent, here; zero means any time.
func (b *postgres) connect(statement time.Duration, settings map[string]string) *sql.DB {
	session := map[string]string{"statement_timeout": fmt.Sprint(statement.Milliseconds())}
	maps.Copy(session, settings)
	return b.openDB(&connector{servers: b.servers, settings: session, silence: statement})
}

// drop closes the connections that are idle. Those in use end by themselves: a
// statement has its time, here and there.
func (b *postgres) drop() {
	for _, p := range []*pool{b.durable, b.relaxed} {
		p.db.SetMaxIdleConns(0)
		p.db.SetMaxIdleConns(p.idle)
	}
}

// SignIn has new connections to PostgreSQL made with the user and the password of a
// DSN. Those that there are fail no statement, and are not used again. Hosts and
// parameters stay those that the store was opened with.
func (s *Store) SignIn(dsn string) error {
	b, ok := s.backend.(*postgres)
	if !ok {
		return nil
	}
	config, _, err := parseDSN(dsn)
	if err != nil {
		return err
	}
	b.servers.signIn(login{config.User, config.Password})
	return nil
}

func (*postgres) embedded() bool { return false }

func (*postgres) goose() (goose.Dialect, string) { return goose.DialectPostgres, "postgres" }

func (b *postgres) withFlows(_ context.Context, work func(*pool) error) error { return work(b.relaxed) }

func (b *postgres) close() error {
	b.stopWatch()
	return errors.Join(b.relaxed.close(), b.durable.close())
}

func (b *postgres) exclusively(ctx context.Context, work func(*sql.DB) error) error {
	// A change of a table waits for whoever uses it, and everybody for the change:
	// not longer than this, then it is tried again.
	db := b.connect(0, map[string]string{"lock_timeout": fmt.Sprint(migrationLock.Milliseconds())})
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() // and with it the lock goes
	if err := b.lockMigration(ctx, conn); err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := work(db)
		if pq.As(err, pqerror.LockNotAvailable) == nil || try == migrationTries {
			return err
		}
		b.log.Warn("a table that is to be changed is in use; trying again", "try", try, "error", err)
		if err := pause(ctx, migrationPause); err != nil {
			return err
		}
	}
}

// lockMigration waits until no other process migrates.
func (b *postgres) lockMigration(ctx context.Context, conn *sql.Conn) error {
	for said := false; ; said = true {
		var mine bool
		err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1)`, lockMigration).Scan(&mine)
		if err != nil || mine {
			return err
		}
		if !said {
			b.log.Info("another process migrates this database; waiting for it")
		}
		if err := pause(ctx, migrationPoll); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// lead holds an advisory lock on a connection of its own for as long as it leads.
func (b *postgres) lead(ctx context.Context) (release func(), lost <-chan struct{}, err error) {
	for {
		release, lost, err := b.tryLead(ctx)
		if err != nil || release != nil {
			return release, lost, err
		}
		if err := pause(ctx, leadPoll); err != nil {
			return nil, nil, err
		}
	}
}

// tryLead gives no release when another leads.
func (b *postgres) tryLead(ctx context.Context) (release func(), lost <-chan struct{}, err error) {
	ctx, free, err := b.durable.acquire(ctx)
	if err != nil {
		return nil, nil, err
	}
	doubt := b.servers.doubt()
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
		holdLead(ctx, conn, doubt, stop, over)
	}()
	return func() {
		close(stop)
		<-done
	}, over, nil
}

// holdLead keeps the connection under watch until stop, and closes over when it
// is lost, or doubted: another server may have the lead now.
func holdLead(ctx context.Context, conn *sqlx.Conn, doubt, stop <-chan struct{}, over chan<- struct{}) {
	lost := func() {
		discard(conn)
		close(over)
		<-stop
	}
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
				lost()
				return
			}
		case <-doubt:
			lost()
			return
		}
	}
}

// noticed gives up the connections to a server that takes no writes any more.
func (b *postgres) noticed(err error) {
	if pq.As(err, pqerror.ReadOnlySQLTransaction, pqerror.AdminShutdown) != nil {
		b.servers.readOnly()
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
		return e.Code == pqerror.ReadOnlySQLTransaction || e.Code == pqerror.IdleInTransactionSessionTimeout || e.Code == pqerror.LockNotAvailable
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}
