package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
)

// ErrNotEmbedded is the error of what only a database inside the process can do.
var ErrNotEmbedded = errors.New("the database is a server's")

// BackUp writes all that is committed to a new file, which is a database of its own
// and on the disk when it returns. Others go on reading and writing meanwhile. It
// returns [ErrNotEmbedded] for PostgreSQL, and fs.ErrExist where there is a file.
func (s *Store) BackUp(ctx context.Context, path string) (err error) {
	if !s.backend.embedded() {
		return ErrNotEmbedded
	}
	// The file is nobody else's to read before anything is in it.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(path) // half of one would be taken for a backup
		}
	}()
	err = s.backend.exclusively(ctx, func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, "VACUUM INTO ?", path)
		return err
	})
	if err != nil {
		return fmt.Errorf("copy the database: %w", err)
	}
	return f.Sync()
}
