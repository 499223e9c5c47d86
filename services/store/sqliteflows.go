package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	codes "modernc.org/sqlite/lib"

	"github.com/usher-auth/usher/schemas"
)

// flowsFile is the SQLite file of the flows. It never waits for the disk, so a
// power cut may damage it; it is thrown away then and made anew, whether that
// is seen when it is opened or when it is used. It is opened when it is first
// needed.
type flowsFile struct {
	backend *sqlite
	path    string
	log     *slog.Logger

	mu   sync.Mutex
	pool *pool
}

// do runs work, and once more on a new file if the file is damaged.
func (f *flowsFile) do(ctx context.Context, work func(*pool) error) error {
	p, err := f.open(ctx)
	if err != nil {
		return err
	}
	if err = work(p); !damaged(err) {
		return err
	}
	if p, err = f.renew(ctx, p, err); err != nil {
		return err
	}
	return work(p)
}

func (f *flowsFile) open(ctx context.Context) (*pool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pool != nil {
		return f.pool, nil
	}
	ctx = context.WithoutCancel(ctx) // others wait for it too
	p, err := f.openOnce(ctx)
	// Of two who make the file at once SQLite lets neither wait for the other.
	for tries := 0; code(err)&0xff == codes.SQLITE_BUSY && tries < openTries; tries++ {
		time.Sleep(openPause)
		p, err = f.openOnce(ctx)
	}
	if damaged(err) {
		if err := f.remove(err); err != nil {
			return nil, err
		}
		p, err = f.openOnce(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("open flows: %w", explain(f.backend, err))
	}
	f.pool = p
	return p, nil
}

// renew throws the file away, unless somebody has done so since p was got.
func (f *flowsFile) renew(ctx context.Context, p *pool, because error) (*pool, error) {
	f.mu.Lock()
	if f.pool == p {
		f.pool = nil
		err := errors.Join(p.close(), f.remove(because))
		if err != nil {
			f.mu.Unlock()
			return nil, fmt.Errorf("renew flows: %w", err)
		}
	}
	f.mu.Unlock()
	return f.open(ctx)
}

// openOnce opens the file as it is, or makes it; errDamaged says that it must go.
func (f *flowsFile) openOnce(ctx context.Context) (_ *pool, err error) {
	_, err = os.Stat(f.path + "-wal")
	closed := errors.Is(err, fs.ErrNotExist) // SQLite removes it when the last connection is closed
	if err := ownFile(f.path); err != nil {
		return nil, err
	}
	db, err := f.backend.openFile(f.path, "synchronous(OFF)")
	if err != nil {
		return nil, err
	}
	p := newPool(db, f.backend, 1)
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	var version int
	if err := db.GetContext(ctx, &version, `PRAGMA user_version`); err != nil {
		return nil, err
	}
	switch {
	case version == 0:
		schema, err := schemas.SQL.ReadFile("sql/sqlite/flows.sql")
		if err != nil {
			return nil, err
		}
		return p, makeFlows(ctx, db, string(schema))
	case version != flowsVersion:
		return nil, fmt.Errorf("%w: it is of version %d", errDamaged, version)
	case closed:
		return p, nil
	}
	var verdict string
	if err := db.GetContext(ctx, &verdict, `PRAGMA quick_check(1)`); err != nil {
		return nil, err
	}
	if verdict != "ok" {
		return nil, fmt.Errorf("%w: %s", errDamaged, verdict)
	}
	return p, nil
}

// makeFlows makes the tables, unless another process has done so meanwhile.
func makeFlows(ctx context.Context, db *sqlx.DB, schema string) (err error) {
	conn, err := db.Connx(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, `BEGIN IMMEDIATE`); err != nil {
		return err
	}
	var version int
	err = conn.GetContext(ctx, &version, `PRAGMA user_version`)
	if err == nil && version == 0 {
		_, err = conn.ExecContext(ctx, schema)
	}
	end := `COMMIT`
	if err != nil {
		end = `ROLLBACK`
	}
	_, ended := conn.ExecContext(context.WithoutCancel(ctx), end)
	return errors.Join(err, ended)
}

// openTries and openPause bound the wait for another process that makes the file.
const (
	openTries = 50
	openPause = 20 * time.Millisecond
)

// flowsVersion is the user_version that flows.sql sets.
const flowsVersion = 5

var errDamaged = errors.New("flows file is damaged")

func damaged(err error) bool {
	c := code(err) & 0xff
	return errors.Is(err, errDamaged) || c == codes.SQLITE_CORRUPT || c == codes.SQLITE_NOTADB
}

func (f *flowsFile) remove(because error) error {
	f.log.Warn("the file of the flows is made anew: flows that were begun are lost", "because", because.Error())
	var errs []error
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(f.path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (f *flowsFile) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pool == nil {
		return nil
	}
	return f.pool.close()
}
