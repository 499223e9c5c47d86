package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/session"
)

// alive is the condition of a session that may be used; its parameter is the time.
const alive = `NOT s.revoked AND s.expires_at > ? AND s.epoch = (SELECT epoch FROM identities WHERE identities.id = s.identity_id)`

// RevokeSessions revokes the live sessions that w means, with an event for each,
// in one durable commit, and gives how many there were.
func (s *Store) RevokeSessions(ctx context.Context, w session.Which, event session.Revocation) (int, error) {
	where, args := `s.identity_id = ? AND `+alive, []any{true, w.IdentityID, moment{s.now()}}
	if w.ID != uuid.Nil {
		where, args = where+` AND s.id = ?`, append(args, w.ID)
	}
	if w.But != uuid.Nil {
		where, args = where+` AND s.id <> ?`, append(args, w.But)
	}
	var revoked []uuid.UUID
	err := s.endSessions(ctx, w.IdentityID, event, func(tx *tx) ([]uuid.UUID, error) {
		err := tx.list(&revoked, `UPDATE sessions AS s SET revoked = ? WHERE `+where+` RETURNING id`, args...)
		if err == nil && len(revoked) == 0 {
			err = errStored
		}
		return revoked, err
	})
	if err != nil {
		return 0, fmt.Errorf("revoke sessions of %s: %w", w.IdentityID, err)
	}
	return len(revoked), nil
}

// DeleteSessions deletes all sessions of an identity, with an event for each
// that was alive, in one durable commit, and gives how many there were.
func (s *Store) DeleteSessions(ctx context.Context, identityID uuid.UUID, event session.Revocation) (int, error) {
	now, deleted := s.now(), 0
	err := s.endSessions(ctx, identityID, event, func(tx *tx) (ended []uuid.UUID, err error) {
		if err := tx.list(&ended, `SELECT id FROM sessions s WHERE s.identity_id = ? AND `+alive, identityID, moment{now}); err != nil {
			return nil, err
		}
		n, err := tx.exec(`DELETE FROM sessions WHERE identity_id = ?`, identityID)
		if err == nil && n == 0 {
			err = errStored
		}
		deleted = int(n)
		return ended, err
	})
	if err != nil {
		return 0, fmt.Errorf("delete sessions of %s: %w", identityID, err)
	}
	return deleted, nil
}

// endSessions ends sessions of an identity and stores an event for each that end
// gives. There are none of an identity that is gone; errStored ends nothing.
func (s *Store) endSessions(ctx context.Context, of uuid.UUID, event session.Revocation, end func(*tx) ([]uuid.UUID, error)) error {
	err := s.durable.commit(ctx, func(tx *tx) error {
		who, err := lock(tx, of, 1)
		if errors.Is(err, sql.ErrNoRows) {
			return errStored
		}
		if err != nil {
			return err
		}
		ended, err := end(tx)
		if err != nil {
			return err
		}
		var b batch
		for _, id := range ended {
			if err := b.event(event(id, who.next())); err != nil {
				return err
			}
		}
		if err := tx.insert(outbox.insert(b.outbox...)); err != nil {
			return err
		}
		return who.settle()
	})
	if errors.Is(err, errStored) {
		return nil
	}
	return err
}

// SessionsOf gives the sessions of an identity, newest first, from the offset
// on, and how many there are in all. active nil means all of them, true those
// that may be used, false the others.
func (s *Store) SessionsOf(ctx context.Context, identityID uuid.UUID, active *bool, offset, limit int) ([]session.Session, int, error) {
	condition, args := s.whether(active)
	from := ` FROM sessions s WHERE s.identity_id = ?` + condition
	args = append([]any{identityID}, args...)
	var total int
	if err := s.reads.get(ctx, &total, `SELECT count(*)`+from, args...); err != nil {
		return nil, 0, fmt.Errorf("sessions of %s: %w", identityID, err)
	}
	var rows []sessionRow
	err := s.reads.list(ctx, &rows, `SELECT `+sessions.list()+from+` ORDER BY s.issued_at DESC, s.id LIMIT ? OFFSET ?`, append(args, limit, offset)...)
	if err != nil {
		return nil, 0, fmt.Errorf("sessions of %s: %w", identityID, err)
	}
	page, err := sessionsOf(rows)
	return page, total, err
}

// Sessions gives at most limit sessions behind the given id, by id. The zero id
// is before all others. Those that active leaves out are read over.
func (s *Store) Sessions(ctx context.Context, after uuid.UUID, limit int, active *bool) ([]session.Session, error) {
	condition, args := s.whether(active)
	args = append(append([]any{after}, args...), limit)
	var rows []sessionRow
	err := s.reads.list(ctx, &rows, `SELECT `+sessions.list()+` FROM sessions s WHERE s.id > ?`+condition+` ORDER BY s.id LIMIT ?`, args...)
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	return sessionsOf(rows)
}

// whether adds to a condition that sessions are active, or that they are not.
func (s *Store) whether(active *bool) (condition string, args []any) {
	switch {
	case active == nil:
		return "", nil
	case *active:
		return ` AND ` + alive, []any{moment{s.now()}}
	}
	return ` AND NOT (` + alive + `)`, []any{moment{s.now()}}
}

// Session gives a session, whatever its state, or [session.ErrNotFound].
func (s *Store) Session(ctx context.Context, id uuid.UUID) (*session.Session, error) {
	var row sessionRow
	err := s.reads.get(ctx, &row, `SELECT `+sessions.list()+` FROM sessions WHERE id = ?`, id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, session.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("session %s: %w", id, err)
	}
	return row.session()
}

// ExtendSession lets a live session last until the given time, if that is later,
// and gives it; [session.ErrNotFound] if there is none that lives.
func (s *Store) ExtendSession(ctx context.Context, id uuid.UUID, until time.Time) (*session.Session, error) {
	var rows []sessionRow
	err := s.durable.list(ctx, &rows, `UPDATE sessions AS s SET expires_at = CASE WHEN s.expires_at < ? THEN ? ELSE s.expires_at END
		WHERE s.id = ? AND `+alive+` RETURNING `+sessions.list(), moment{until}, moment{until}, id, moment{s.now()})
	if err != nil {
		return nil, fmt.Errorf("extend session %s: %w", id, err)
	}
	if len(rows) == 0 {
		return nil, session.ErrNotFound
	}
	return rows[0].session()
}

// DeleteExpiredSessions deletes at most limit sessions that were over before the
// given time, the first to end first, and tells how many. Revoked ones stay
// until they would have ended.
func (s *Store) DeleteExpiredSessions(ctx context.Context, before time.Time, limit int) (int, error) {
	deleted, err := s.relaxed.exec(ctx, `DELETE FROM sessions WHERE id IN
		(SELECT id FROM sessions WHERE expires_at < ? ORDER BY expires_at LIMIT ?)`, moment{before}, limit)
	if err != nil {
		return 0, fmt.Errorf("delete expired sessions: %w", err)
	}
	return int(deleted), nil
}

func sessionsOf(rows []sessionRow) ([]session.Session, error) {
	all := make([]session.Session, len(rows))
	for n, r := range rows {
		one, err := r.session()
		if err != nil {
			return nil, fmt.Errorf("session %s: %w", r.ID, err)
		}
		all[n] = *one
	}
	return all, nil
}
