package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/usher-auth/usher/services/delivery"
)

// inspectStatement is how long a statement of an inspection may take.
const inspectStatement = 3 * time.Second

// Inspection is a database that is only looked at: of this version or not, in
// use or not. PostgreSQL is told that its transactions are read-only, SQLite that
// its file is. It is safe for concurrent use. Errors show nothing of the DSN.
type Inspection struct {
	db      inspected
	dialect dialect
	// Path is the file of SQLite; empty for PostgreSQL.
	Path string
	// Postgres is nil for SQLite.
	Postgres *InspectedDSN

	config pq.Config // of PostgreSQL
	budget *budget
}

// InspectedDSN is what the DSN of PostgreSQL says.
type InspectedDSN struct {
	// Conns is how many connections a process opens at most.
	Conns int
	// Loopback tells whether nobody can listen between here and the server.
	Loopback bool
	// Hosts is how many servers it names.
	Hosts int
	// StatementTimeout is how long a statement may take, 0 means any time.
	StatementTimeout time.Duration
}

// ErrNoDatabase says that the file of SQLite is not there, or that no other
// process can look at it.
var ErrNoDatabase = errors.New("no database")

// Inspect opens a database to look at it; of the options it reads DSN and
// DataDir. It does not wait for PostgreSQL, see [Inspection.Ping].
func Inspect(o Options) (*Inspection, error) {
	if scheme, _, _ := strings.Cut(o.DSN, "://"); scheme == "postgres" || scheme == "postgresql" {
		return inspectPostgres(o.DSN)
	}
	return inspectSQLite(o)
}

func inspectPostgres(dsn string) (*Inspection, error) {
	config, limits, err := parseDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	switch { // a session that only reads is not read-write
	case config.TargetSessionAttrs != pq.TargetSessionAttrsReadWrite:
	case len(config.Multi) > 0:
		config.TargetSessionAttrs = pq.TargetSessionAttrsPrimary
	default:
		config.TargetSessionAttrs = pq.TargetSessionAttrsAny // it says itself that it is a standby
	}
	config.ApplicationName = doctorName
	i := &Inspection{dialect: (*postgres)(nil), config: config, budget: newBudget(), Postgres: &InspectedDSN{
		Conns: limits.conns, Loopback: onlyLoopback(config), Hosts: 1 + len(config.Multi), StatementTimeout: limits.statement,
	}}
	i.db = inspected{sqlx.NewDb(sql.OpenDB(i.connector(config, map[string]string{"default_transaction_read_only": "on"})), "postgres")}
	i.db.SetMaxOpenConns(2)
	return i, nil
}

// doctorName is what an inspection is called in pg_stat_activity.
const doctorName = "usher-doctor"

// connector makes connections with these settings besides a short time for each statement.
func (i *Inspection) connector(config pq.Config, settings map[string]string) driver.Connector {
	all := map[string]string{"statement_timeout": fmt.Sprint(inspectStatement.Milliseconds())}
	maps.Copy(all, settings)
	return inspector{&connector{servers: newServers(config, func() {}), silence: inspectStatement, limit: i.budget.bound, settings: all}}
}

// SecretFiles are the files with secrets that a DSN names: that of SQLite, a key for
// TLS, and one with passwords.
func SecretFiles(dsn string) (paths []string) {
	if path, ok := strings.CutPrefix(dsn, "sqlite://"); ok {
		return []string{path}
	}
	if !strings.HasPrefix(dsn, "postgres") {
		return nil
	}
	config, _, err := parseDSN(dsn)
	if err != nil {
		return nil // said by who reads it
	}
	for _, path := range []string{config.SSLKey, config.Passfile} {
		if path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

// inspectSQLite opens the file read-only. A file that no process has open lacks
// what readers share with the writer, and is read as one that does not change.
func inspectSQLite(o Options) (*Inspection, error) {
	if o.DSN == "memory" {
		return nil, fmt.Errorf("%w: it is in the memory of a server, which no other process can read", ErrNoDatabase)
	}
	path := strings.TrimPrefix(o.DSN, "sqlite://")
	if o.DSN == "" {
		path = o.DataDir + "/usher.db"
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is not there", ErrNoDatabase, path)
	} else if err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	q := url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(2000)", "query_only(1)"}}
	if _, err := os.Stat(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		q.Set("immutable", "1")
	}
	name := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}
	db, err := sqlx.Open("sqlite", name.String())
	if err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	db.SetMaxOpenConns(2)
	return &Inspection{db: inspected{db}, dialect: (*sqlite)(nil), Path: path}, nil
}

// Close closes the connections.
func (i *Inspection) Close() error { return i.db.Close() }

// Ping gives how soon the database answers on an open connection: the best of
// three, since a busy machine delays one now and then.
func (i *Inspection) Ping(ctx context.Context) (best time.Duration, err error) {
	if err := i.db.PingContext(ctx); err != nil {
		return 0, i.plainly(err)
	}
	for n := range 3 {
		began := time.Now()
		var one int
		if err := i.db.GetContext(ctx, &one, `SELECT 1`); err != nil {
			return 0, i.plainly(err)
		}
		if took := time.Since(began); n == 0 || took < best {
			best = took
		}
	}
	return best, nil
}

// Refusal is why PostgreSQL lets nobody in: its code, an SQLSTATE such as "28P01",
// and its words, which hold no secret.
type Refusal struct{ Code, Message string }

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

// plainly says who refuses in the words of the database, as far as they are not endless.
func (i *Inspection) plainly(err error) error {
	if err == nil {
		return nil
	}
	if i.budget.spent() {
		return ErrTooMuch
	}
	if e := pq.As(err); e != nil {
		return &Refusal{string(e.Code), cut(e.Message)}
	}
	if away := (*unavailable)(nil); errors.As(err, &away) {
		err = away.err
	}
	if text := err.Error(); len(text) > longestText {
		return errors.New(cut(text))
	}
	return err
}

// Schema is which migrations a database has.
type Schema struct {
	// Is is the newest in the database, 0 where there is none, Wanted the newest
	// that this program knows.
	Is, Wanted int64
	// Least is what a program must know to use the tables, 0 is any.
	Least int64
	// Pending tells whether this program would run one.
	Pending bool
}

// Schema gives the versions as a start sees them. The error also says that a
// migration is missing among those that have run.
func (i *Inspection) Schema(ctx context.Context) (s Schema, err error) {
	defer guard(&err)
	var begun int
	err = i.db.GetContext(ctx, &begun, `SELECT count(*) FROM goose_db_version`)
	if i.dialect.missing(err) {
		migrations, err := migrationsOf(i.db.DB.DB, i.dialect)
		if err != nil {
			return Schema{}, err
		}
		all := migrations.ListSources()
		return Schema{Wanted: all[len(all)-1].Version, Pending: true}, nil
	}
	if err != nil {
		return Schema{}, err
	}
	v, err := versionsOf(ctx, i.db.DB.DB, i.dialect)
	return Schema{Is: v.database, Wanted: v.program, Least: v.least, Pending: v.pending}, err
}

// Keys tells for how many purposes the database has a key and how many there
// are. The error says that one of them cannot be opened with these secrets.
func (i *Inspection) Keys(ctx context.Context, cipherSecrets []string) (have, want int, err error) {
	seal, err := newSealer(cipherSecrets)
	if err != nil {
		return 0, 0, err
	}
	var rows []keyRow
	if err := i.db.SelectContext(ctx, &rows, `SELECT `+keys.list()+` FROM keys`); err != nil {
		return 0, 0, fmt.Errorf("inspect keys: %w", err)
	}
	found := map[string]bool{}
	for _, r := range rows {
		if _, _, err := seal.open(r.Sealed, r.about()); err != nil {
			return 0, 0, err
		}
		found[r.Purpose] = true
	}
	return len(found), len(purposes), nil
}

// Hooks gives the hooks of the table without their secrets, as far as the bus
// must know them: those that are switched off in it for a file are left out.
func (i *Inspection) Hooks(ctx context.Context) ([]delivery.Hook, error) {
	var rows []struct {
		hookRow
		Sealed bool `db:"sealed"`
	}
	if err := i.db.SelectContext(ctx, &rows, `SELECT name, kind, types, traits, url, disabled, created_at, updated_at, secrets IS NOT NULL AS sealed FROM hooks ORDER BY name`); err != nil {
		return nil, fmt.Errorf("inspect hooks: %w", err)
	}
	var all []delivery.Hook
	for _, r := range rows {
		if r.Kind == string(delivery.Webhook) && !r.Sealed {
			continue
		}
		h, err := (*keyring)(nil).openHook(r.hookRow)
		if err != nil {
			return nil, fmt.Errorf("inspect hook %s: %w", r.Name, err)
		}
		all = append(all, h)
	}
	return all, nil
}

// Outbox is that of [Store.OutboxStats].
func (i *Inspection) Outbox(ctx context.Context) (depth int64, oldest time.Time, err error) {
	var row struct {
		Depth  int64  `db:"depth"`
		Oldest moment `db:"oldest"`
	}
	err = i.db.GetContext(ctx, &row, `SELECT count(*) AS depth, min(created_at) AS oldest FROM outbox`)
	return row.Depth, row.Oldest.Time, err
}

// DeadLetters counts the events that hooks have given up, by hook.
func (i *Inspection) DeadLetters(ctx context.Context) (map[string]int64, error) {
	return i.byHook(ctx, `SELECT hook, count(*) AS number FROM hook_failures WHERE state = 'dead' GROUP BY hook`)
}

// Retries counts the events that hooks have failed at twice or more and are given
// again, by hook.
func (i *Inspection) Retries(ctx context.Context) (map[string]int64, error) {
	return i.byHook(ctx, `SELECT hook, count(*) AS number FROM hook_failures WHERE state = 'waiting' AND attempts >= 2 GROUP BY hook`)
}

func (i *Inspection) byHook(ctx context.Context, query string) (map[string]int64, error) {
	var rows []struct {
		Hook   string `db:"hook"`
		Number int64  `db:"number"`
	}
	err := i.db.SelectContext(ctx, &rows, query)
	all := map[string]int64{}
	for _, r := range rows {
		all[r.Hook] = r.Number
	}
	return all, err
}

// SQLiteFacts are what a file of SQLite and its library say.
type SQLiteFacts struct {
	Version string
	// Journal is "wal" for a file that the program has made.
	Journal string
	// Bytes is the size of the file, Log that of what has not been put into it yet.
	Bytes, Log int64
}

// SQLite gives the facts of a file of SQLite.
func (i *Inspection) SQLite(ctx context.Context) (f SQLiteFacts, err error) {
	if err := i.db.GetContext(ctx, &f.Version, `SELECT sqlite_version()`); err != nil {
		return f, err
	}
	if f.Journal, err = journalOf(i.Path); err != nil {
		return f, err
	}
	for suffix, into := range map[string]*int64{"": &f.Bytes, "-wal": &f.Log} {
		if info, err := os.Stat(i.Path + suffix); err == nil {
			*into = info.Size()
		}
	}
	return f, nil
}

// journalOf reads how a file is written from its header: a reader that may
// change nothing is told something else.
func journalOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	header := make([]byte, 20)
	if _, err := f.ReadAt(header, 0); err != nil {
		return "", fmt.Errorf("%s is no database", path)
	}
	if header[18] == 2 && header[19] == 2 {
		return "wal", nil
	}
	return "rollback", nil
}
