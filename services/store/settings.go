package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/override"
)

type settingsRow struct {
	Revision int64    `db:"revision"`
	Saved    document `db:"saved"`
	Actor    string   `db:"actor"`
	SavedAt  moment   `db:"saved_at"`
}

var savedSettings = tableOf[settingsRow]("settings")

// revision is what the row holds. Values that somebody has damaged by hand are none.
func (r settingsRow) revision() override.Revision {
	found := override.Revision{Number: r.Revision, Actor: r.Actor, At: r.SavedAt.Time}
	if year := found.At.Year(); year < 1970 || year > 9999 { // JSON cannot say it
		found.At, r.Saved = time.Time{}, nil
	}
	if len(r.Saved) > override.MaxSize || json.Unmarshal(r.Saved, &found.Values) != nil || found.Values == nil {
		found.Values, found.Damaged = override.Values{}, true
	}
	return found
}

// SaveSettings stores a revision with its event if it follows on the newest one, or
// gives [override.Stale].
func (s *Store) SaveSettings(ctx context.Context, r override.Revision, e events.Event) error {
	row := settingsRow{Revision: r.Number, Saved: encode(r.Values), Actor: r.Actor, SavedAt: moment{r.At}}
	err := s.durable.commit(ctx, func(tx *tx) error {
		var newest int64
		if err := tx.get(&newest, newestSettings); err != nil {
			return err
		}
		if newest != r.Number-1 {
			return errOther
		}
		if err := tx.insert(savedSettings.insert(row)); err != nil {
			return err
		}
		return appendEvent(tx, e)
	})
	if takenColumn(err) == "settings.revision" || errors.Is(err, errOther) {
		other, err := s.NewestSettings(ctx)
		if err != nil {
			return err
		}
		return &override.Stale{Newest: other}
	}
	if err != nil {
		return fmt.Errorf("save settings %d: %w", r.Number, err)
	}
	return nil
}

// errOther says that another revision than the one that was seen is the newest.
var errOther = errors.New("store: another revision is the newest")

const newestSettings = `SELECT coalesce(max(revision), 0) FROM settings`

// NewestSettings gives the newest revision; the zero one if there is none.
func (s *Store) NewestSettings(ctx context.Context) (override.Revision, error) {
	var row settingsRow
	err := s.reads.get(ctx, &row, `SELECT `+savedSettings.list()+` FROM settings ORDER BY revision DESC LIMIT 1`)
	if errors.Is(err, sql.ErrNoRows) {
		return override.Revision{Values: override.Values{}}, nil
	}
	if err != nil {
		return override.Revision{}, fmt.Errorf("newest settings: %w", err)
	}
	return row.revision(), nil
}

// SettingsBefore gives the revisions below a number, the newest first; 0 is above
// all of them.
func (s *Store) SettingsBefore(ctx context.Context, before int64, limit int) ([]override.Revision, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	var rows []settingsRow
	err := s.reads.list(ctx, &rows, `SELECT `+savedSettings.list()+` FROM settings WHERE revision < ? ORDER BY revision DESC LIMIT ?`, before, limit)
	if err != nil {
		return nil, fmt.Errorf("earlier settings: %w", err)
	}
	found := make([]override.Revision, len(rows))
	for n, r := range rows {
		found[n] = r.revision()
	}
	return found, nil
}
