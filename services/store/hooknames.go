package store

import (
	"context"
	"fmt"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
)

// takeName gives a new hook its name, or [*delivery.NameUsed].
func takeName(tx *tx, h delivery.Hook, now time.Time) error {
	var former []moment
	if err := tx.list(&former, `SELECT good_until FROM hook_names WHERE name = ? AND good_until > ?`, h.Name, moment{now}); err != nil {
		return err
	}
	if len(former) > 0 && !h.ReuseName && !h.InFile {
		return &delivery.NameUsed{Name: h.Name, Until: former[0].Time}
	}
	if _, err := tx.exec(`UPDATE hook_names SET removed_at = NULL WHERE name = ?`, h.Name); err != nil {
		return err
	}
	return keepName(tx, h.Name, h.CredentialUntil)
}

// keepName keeps a name until its credential ends, unless another is good for
// longer. The zero time is no credential.
func keepName(tx *tx, name string, until time.Time) error {
	if until.IsZero() {
		return nil
	}
	_, err := tx.exec(`INSERT INTO hook_names (name, good_until) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET good_until = excluded.good_until WHERE hook_names.good_until < excluded.good_until`,
		name, moment{until})
	return err
}

// leaveName says that the hook of a name is no more, and forgets the names whose
// credentials have ended.
func leaveName(tx *tx, name string, now time.Time) error {
	if _, err := tx.exec(`DELETE FROM hook_names WHERE good_until <= ?`, moment{now}); err != nil {
		return err
	}
	_, err := tx.exec(`UPDATE hook_names SET removed_at = ? WHERE name = ?`, moment{now}, name)
	return err
}

// NameMinted is that of [delivery.Names], in one durable commit.
func (s *Store) NameMinted(ctx context.Context, name string, until time.Time, e events.Event) error {
	err := s.durable.commit(ctx, func(tx *tx) error {
		if err := keepName(tx, name, until); err != nil {
			return err
		}
		return appendEvent(tx, e)
	})
	if err != nil {
		return fmt.Errorf("name of hook %s: %w", name, err)
	}
	return nil
}

// RemovedNames is that of [delivery.Names].
func (s *Store) RemovedNames(ctx context.Context) (map[string]time.Time, error) {
	var rows []struct {
		Name  string `db:"name"`
		Until moment `db:"good_until"`
	}
	err := s.reads.list(ctx, &rows, `SELECT name, good_until FROM hook_names WHERE removed_at IS NOT NULL AND good_until > ?`, moment{s.now()})
	if err != nil {
		return nil, fmt.Errorf("names of removed hooks: %w", err)
	}
	all := make(map[string]time.Time, len(rows))
	for _, r := range rows {
		all[r.Name] = r.Until.Time
	}
	return all, nil
}
