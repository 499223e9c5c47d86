package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
)

type sessionRow struct {
	ID              uuid.UUID `db:"id"`
	IdentityID      uuid.UUID `db:"identity_id"`
	TokenDigest     []byte    `db:"token_digest"`
	AAL             string    `db:"aal"`
	Methods         document  `db:"methods"`
	Devices         document  `db:"devices"`
	Epoch           int64     `db:"epoch"`
	Revoked         bool      `db:"revoked"`
	AuthenticatedAt moment    `db:"authenticated_at"`
	IssuedAt        moment    `db:"issued_at"`
	ExpiresAt       moment    `db:"expires_at"`
}

var sessions = tableOf[sessionRow]("sessions")

// SessionByDigest gives a session, whatever its state, and its identity with
// addresses but without credentials, or [session.ErrNotFound].
func (s *Store) SessionByDigest(ctx context.Context, d session.Digest) (*session.Session, *identity.Identity, error) {
	var row struct {
		S sessionRow  `db:"s"`
		I identityRow `db:"i"`
	}
	err := s.reads.get(ctx, &row, `SELECT `+sessions.of("s")+`, `+identities.of("i")+`
		FROM sessions s JOIN identities i ON i.id = s.identity_id WHERE s.token_digest = ?`, d[:])
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, session.ErrNotFound
	}
	if err != nil {
		return nil, nil, fmt.Errorf("session by digest: %w", err)
	}
	i := row.I.identity()
	if err := s.addAddresses(ctx, i); err != nil {
		return nil, nil, fmt.Errorf("session by digest: %w", err)
	}
	found, err := row.S.session()
	if err != nil {
		return nil, nil, fmt.Errorf("session by digest: %w", err)
	}
	return found, i, nil
}

func newSessionRow(s session.Session, d session.Digest) sessionRow {
	return sessionRow{
		ID:              s.ID,
		IdentityID:      s.IdentityID,
		TokenDigest:     d[:],
		AAL:             s.AAL,
		Methods:         encode(s.Methods),
		Devices:         encode(s.Devices),
		Epoch:           s.Epoch,
		Revoked:         s.Revoked,
		AuthenticatedAt: moment{s.AuthenticatedAt},
		IssuedAt:        moment{s.IssuedAt},
		ExpiresAt:       moment{s.ExpiresAt},
	}
}

func (r sessionRow) session() (*session.Session, error) {
	s := &session.Session{
		ID:              r.ID,
		IdentityID:      r.IdentityID,
		AAL:             r.AAL,
		Epoch:           r.Epoch,
		Revoked:         r.Revoked,
		AuthenticatedAt: r.AuthenticatedAt.Time,
		IssuedAt:        r.IssuedAt.Time,
		ExpiresAt:       r.ExpiresAt.Time,
	}
	return s, errors.Join(r.Methods.decode(&s.Methods), r.Devices.decode(&s.Devices))
}
