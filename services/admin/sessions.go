package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/session"
)

// RevokeSession ends a session, whoever's it is; it stays as one that is not
// active. [session.ErrNotFound] if there is none with this id.
func (s *Service) RevokeSession(ctx context.Context, id uuid.UUID, by Author) error {
	found, err := s.Sessions.Session(ctx, id)
	if err != nil {
		return fmt.Errorf("revoke session: %w", err)
	}
	which := session.Which{IdentityID: found.IdentityID, ID: found.ID}
	if _, err := s.Sessions.RevokeSessions(ctx, which, revocation(by, found.IdentityID, s.now(), byAdmin)); err != nil {
		return fmt.Errorf("revoke session: %w", err)
	}
	return nil
}

// DeleteSessions deletes all sessions of an identity, or gives
// [session.ErrNotFound] when it has none.
func (s *Service) DeleteSessions(ctx context.Context, identityID uuid.UUID, by Author) error {
	deleted, err := s.Sessions.DeleteSessions(ctx, identityID, revocation(by, identityID, s.now(), byAdmin))
	if err != nil {
		return fmt.Errorf("delete sessions: %w", err)
	}
	if deleted == 0 {
		return session.ErrNotFound
	}
	return nil
}

// ExtendSession lets a live session last for the usual lifespan from now on, but
// not longer than any session may, and never shorter than it would. One that may
// not be extended yet is given as it is; [session.ErrNotFound] if none with this
// id lives.
func (s *Service) ExtendSession(ctx context.Context, id uuid.UUID) (*session.Session, error) {
	found, err := s.Sessions.Session(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("extend session: %w", err)
	}
	now := s.now()
	if !found.Active(now) {
		return nil, session.ErrNotFound
	}
	if s.EarliestExtend > 0 && found.ExpiresAt.Sub(now) > s.EarliestExtend {
		return found, nil
	}
	extended, err := s.Sessions.ExtendSession(ctx, id, until(found, now, s.Lifespan))
	if err != nil {
		return nil, fmt.Errorf("extend session: %w", err)
	}
	return extended, nil
}

// until is how long a session that is extended lasts.
func until(s *session.Session, now time.Time, lifespan time.Duration) time.Time {
	end := now.Add(lifespan)
	if last := s.IssuedAt.Add(session.MaxLifespan); end.After(last) {
		return last
	}
	return end
}
