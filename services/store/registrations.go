package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/registration"
)

// grantRow is a grant as a registration stores it. What the session that uses
// it adds is in [usedRow].
type grantRow struct {
	ID         uuid.UUID `db:"id"`
	FlowID     uuid.UUID `db:"flow_id"`
	IdentityID uuid.UUID `db:"identity_id"`
	EventID    uuid.UUID `db:"event_id"`
	FlowType   string    `db:"flow_type"`
	ReturnTo   string    `db:"return_to"`
	Method     string    `db:"method"`
	Provider   string    `db:"provider"`
	Bypass     bool      `db:"bypass"`
	Steps      document  `db:"steps"`
	CreatedAt  moment    `db:"created_at"`

	VerificationFlowID uuid.NullUUID `db:"verification_flow_id"`
}

// usedRow says which session used a grant.
type usedRow struct {
	SessionID   uuid.NullUUID  `db:"session_id"`
	RequestID   sql.NullString `db:"request_id"`
	Digest      []byte         `db:"digest"`
	RequestedAt moment         `db:"requested_at"`
	IssuedAt    moment         `db:"issued_at"`
}

// wholeGrant is all that is stored of a grant.
type wholeGrant struct {
	grantRow
	usedRow
}

var (
	grants = tableOf[grantRow]("grants")
	used   = tableOf[usedRow]("grants")
)

// Register stores all of r in one durable commit, or nothing: with
// [identity.ErrExists] when an identifier is taken, with
// [registration.ErrFlowUsed] when the flow has a grant already. Registrations
// that wait at the same time share the commit; one that is refused takes
// nobody with it.
//
// On SQLite the verification flow has a commit of its own, before: a flow that
// nobody knows of ends by itself.
func (s *Store) Register(ctx context.Context, r registration.Record) error {
	s.fresh.Invalidate(r.Grant.FlowID)
	if r.Verification != nil {
		s.flows.made.Add(1)
		if s.Embedded() {
			if err := s.insertFlow(ctx, r.Verification.Flow); err != nil {
				return fmt.Errorf("register %s: %w", r.Identity.ID, err)
			}
		}
	}
	return s.registrations.do(ctx, r)
}

// registerTogether stores all records or none.
func (s *Store) registerTogether(ctx context.Context, records []registration.Record) error {
	ring, err := s.keyring()
	if err != nil {
		return err
	}
	b := batch{ring: ring}
	for _, r := range records {
		if err := b.registration(r, !s.Embedded()); err != nil {
			return err
		}
	}
	return s.durable.insert(ctx, b.inserts()...)
}

// registerAlone stores one record and says why it cannot be.
func (s *Store) registerAlone(ctx context.Context, r registration.Record) error {
	err := s.registerTogether(ctx, []registration.Record{r})
	if takenColumn(err) == "grants.flow_id" {
		return registration.ErrFlowUsed
	}
	if err = identityTaken(err); errors.Is(err, identity.ErrExists) {
		// PostgreSQL does not promise in which order one statement inserts: the
		// address may be taken by this very flow.
		var used bool
		if e := s.reads.get(ctx, &used, `SELECT EXISTS (SELECT 1 FROM grants WHERE flow_id = ?)`, r.Grant.FlowID); e != nil {
			return fmt.Errorf("register %s: %w", r.Identity.ID, e)
		}
		if used {
			return registration.ErrFlowUsed
		}
	}
	if err != nil {
		return fmt.Errorf("register %s: %w", r.Identity.ID, err)
	}
	return nil
}

// Grant gives the grant that a flow made and its identity with credentials, or
// [identity.ErrNotFound].
func (s *Store) Grant(ctx context.Context, flowID uuid.UUID) (registration.Grant, *identity.Identity, error) {
	var row wholeGrant
	err := s.reads.get(ctx, &row, `SELECT `+grants.list()+`, `+used.list()+` FROM grants WHERE flow_id = ?`, flowID)
	if errors.Is(err, sql.ErrNoRows) {
		return registration.Grant{}, nil, identity.ErrNotFound
	}
	if err != nil {
		return registration.Grant{}, nil, fmt.Errorf("grant of flow %s: %w", flowID, err)
	}
	g, err := row.grant()
	if err != nil {
		return registration.Grant{}, nil, fmt.Errorf("grant of flow %s: %w", flowID, err)
	}
	i, err := s.Identity(ctx, g.IdentityID)
	if err != nil {
		return registration.Grant{}, nil, err
	}
	return g, i, nil
}

// Grants gives the grants of an identity, the oldest first.
func (s *Store) Grants(ctx context.Context, identityID uuid.UUID) ([]registration.Grant, error) {
	var rows []wholeGrant
	err := s.reads.list(ctx, &rows, `SELECT `+grants.list()+`, `+used.list()+` FROM grants WHERE identity_id = ? ORDER BY created_at`, identityID)
	if err != nil {
		return nil, fmt.Errorf("grants of %s: %w", identityID, err)
	}
	all := make([]registration.Grant, len(rows))
	for n, r := range rows {
		if all[n], err = r.grant(); err != nil {
			return nil, fmt.Errorf("grants of %s: %w", identityID, err)
		}
	}
	return all, nil
}

func newGrantRow(g registration.Grant) grantRow {
	return grantRow{
		ID:         g.ID,
		FlowID:     g.FlowID,
		IdentityID: g.IdentityID,
		EventID:    g.EventID,
		FlowType:   string(g.FlowType),
		ReturnTo:   g.ReturnTo,
		Method:     g.Method,
		Provider:   g.Provider,
		Bypass:     g.Bypass,
		Steps:      encode(g.Steps),
		CreatedAt:  moment{g.CreatedAt},

		VerificationFlowID: uuid.NullUUID{UUID: g.VerificationFlowID, Valid: g.VerificationFlowID != uuid.Nil},
	}
}

func (r wholeGrant) grant() (registration.Grant, error) {
	g := registration.Grant{
		ID:         r.ID,
		FlowID:     r.FlowID,
		IdentityID: r.IdentityID,
		EventID:    r.EventID,
		FlowType:   flow.Type(r.FlowType),
		ReturnTo:   r.ReturnTo,
		Method:     r.Method,
		Provider:   r.Provider,
		Bypass:     r.Bypass,
		SessionID:  r.SessionID.UUID,
		CreatedAt:  r.CreatedAt.Time,

		VerificationFlowID: r.VerificationFlowID.UUID,
	}
	err := r.Steps.decode(&g.Steps)
	g.Steps.RequestedAt, g.Steps.IssuedAt = r.RequestedAt.Time, r.IssuedAt.Time
	return g, err
}
