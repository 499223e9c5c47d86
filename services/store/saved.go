package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
)

type savedRow struct {
	ID        uuid.UUID `db:"id"`
	Body      document  `db:"body"`
	CreatedAt moment    `db:"created_at"`
}

var saved = tableOf[savedRow]("errors")

// SaveError keeps an error that a browser is sent to look at, without waiting
// for the disk.
func (s *Store) SaveError(ctx context.Context, id uuid.UUID, body json.RawMessage) error {
	row := savedRow{ID: id, Body: document(body), CreatedAt: moment{s.now()}}
	if err := s.relaxed.insert(ctx, saved.insert(row)); err != nil {
		return fmt.Errorf("save error %s: %w", id, err)
	}
	return nil
}

// SavedError gives what [Store.SaveError] kept and when, or [flow.ErrNotFound].
func (s *Store) SavedError(ctx context.Context, id uuid.UUID) (body json.RawMessage, created time.Time, err error) {
	var row savedRow
	err = s.reads.get(ctx, &row, `SELECT `+saved.list()+` FROM errors WHERE id = ?`, id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, time.Time{}, flow.ErrNotFound
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("saved error %s: %w", id, err)
	}
	return json.RawMessage(row.Body), row.CreatedAt.Time, nil
}

// DeleteErrors deletes at most limit saved errors that are older than the
// given time, the oldest first, and tells how many.
func (s *Store) DeleteErrors(ctx context.Context, before time.Time, limit int) (int, error) {
	deleted, err := s.relaxed.exec(ctx, `DELETE FROM errors WHERE id IN
		(SELECT id FROM errors WHERE created_at < ? ORDER BY created_at LIMIT ?)`, moment{before}, limit)
	if err != nil {
		return 0, fmt.Errorf("delete errors: %w", err)
	}
	return int(deleted), nil
}
