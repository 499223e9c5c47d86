package store

import (
	"bytes"
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

// IssueSession stores i.Session as [session.Store] says, in one durable commit
// that it may share with others. Of two requests for one grant the one that was
// made last keeps its session: an older one that comes late gets
// [session.ErrGrantUsed].
func (s *Store) IssueSession(ctx context.Context, i session.Issue) (*session.Session, error) {
	job := &issueJob{Issue: i}
	var err error
	if i.Request.GrantID == uuid.Nil || i.Request.Again {
		err = s.issueAlone(job) // what may not be a first session would break the commit of those that are
	} else {
		err = s.issues.do(ctx, job)
	}
	if err != nil {
		return nil, err
	}
	return job.stored, nil
}

// late tells whether whoever asked for a session is gone: their token must not
// replace one that somebody has.
func (s *Store) late(r session.Request) bool {
	return !r.Deadline.IsZero() && s.now().After(r.Deadline)
}

// refuseLate refuses a job that has waited too long for its turn.
func (s *Store) refuseLate(job *issueJob) error {
	if s.late(job.Request) {
		return session.ErrLate
	}
	return nil
}

// issueJob is a session that is to be issued, and in the end the one that is stored.
type issueJob struct {
	session.Issue
	stored *session.Session
}

// issueTogether issues all sessions in one commit, or none.
func (s *Store) issueTogether(jobs []*issueJob) error {
	if !s.Embedded() {
		return s.issueFirst(jobs)
	}
	return s.durable.commit(context.Background(), func(tx *tx) (err error) {
		for _, job := range jobs {
			if job.stored, err = (issue{tx, job.Issue, s}).do(); err != nil {
				return err
			}
		}
		return nil
	})
}

// issueAlone issues one session and says why it cannot be.
func (s *Store) issueAlone(job *issueJob) error {
	if !s.Embedded() {
		var down *unavailable
		if err := s.issueFirst([]*issueJob{job}); err == nil || errors.As(err, &down) {
			return err
		}
	}
	err := s.durable.commit(context.Background(), func(tx *tx) (err error) {
		job.stored, err = issue{tx, job.Issue, s}.do()
		return err
	})
	if takenColumn(err) == "sessions.token_digest" {
		err = session.ErrGrantUsed // the token is another session's
	}
	if errors.Is(err, errStored) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("issue session for %s: %w", job.Request.IdentityID, err)
	}
	return nil
}

// errStored ends a transaction that found the session stored already.
var errStored = errors.New("session is stored already")

// issue is one IssueSession inside its transaction.
type issue struct {
	tx *tx
	session.Issue
	store *Store
}

func (i issue) do() (*session.Session, error) {
	// The first statement locks the identity, so all events about it have an order.
	sequence, err := i.nextSequence()
	if err != nil {
		return nil, err
	}
	if i.store.late(i.Request) { // it has waited for the identity
		return nil, session.ErrLate
	}
	var b batch
	var bypassed bool
	if i.Request.GrantID != uuid.Nil {
		former, by, err := i.useGrant()
		if errors.Is(err, errStored) {
			return i.stored(former)
		}
		if err != nil {
			return nil, err
		}
		bypassed = by
		if former != uuid.Nil {
			if err := i.revoke(&b, former, sequence); err != nil {
				return nil, err
			}
			if sequence, err = i.nextSequence(); err != nil {
				return nil, err
			}
		}
	}
	event, err := newOutboxRow(i.Event(sequence, bypassed))
	if err != nil {
		return nil, err
	}
	b.outbox = append(b.outbox, event)
	if err := i.tx.insert(sessions.insert(newSessionRow(i.Session, i.Request.Digest)), outbox.insert(b.outbox...)); err != nil {
		return nil, err
	}
	stored := i.Session
	return &stored, nil
}

// nextSequence takes the identity's next sequence and locks it until the commit.
func (i issue) nextSequence() (int64, error) {
	var row struct {
		State    string `db:"state"`
		Epoch    int64  `db:"epoch"`
		Sequence int64  `db:"sequence"`
	}
	err := i.tx.get(&row, `UPDATE identities SET sequence = sequence + 1 WHERE id = ? RETURNING state, epoch, sequence`, i.Request.IdentityID)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return 0, session.ErrIdentityGone
	case err != nil:
		return 0, err
	case row.State != string(identity.Active), row.Epoch != i.Request.Epoch:
		return 0, session.ErrIdentityInactive
	}
	return row.Sequence, nil
}

// useGrant marks the grant as used by the new session. It gives the session
// that had used it before and is to be revoked, or with errStored the one that
// this very request has stored.
func (i issue) useGrant() (former uuid.UUID, bypassed bool, err error) {
	r := i.Request
	set := `UPDATE grants SET session_id = ?, request_id = ?, digest = ?, requested_at = ?, issued_at = ?`
	values := []any{i.Session.ID, r.ID, r.Digest[:], moment{r.RequestedAt}, moment{i.Session.IssuedAt}}

	err = i.tx.get(&bypassed, set+` WHERE id = ? AND identity_id = ? AND session_id IS NULL RETURNING bypass`,
		append(values, r.GrantID, r.IdentityID)...)
	if !errors.Is(err, sql.ErrNoRows) {
		return uuid.Nil, bypassed, err
	}
	var grant struct {
		usedRow
		CreatedAt moment `db:"created_at"`
		Bypass    bool   `db:"bypass"`
	}
	err = i.tx.get(&grant, `SELECT `+used.list()+`, created_at, bypass FROM grants WHERE id = ? AND identity_id = ?`, r.GrantID, r.IdentityID)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return uuid.Nil, false, session.ErrInvalid
	case err != nil:
		return uuid.Nil, false, err
	}
	sameRequest, sameDigest := grant.RequestID.String == r.ID, bytes.Equal(grant.Digest, r.Digest[:])
	switch {
	case sameRequest && sameDigest:
		return grant.SessionID.UUID, false, errStored
	case sameRequest, sameDigest,
		i.store.now().Sub(grant.CreatedAt.Time) > session.RepeatWindow,
		r.RequestedAt.UnixMicro() < grant.RequestedAt.UnixMicro():
		return uuid.Nil, false, session.ErrGrantUsed
	}
	_, err = i.tx.exec(set+` WHERE id = ?`, append(values, r.GrantID)...)
	return grant.SessionID.UUID, grant.Bypass, err
}

func (i issue) revoke(b *batch, former uuid.UUID, sequence int64) error {
	if _, err := i.tx.exec(`UPDATE sessions SET revoked = ? WHERE id = ?`, true, former); err != nil {
		return err
	}
	event, err := newOutboxRow(i.Replaced(former, sequence))
	b.outbox = append(b.outbox, event)
	return err
}

// stored gives a session with errStored, so that nothing is changed.
func (i issue) stored(id uuid.UUID) (*session.Session, error) {
	var row sessionRow
	if err := i.tx.get(&row, `SELECT `+sessions.list()+` FROM sessions WHERE id = ?`, id); err != nil {
		return nil, err
	}
	s, err := row.session()
	if err != nil {
		return nil, err
	}
	return s, errStored
}

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
