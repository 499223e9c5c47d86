package store

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"
	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"
)

// sqlite is the backend inside the process: one connection writes, several
// read beside it. Flows are in a file of their own.
type sqlite struct {
	path      string
	temporary string // folder to be removed at the end
	writer    *pool
	reads     *pool
	flows     *flowsFile
	openDB    func(sqldriver.Connector) *sql.DB // that of [Options]
}

func (s *Store) openSQLite(ctx context.Context, o Options) error {
	b := &sqlite{openDB: o.OpenDB}
	var err error
	if b.path, b.temporary, err = sqlitePath(o); err != nil {
		return err
	}
	if err := ownFile(b.path); err != nil {
		return errors.Join(err, b.close())
	}
	// The writer comes first: it makes a new file one that can be read while it is written.
	if b.writer, err = b.open(1, "synchronous(FULL)"); err == nil {
		err = b.writer.db.PingContext(ctx)
	}
	if err == nil {
		b.reads, err = b.open(max(4, runtime.GOMAXPROCS(0)), "query_only(1)")
	}
	if err != nil {
		return errors.Join(err, b.close())
	}
	b.flows = &flowsFile{backend: b, path: strings.TrimSuffix(b.path, ".db") + "-flows.db", log: o.Log}
	s.backend, s.durable, s.reads = b, b.writer, b.reads
	s.relaxed = b.writer.around("PRAGMA synchronous=NORMAL", "PRAGMA synchronous=FULL")
	return nil
}

// sqlitePath gives the file, and the folder that was made for it if it is a temporary one.
func sqlitePath(o Options) (path, temporary string, err error) {
	switch {
	case strings.HasPrefix(o.DSN, "sqlite://"):
		if path, err = sqliteFile(o.DSN); err != nil {
			return "", "", fmt.Errorf("dsn: %w", err)
		}
		return path, "", os.MkdirAll(filepath.Dir(path), 0o700)
	case o.DSN == "memory":
		temporary, err = os.MkdirTemp("", "usher-")
		return filepath.Join(temporary, "usher.db"), temporary, err
	case o.DataDir == "":
		return "", "", errors.New("data_dir is empty")
	default:
		return filepath.Join(o.DataDir, "usher.db"), "", os.MkdirAll(o.DataDir, 0o700)
	}
}

// sqliteFile gives the file that a DSN of sqlite:// names.
func sqliteFile(dsn string) (string, error) {
	path, query, _ := strings.Cut(strings.TrimPrefix(dsn, "sqlite://"), "?")
	switch {
	case query != "":
		name, _, _ := strings.Cut(query, "=")
		return "", fmt.Errorf("sqlite:// takes no parameter %q: write sqlite://PATH", name)
	case path == "":
		return "", errors.New("sqlite:// needs a path: write sqlite://PATH")
	case strings.HasPrefix(path, "file:") || strings.Contains(path, ":memory:"): // they mean something else to SQLite itself
		return "", errors.New("sqlite:// takes a path alone: write sqlite://PATH, or memory for a database that goes with the process")
	}
	return path, nil
}

// ownFile makes a file that nobody else can read; what SQLite puts beside it
// gets the same rights.
func ownFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func (b *sqlite) open(conns int, pragmas ...string) (*pool, error) {
	db, err := b.openFile(b.path, pragmas...)
	if err != nil {
		return nil, err
	}
	return newPool(db, b, conns), nil
}

// openFile opens a file of SQLite. Transactions take the write lock when they begin.
func (b *sqlite) openFile(path string, pragmas ...string) (*sqlx.DB, error) {
	q := url.Values{
		"_txlock": {"immediate"},
		"_pragma": append([]string{"busy_timeout(5000)", "journal_mode(WAL)", "foreign_keys(1)"}, pragmas...),
	}
	name := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}
	connector, err := driver.NewConnector(name.String())
	if err != nil {
		return nil, err
	}
	return sqlx.NewDb(b.openDB(connector), "sqlite3"), nil // sqlx knows its parameters by that name
}

func (*sqlite) embedded() bool { return true }

func (*sqlite) goose() (goose.Dialect, string) { return goose.DialectSQLite3, "sqlite" }

func (b *sqlite) withFlows(ctx context.Context, work func(*pool) error) error {
	return b.flows.do(ctx, work)
}

// exclusively needs no lock: there is no other process.
func (b *sqlite) exclusively(_ context.Context, work func(*sql.DB) error) error {
	db, err := b.openFile(b.path, "synchronous(FULL)")
	if err != nil {
		return err
	}
	defer db.Close()
	return work(db.DB)
}

// lead is always got and never lost.
func (*sqlite) lead(context.Context) (release func(), lost <-chan struct{}, err error) {
	return func() {}, make(chan struct{}), nil
}

func (b *sqlite) close() error {
	var errs []error
	if b.flows != nil {
		errs = append(errs, b.flows.close())
	}
	if b.reads != nil {
		errs = append(errs, b.reads.close())
	}
	if b.writer != nil {
		errs = append(errs, b.writer.close())
	}
	if b.temporary != "" {
		errs = append(errs, os.RemoveAll(b.temporary))
	}
	return errors.Join(errs...)
}

// violated reads the column from "UNIQUE constraint failed: table.column, …".
func (*sqlite) violated(err error) string {
	switch code(err) {
	case codes.SQLITE_CONSTRAINT_UNIQUE, codes.SQLITE_CONSTRAINT_PRIMARYKEY, codes.SQLITE_CONSTRAINT_ROWID:
		_, rest, _ := strings.Cut(err.Error(), "UNIQUE constraint failed: ")
		column, _, _ := strings.Cut(rest, " ")
		return strings.TrimSuffix(column, ",")
	}
	return ""
}

func (*sqlite) missing(err error) bool {
	return code(err) == codes.SQLITE_ERROR && strings.Contains(err.Error(), "no such table")
}

// down is true for what is about the disk and not about the statement.
func (*sqlite) down(err error) bool {
	switch code(err) & 0xff {
	case codes.SQLITE_BUSY, codes.SQLITE_LOCKED, codes.SQLITE_NOMEM, codes.SQLITE_READONLY,
		codes.SQLITE_IOERR, codes.SQLITE_FULL, codes.SQLITE_CANTOPEN, codes.SQLITE_PROTOCOL:
		return true
	}
	return false
}

// noticed has nothing to do: the database is in this process.
func (*sqlite) noticed(error) {}

// code gives the result code of SQLite in err, 0 if there is none.
func code(err error) int {
	var e *driver.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}
