package store

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"
	"github.com/pressly/goose/v3"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/registration"
)

// Options say which database to open and how.
type Options struct {
	// DSN is empty for SQLite in DataDir, "memory" for a temporary one,
	// sqlite://PATH, or postgres://…
	DSN     string
	DataDir string
	// CipherSecrets seal the keys: the first seals, all of them open.
	CipherSecrets []string
	// Part is what this process is to a PostgreSQL, which lists it as usher-<part>;
	// empty is usher.
	Part string
	// MaxFlows is how many flows are kept, by about one in a hundred: then the oldest
	// go. Before the last so many, as many more are kept of those that wait for a code
	// in a mail. 0 means [DefaultMaxFlows].
	MaxFlows int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log is told what nobody is there to be told by an error; nil means nobody.
	Log *slog.Logger
	// Appended is called after each commit that has put events into the outbox, once
	// however many they are; it must not wait for anything. Nil means nobody is told.
	Appended func()
	// OpenDB makes the pools of connections, so that statements can be observed; nil
	// is [sql.OpenDB].
	OpenDB func(driver.Connector) *sql.DB
}

// Store is an open database. It is safe for concurrent use.
type Store struct {
	backend backend
	// A commit of durable is on the disk when it returns. One of relaxed gets
	// there with the next durable one, or soon; until then a power cut undoes it.
	durable, relaxed *pool
	reads            *pool

	// Registrations, and sessions, that wait at the same time share a commit.
	registrations *collector[registration.Record]
	issues        *collector[*issueJob]
	logins        *collector[*issueJob]

	keys  atomic.Pointer[keyring]
	seal  atomic.Pointer[sealer]
	now   func() time.Time
	flows flowCap
	// fresh are flows that this process made and nobody has submitted here.
	fresh *otter.Cache[uuid.UUID, flow.Flow]
	log   *slog.Logger
	// logHead spares the relay a question, see moveDirect.
	logHead logHead
}

// backend is what differs between the databases.
type backend interface {
	// down tells whether err means that the database cannot be used now.
	down(err error) bool
	// noticed is told of each error that down is true for.
	noticed(err error)
	// violated gives the unique column that err is about as "table.column", or "".
	violated(err error) string
	// missing tells whether err means that a table does not exist.
	missing(err error) bool
	// exclusively runs work while no other process runs its own, on connections
	// whose statements may take any time.
	exclusively(ctx context.Context, work func(*sql.DB) error) error
	// goose is the name of the migrations' dialect and of their folder.
	goose() (goose.Dialect, string)
	// withFlows runs work on the pool of the flows.
	withFlows(ctx context.Context, work func(*pool) error) error
	// lead is [Store.Lead].
	lead(ctx context.Context) (release func(), lost <-chan struct{}, err error)
	embedded() bool
	close() error
}

// CheckDSN says what [Open] would refuse in a DSN before it looks for the database. The
// error shows nothing of the DSN but names.
func CheckDSN(dsn string) error {
	switch scheme, _, isURL := strings.Cut(dsn, "://"); {
	case dsn == "" || dsn == "memory":
		return nil
	case isURL && scheme == "sqlite":
		_, err := sqliteFile(dsn)
		return err
	case isURL && (scheme == "postgres" || scheme == "postgresql"):
		_, _, err := readDSN(dsn)
		return err
	case slices.Contains([]string{"mysql", "cockroach", "cockroachdb"}, scheme):
		return fmt.Errorf("%s is not supported: want postgres://… or sqlite://PATH", scheme)
	}
	return errors.New("want postgres://…, sqlite://PATH or memory") // it may hold a password
}

// Open opens a database, and its keys where it is migrated. It does not
// migrate; only the data folder of SQLite is made where it is missing.
func Open(ctx context.Context, o Options) (*Store, error) {
	seal, err := newSealer(o.CipherSecrets)
	if err != nil {
		return nil, err
	}
	if o.OpenDB == nil {
		o.OpenDB = sql.OpenDB
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{now: o.Now, log: o.Log, flows: flowCap{max: int64(cmp.Or(o.MaxFlows, DefaultMaxFlows))}}
	s.seal.Store(seal)
	if s.now == nil {
		s.now = time.Now
	}
	if s.fresh, err = otter.New(&otter.Options[uuid.UUID, flow.Flow]{MaximumSize: maxFresh}); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := CheckDSN(o.DSN); err != nil {
		return nil, fmt.Errorf("open store: dsn: %w", err)
	}
	if strings.HasPrefix(o.DSN, "postgres") {
		err = s.openPostgres(o)
	} else {
		err = s.openSQLite(ctx, o)
	}
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	for _, p := range []*pool{s.durable, s.relaxed} {
		p.appended = o.Appended
	}
	s.registrations = newCollector(s.registerTogether, s.registerAlone)
	s.issues = newCollector(s.issueTogether, s.issueAlone)
	s.logins = newCollector(s.issueTogether, s.issueAlone)
	s.issues.refuse, s.logins.refuse = s.refuseLate, s.refuseLate
	if err := s.loadKeys(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.Close())
	}
	return s, nil
}

// Ping tells whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	if err := s.reads.get(ctx, &one, `SELECT 1`); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	return nil
}

// Embedded tells whether the database is inside this process, so that no other
// may use it.
func (s *Store) Embedded() bool { return s.backend.embedded() }

// Pool is the state of the connections for one purpose.
type Pool struct {
	Name            string // "durable", "relaxed"; "writer", "reads" on SQLite
	Used, Idle, Max int
	// Waited is how long callers have waited for one to be free, in all.
	Waited time.Duration
}

// Pools are the connections of this process. It asks nothing of the database.
func (s *Store) Pools() []Pool {
	if s.Embedded() {
		return []Pool{s.durable.state("writer"), s.reads.state("reads")}
	}
	return []Pool{s.durable.state("durable"), s.relaxed.state("relaxed")}
}

// Close closes all connections.
func (s *Store) Close() error { return s.backend.close() }

// Lead waits until this process is the only one that leads. What it leads is
// over when lost is closed; release gives the lead to another. On SQLite there
// is no other.
func (s *Store) Lead(ctx context.Context) (release func(), lost <-chan struct{}, err error) {
	release, lost, err = s.backend.lead(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("lead: %w", s.durable.explain(err))
	}
	return release, lost, nil
}
