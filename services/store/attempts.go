package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
)

// BeginAttempt keeps a sign-in at a provider in a flow, in the place of a former
// one, or gives [flow.ErrNotFound]. It does not wait for the disk.
func (s *Store) BeginAttempt(ctx context.Context, id uuid.UUID, a flow.Attempt) error {
	err := s.changeFlow(ctx, id, `UPDATE flows SET attempt = ?, attempt_digest = ? WHERE id = ?`, encode(a), a.Digest, id)
	if err != nil {
		return fmt.Errorf("begin attempt of flow %s: %w", id, err)
	}
	return nil
}

// TakeAttempt gives a flow, expired or not, with the attempt that has this digest,
// and takes that out of it: of all who come with it, to any process, one gets it.
// The others get [flow.ErrNotFound], as does who comes with a former attempt. It
// does not wait for the disk. It tells whether the flow was completed, as
// [Store.FlowAndGrant] does.
func (s *Store) TakeAttempt(ctx context.Context, id uuid.UUID, digest []byte) (f *flow.Flow, granted bool, err error) {
	s.fresh.Invalidate(id)
	var row struct {
		foundFlow
		Granted bool `db:"granted"`
	}
	grant := `EXISTS (SELECT 1 FROM grants WHERE flow_id = flows.id)`
	if s.backend.embedded() { // they are in another database
		grant = `false`
	}
	// The attempt itself stays, or this statement could not give it, and is nobody's
	// without its digest.
	err = s.oneFlow(ctx, &row, `UPDATE flows SET attempt_digest = NULL WHERE id = ? AND attempt_digest = ?
		RETURNING `+flows.list()+`, attempt, version, tries, `+grant+` AS granted`, id, digest)
	if err == nil && s.backend.embedded() {
		err = s.reads.get(ctx, &row.Granted, `SELECT EXISTS (SELECT 1 FROM grants WHERE flow_id = ?)`, id)
	}
	if err != nil {
		return nil, false, fmt.Errorf("take attempt of flow %s: %w", id, err)
	}
	f, err = row.flow()
	return f, row.Granted, err
}

// SaveExchange keeps what the app that began a flow gets for its code: a sealed
// proof, or nil where the flow's form says why there is none. It takes the
// place of what was kept before, and does not wait for the disk. [flow.ErrNotFound]
// says that the flow is gone, or was begun without such a code.
func (s *Store) SaveExchange(ctx context.Context, id uuid.UUID, returnDigest, sealed []byte) error {
	if len(sealed) == 0 {
		sealed = nil
	}
	err := s.changeFlow(ctx, id, `UPDATE flows SET exchange_return = ?, exchanged = ? WHERE id = ? AND exchange IS NOT NULL`, returnDigest, sealed, id)
	if err != nil {
		return fmt.Errorf("save exchange of flow %s: %w", id, err)
	}
	return nil
}

// TakeExchange gives the flow, expired or not, that the halves of a code are of,
// and what [Store.SaveExchange] has kept. A sealed proof is given once, whoever
// asks: later both halves are nobody's. [flow.ErrNotFound] says that they are, or
// do not belong together. It does not wait for the disk.
func (s *Store) TakeExchange(ctx context.Context, initDigest, returnDigest []byte) (f *flow.Flow, sealed []byte, err error) {
	var row struct {
		foundFlow
		Exchanged []byte `db:"exchanged"`
	}
	err = s.oneFlow(ctx, &row, `SELECT `+foundFlows()+`, exchanged FROM flows WHERE exchange = ? AND exchange_return = ?`, initDigest, returnDigest)
	if err == nil && row.Exchanged != nil {
		// What was read is taken only where it is still there.
		err = s.changeFlow(ctx, row.ID, `UPDATE flows SET exchange_return = NULL, exchanged = NULL WHERE id = ? AND exchange_return = ? AND exchanged = ?`,
			row.ID, returnDigest, row.Exchanged)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("take exchange: %w", err)
	}
	f, err = row.flow()
	return f, row.Exchanged, err
}

// oneFlow reads the flow that a statement gives into row, or gives [flow.ErrNotFound].
func (s *Store) oneFlow(ctx context.Context, row any, query string, args ...any) error {
	err := s.backend.withFlows(ctx, func(p *pool) error { return p.get(ctx, row, query, args...) })
	if errors.Is(err, sql.ErrNoRows) {
		return flow.ErrNotFound
	}
	return err
}

// changeFlow changes a flow by one statement, or gives [flow.ErrNotFound] if that
// finds none.
func (s *Store) changeFlow(ctx context.Context, id uuid.UUID, query string, args ...any) error {
	s.fresh.Invalidate(id)
	var changed int64
	err := s.backend.withFlows(ctx, func(p *pool) (err error) {
		changed, err = p.exec(ctx, query, args...)
		return err
	})
	if err == nil && changed == 0 {
		return flow.ErrNotFound
	}
	return err
}
