package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
)

type flowRow struct {
	ID                        uuid.UUID     `db:"id"`
	Kind                      string        `db:"kind"`
	Type                      string        `db:"type"`
	State                     string        `db:"state"`
	Active                    string        `db:"active"`
	SchemaID                  string        `db:"schema_id"`
	RequestURL                string        `db:"request_url"`
	ReturnTo                  string        `db:"return_to"`
	AfterVerificationReturnTo string        `db:"after_verification_return_to"`
	CSRF                      []byte        `db:"csrf"`
	Form                      document      `db:"form"`
	Refresh                   bool          `db:"refresh"`
	Link                      document      `db:"link"`
	Exchange                  []byte        `db:"exchange"`
	IdentityID                uuid.NullUUID `db:"identity_id"`
	IssuedAt                  moment        `db:"issued_at"`
	ExpiresAt                 moment        `db:"expires_at"`
}

var flows = tableOf[flowRow]("flows")

// foundFlow is a flow with what becomes of it besides its form.
type foundFlow struct {
	flowRow
	Attempt document `db:"attempt"`
	Version int      `db:"version"`
	Tries   int      `db:"tries"`
}

// foundFlows gives the columns of a foundFlow for a SELECT. An attempt without its
// digest was taken.
func foundFlows() string {
	return flows.list() + `, CASE WHEN attempt_digest IS NOT NULL THEN attempt END AS attempt, version, tries`
}

// CreateFlow stores a flow, without waiting for the disk, but for an attempt: that
// is begun later. When there are too many the oldest go, see [Options].MaxFlows.
func (s *Store) CreateFlow(ctx context.Context, f *flow.Flow) error {
	if err := s.insertFlow(ctx, f); err != nil {
		return fmt.Errorf("create flow: %w", err)
	}
	if s.flows.due() {
		s.dropFlows(ctx)
	}
	if f.Kind != flow.Verification && f.Kind != flow.Recovery && f.Kind != flow.Settings { // which live through several submits, anywhere
		s.fresh.Set(f.ID, *f)
	}
	return nil
}

func (s *Store) insertFlow(ctx context.Context, f *flow.Flow) error {
	row := newFlowRow(f)
	return s.backend.withFlows(ctx, func(p *pool) error {
		for _, st := range flows.insert(row).statements() {
			if _, err := p.exec(ctx, st.query, st.args...); err != nil {
				return err
			}
		}
		return nil
	})
}

// maxFresh bounds the memory of flows that were just made, a few KiB each.
const maxFresh = 4096

// Flow gives a flow, expired or not, or [flow.ErrNotFound].
func (s *Store) Flow(ctx context.Context, id uuid.UUID) (*flow.Flow, error) {
	var row foundFlow
	err := s.backend.withFlows(ctx, func(p *pool) error {
		return p.get(ctx, &row, `SELECT `+foundFlows()+` FROM flows WHERE id = ?`, id)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, flow.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("flow %s: %w", id, err)
	}
	return row.flow()
}

// FlowAndGrant gives a flow and tells whether it was completed. A flow that
// was completed may be gone: f is nil then. [flow.ErrNotFound] says that there
// is neither.
//
// The first time for a flow that this process made it is answered from memory,
// without its latest form or attempt. Should another process have completed the flow, only
// [Store.Register] tells so, as it does when two submits come at once.
func (s *Store) FlowAndGrant(ctx context.Context, id uuid.UUID) (f *flow.Flow, granted bool, err error) {
	if fresh, ok := s.fresh.Invalidate(id); ok {
		return &fresh, false, nil
	}
	f, granted, err = s.flowAndGrant(ctx, id)
	switch {
	case err != nil:
		return nil, false, fmt.Errorf("flow %s: %w", id, err)
	case f == nil && !granted:
		return nil, false, flow.ErrNotFound
	}
	return f, granted, nil
}

// flowAndGrant is one statement where both tables are in one database and the
// flow is there, as it mostly is.
func (s *Store) flowAndGrant(ctx context.Context, id uuid.UUID) (f *flow.Flow, granted bool, err error) {
	const exists = `EXISTS (SELECT 1 FROM grants WHERE flow_id = ?)`
	if s.backend.embedded() {
		f, err = s.Flow(ctx, id)
	} else {
		var row struct {
			foundFlow
			Granted bool `db:"granted"`
		}
		err = s.reads.get(ctx, &row, `SELECT `+foundFlows()+`, `+exists+` AS granted FROM flows WHERE id = ?`, id, id)
		if err == nil {
			f, err = row.flow()
			return f, row.Granted, err
		}
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) && !errors.Is(err, flow.ErrNotFound) {
		return nil, false, err
	}
	err = s.reads.get(ctx, &granted, `SELECT `+exists, id)
	return f, granted, err
}

// SaveFlow keeps the state, the active method, the form and the CSRF digest of a
// flow, without waiting for the disk, and gives f its new version. All else
// stays as it is stored.
//
// A verification flow takes several submits, by any process: where it was saved
// since f was read, or is gone, nothing is changed and [flow.ErrChanged] says so.
// Only that it has passed its challenge is saved whatever it was before, and from
// there it does not go back.
func (s *Store) SaveFlow(ctx context.Context, f *flow.Flow) error {
	s.fresh.Invalidate(f.ID)
	query := `UPDATE flows SET state = ?, active = ?, csrf = ?, form = ?, version = version + 1 WHERE id = ? AND (state <> ? OR state = ?)`
	args := []any{f.State, f.Active, f.CSRF, formDocument(f), f.ID, flow.PassedChallenge, f.State}
	compares := (f.Kind == flow.Verification || f.Kind == flow.Recovery) && f.State != flow.PassedChallenge
	if compares {
		query, args = query+` AND version = ?`, append(args, f.Version)
	}
	var version []int
	err := s.backend.withFlows(ctx, func(p *pool) error {
		return p.list(ctx, &version, query+` RETURNING version`, args...)
	})
	if err == nil && len(version) == 0 && compares {
		err = flow.ErrChanged
	}
	if err != nil {
		return fmt.Errorf("save flow %s: %w", f.ID, err)
	}
	if len(version) > 0 {
		f.Version = version[0]
	}
	return nil
}

// ForgiveTry takes back a try that was counted, without waiting for the disk.
func (s *Store) ForgiveTry(ctx context.Context, id uuid.UUID) error {
	err := s.backend.withFlows(ctx, func(p *pool) error {
		_, err := p.exec(ctx, `UPDATE flows SET tries = tries - 1 WHERE id = ? AND tries > 0`, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("forgive try of flow %s: %w", id, err)
	}
	return nil
}

// CountTry counts a code that is tried and gives the number so far, this one
// included, or [flow.ErrNotFound]. It does not wait for the disk.
func (s *Store) CountTry(ctx context.Context, flowID uuid.UUID) (int, error) {
	var tries []int
	err := s.backend.withFlows(ctx, func(p *pool) error {
		return p.list(ctx, &tries, `UPDATE flows SET tries = tries + 1 WHERE id = ? RETURNING tries`, flowID)
	})
	if err != nil {
		return 0, fmt.Errorf("count try of flow %s: %w", flowID, err)
	}
	if len(tries) == 0 {
		return 0, flow.ErrNotFound
	}
	return tries[0], nil
}

// DeleteExpiredFlows deletes at most limit flows whose time is over, the
// oldest first, and tells how many.
func (s *Store) DeleteExpiredFlows(ctx context.Context, limit int) (int, error) {
	var deleted int64
	err := s.backend.withFlows(ctx, func(p *pool) (err error) {
		deleted, err = p.exec(ctx, `DELETE FROM flows WHERE n IN (SELECT n FROM flows WHERE expires_at <= ? ORDER BY n LIMIT ?)`,
			moment{s.now()}, limit)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("delete expired flows: %w", err)
	}
	return int(deleted), nil
}

func newFlowRow(f *flow.Flow) flowRow {
	return flowRow{
		ID:                        f.ID,
		Kind:                      string(f.Kind),
		Type:                      string(f.Type),
		State:                     f.State,
		Active:                    f.Active,
		SchemaID:                  f.SchemaID,
		RequestURL:                f.RequestURL,
		ReturnTo:                  f.ReturnTo,
		AfterVerificationReturnTo: f.AfterVerificationReturnTo,
		CSRF:                      f.CSRF,
		Form:                      formDocument(f),
		Refresh:                   f.Refresh,
		Link:                      linkDocument(f.Link),
		Exchange:                  f.Exchange,
		IdentityID:                uuid.NullUUID{UUID: f.IdentityID, Valid: f.IdentityID != uuid.Nil},
		IssuedAt:                  moment{f.IssuedAt},
		ExpiresAt:                 moment{f.ExpiresAt},
	}
}

func (r foundFlow) flow() (*flow.Flow, error) {
	f := &flow.Flow{
		ID:                        r.ID,
		Kind:                      flow.Kind(r.Kind),
		Type:                      flow.Type(r.Type),
		State:                     r.State,
		Active:                    r.Active,
		SchemaID:                  r.SchemaID,
		RequestURL:                r.RequestURL,
		ReturnTo:                  r.ReturnTo,
		AfterVerificationReturnTo: r.AfterVerificationReturnTo,
		CSRF:                      r.CSRF,
		Refresh:                   r.Refresh,
		Exchange:                  r.Exchange,
		IdentityID:                r.IdentityID.UUID,
		Version:                   r.Version,
		Tries:                     r.Tries,
		IssuedAt:                  r.IssuedAt.Time,
		ExpiresAt:                 r.ExpiresAt.Time,
	}
	return f, errors.Join(r.form(f), decodeUnlessNull(r.Attempt, &f.Attempt), decodeUnlessNull(r.Link, &f.Link))
}

func decodeUnlessNull(d document, into any) error {
	if d == nil {
		return nil
	}
	return d.decode(into)
}

func linkDocument(l *flow.Link) document {
	if l == nil {
		return nil
	}
	return encode(l)
}

// storedForm is a form as it is stored, and the languages beside it. It is only written:
// read it would be a form alone, which decodes itself.
type storedForm struct {
	flow.Form
	Languages string `json:"language,omitempty"`
}

// formDocument is nil where there is nothing to keep.
func formDocument(f *flow.Flow) document {
	if f.Form.Empty() && f.Languages == "" {
		return nil
	}
	return encode(storedForm{f.Form, f.Languages})
}

// form gives f what its form holds.
func (r foundFlow) form(f *flow.Flow) error {
	if r.Form == nil {
		return nil
	}
	var beside struct {
		Languages string `json:"language"`
	}
	err := errors.Join(r.Form.decode(&f.Form), r.Form.decode(&beside))
	f.Languages = beside.Languages
	return err
}
