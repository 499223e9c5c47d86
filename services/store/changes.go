package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/settings"
)

// ChangeIdentity is [settings.Store.ChangeIdentity]. The session that decide is given
// ends no sooner than the commit: who ends one locks its identity first.
func (s *Store) ChangeIdentity(ctx context.Context, id, by uuid.UUID, decide func(stored *identity.Identity, current *session.Session) (*settings.Change, error)) error {
	err := s.update(ctx, id, func(u *update) (*identity.Change, error) {
		current, err := u.session(by)
		if err != nil {
			return nil, err
		}
		change, err := decide(u.former, current)
		if change == nil || err != nil {
			return nil, err
		}
		for _, e := range change.Requested {
			if err := u.batch.event(e); err != nil {
				return nil, err
			}
		}
		return &change.Change, u.batch.due(change.Due, u.now)
	})
	if err != nil {
		return fmt.Errorf("change identity %s: %w", id, identityTaken(err))
	}
	return nil
}

// session gives a session of the identity as it is now, nil if there is none.
func (u *update) session(id uuid.UUID) (*session.Session, error) {
	var row sessionRow
	err := u.tx.get(&row, `SELECT `+sessions.list()+` FROM sessions WHERE id = ? AND identity_id = ?`, id, u.former.ID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return row.session()
}
