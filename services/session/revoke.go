package session

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
)

// By says who ends a session, for its event.
type By struct{ Actor, RequestID, TraceParent, Source string }

// Revoked makes the events of sessions of an identity that by ends, for a
// reason of [events.SessionRevoked].
func (by By) Revoked(identityID uuid.UUID, reason string, now time.Time) Revocation {
	return func(id uuid.UUID, sequence int64) events.Event {
		e := events.New(events.SessionRevoked{
			SessionID:  id.String(),
			IdentityID: identityID.String(),
			Reason:     reason,
		}, now, events.About{
			Source:      by.Source,
			Subject:     identityID.String(),
			Actor:       by.Actor,
			RequestID:   by.RequestID,
			TraceParent: by.TraceParent,
		})
		e.Sequence = strconv.FormatInt(sequence, 10)
		return e
	}
}

// Others gives the active sessions of current's identity but current itself,
// newest first, from the offset on and no more than limit, and how many there
// are in all.
func (s *Service) Others(ctx context.Context, current *Session, offset, limit int) ([]Session, int, error) {
	active := true
	// One more than asked for, since current may be among them.
	page, total, err := s.Ledger.SessionsOf(ctx, current.IdentityID, &active, offset, limit+1)
	if err != nil {
		return nil, 0, fmt.Errorf("other sessions: %w", err)
	}
	at := slices.IndexFunc(page, func(one Session) bool { return one.ID == current.ID })
	switch {
	case at >= 0:
		page = slices.Delete(page, at, at+1)
	case offset > 0 && len(page) > 0 && !current.IssuedAt.Before(page[0].IssuedAt):
		// Current stands before this page: without it, all behind it move up by one.
		page = page[1:]
	}
	return page[:min(len(page), limit)], max(total-1, 0), nil
}

// Revoke ends the session with an id if it is the identity's and alive; if not,
// it gives [ErrNotFound] and nothing has changed.
func (s *Service) Revoke(ctx context.Context, by By, identityID, id uuid.UUID, reason string) error {
	if id == uuid.Nil { // to the ledger that is all of them
		return ErrNotFound
	}
	n, err := s.Ledger.RevokeSessions(ctx, Which{IdentityID: identityID, ID: id}, by.Revoked(identityID, reason, s.Now()))
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("revoke session %s: %w", id, err)
	}
	return nil
}

// RevokeOthers ends all live sessions of current's identity but current itself,
// because its person wants that, and gives how many there were.
func (s *Service) RevokeOthers(ctx context.Context, by By, current *Session) (int, error) {
	n, err := s.Ledger.RevokeSessions(ctx, Which{IdentityID: current.IdentityID, But: current.ID},
		by.Revoked(current.IdentityID, "user", s.Now()))
	if err != nil {
		return 0, fmt.Errorf("revoke other sessions: %w", err)
	}
	return n, nil
}
