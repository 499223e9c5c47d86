package store

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/usher-auth/usher/schemas"
)

// Migrate brings the database to this version and makes the keys that are
// missing. Several processes may do it at once: one does, the others wait. A
// database of a later version stays as it is.
func (s *Store) Migrate(ctx context.Context) error {
	err := s.backend.exclusively(ctx, func(db *sql.DB) error {
		migrations, err := migrationsOf(db, s.backend)
		if err != nil {
			return err
		}
		done, err := migrations.Up(ctx)
		s.sayMigrated(done)
		if err != nil {
			return err
		}
		return s.makeKeys(ctx)
	})
	if err == nil {
		_, err = s.schema(ctx)
	}
	if err != nil {
		return fmt.Errorf("migrate: %w", s.durable.explain(err))
	}
	return nil
}

// sayMigrated logs once what was done: the versions have gaps.
func (s *Store) sayMigrated(done []*goose.MigrationResult) {
	if len(done) == 0 {
		return
	}
	var took time.Duration
	for _, m := range done {
		took += m.Duration
	}
	s.log.Info("migrated", "to", done[len(done)-1].Source.Version, "migrations", len(done), "took", took)
}

// Migrated tells whether the database is of this version, or of a later one that
// this program may use, and has its keys. Its error says that the database is of
// a version that this program is too old for.
func (s *Store) Migrated(ctx context.Context) (bool, error) {
	if err := s.loadKeys(ctx); err != nil {
		return false, fmt.Errorf("migrated: %w", err)
	}
	if !s.keys.Load().complete() {
		return false, nil
	}
	v, err := s.schema(ctx)
	if err != nil {
		return false, fmt.Errorf("migrated: %w", s.reads.explain(err))
	}
	if v.database > v.program {
		s.log.Info("the database is of a later version, which this program may use", "database", v.database, "program", v.program)
	}
	return !v.pending, nil
}

// versions are numbers of migrations.
type versions struct {
	database, program int64 // the newest of each
	least             int64 // what a program must know at least, 0 is any
	pending           bool
}

// schema gives the versions, or an error when the program is too old for the database.
func (s *Store) schema(ctx context.Context) (versions, error) {
	v, err := versionsOf(ctx, s.reads.db.DB, s.backend)
	if err == nil && v.least > v.program {
		err = fmt.Errorf("the database is made for a later version of usher: it needs one that knows migration %d, this one knows %d; update this program", v.least, v.program)
	}
	return v, err
}

// dialect is what the databases do not have in common about versions.
type dialect interface {
	goose() (goose.Dialect, string)
	missing(err error) bool
}

// versionsOf reads the versions of a database whose migrations have begun.
func versionsOf(ctx context.Context, db *sql.DB, b dialect) (v versions, err error) {
	migrations, err := migrationsOf(db, b)
	if err != nil {
		return v, err
	}
	if v.pending, err = migrations.HasPending(ctx); err != nil {
		return v, err
	}
	if v.database, v.program, err = migrations.GetVersions(ctx); err != nil {
		return v, err
	}
	err = db.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM schema_minimum`).Scan(&v.least)
	if b.missing(err) { // it is older than that table
		err = nil
	}
	return v, err
}

func migrationsOf(db *sql.DB, b dialect) (*goose.Provider, error) {
	name, folder := b.goose()
	files, err := fs.Sub(schemas.SQL, "sql/"+folder)
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(name, db, files, goose.WithDisableGlobalRegistry(true))
}
