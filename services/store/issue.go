package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
)

// IssueSession stores i.Session as [session.Store] says, in one durable commit
// that it may share with others. Of two requests for one grant the one that was
// made last keeps its session: an older one that comes late gets
// [session.ErrGrantUsed].
//
// A login, which has no grant, is known by its token: the session that has it
// already is given, with nothing stored. A refresh is known by the id of its
// event. It gives [session.ErrInvalid] when no session has the id, identity and
// token, [session.ErrIdentityInactive] when that session does not live.
func (s *Store) IssueSession(ctx context.Context, i session.Issue) (*session.Session, error) {
	job := &issueJob{Issue: i}
	var err error
	switch r := i.Request; {
	case r.Again, r.Refresh != uuid.Nil:
		err = s.issueAlone(endless(ctx), job) // it would break the commit of those that are new
	case r.GrantID == uuid.Nil:
		err = s.logins.do(ctx, job)
	default:
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
func (s *Store) issueTogether(ctx context.Context, jobs []*issueJob) error {
	if !s.Embedded() {
		return s.issueDirect(ctx, jobs)
	}
	return s.durable.commit(ctx, func(tx *tx) (err error) {
		for _, job := range jobs {
			if job.stored, err = (issue{tx, job.Issue, s}).do(); err != nil {
				return err
			}
		}
		return nil
	})
}

// issueAlone issues one session and says why it cannot be.
func (s *Store) issueAlone(ctx context.Context, job *issueJob) error {
	if !s.Embedded() {
		var down *unavailable
		if err := s.issueDirect(ctx, []*issueJob{job}); err == nil || errors.As(err, &down) {
			return err
		}
	}
	err := s.durable.commit(ctx, func(tx *tx) (err error) {
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

// errStored ends a transaction that found what it was to store stored already.
var errStored = errors.New("is stored already")

// issue is one IssueSession inside its transaction.
type issue struct {
	tx *tx
	session.Issue
	store *Store
}

// do gives the session that is stored in the end; with errStored it was before,
// and nothing is to be changed.
func (i issue) do() (*session.Session, error) {
	who, err := i.identity()
	if err != nil {
		return nil, err
	}
	if i.store.late(i.Request) { // it has waited for the identity
		return nil, session.ErrLate
	}
	var stored *session.Session
	b := &batch{}
	switch r := i.Request; {
	case r.Refresh != uuid.Nil:
		stored, err = i.refresh()
	case r.GrantID != uuid.Nil:
		stored, err = i.byGrant(b, who)
	default:
		stored, err = i.byLogin(b, who)
	}
	if err != nil {
		return stored, err
	}
	if i.Login != nil && i.Request.Login != uuid.Nil {
		if err := b.event(i.Login(who.next(), stored.ID)); err != nil {
			return nil, err
		}
	}
	if err := i.tx.insert(outbox.insert(b.outbox...)); err != nil {
		return nil, err
	}
	return stored, who.settle()
}

// identity locks whose session it is to be, with the places of the usual events.
func (i issue) identity() (*subject, error) {
	places := int64(1)
	if i.Request.Login != uuid.Nil && i.Request.Refresh == uuid.Nil {
		places = 2
	}
	who, err := lock(i.tx, i.Request.IdentityID, places)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, session.ErrIdentityGone
	case err != nil:
		return nil, err
	case who.State != string(identity.Active), who.Epoch != i.Request.Epoch:
		return nil, session.ErrIdentityInactive
	case !i.Request.Verified:
		return who, nil
	}
	// What was verified when the gate looked may have been changed since.
	var verified bool
	err = i.tx.get(&verified, `SELECT EXISTS (SELECT 1 FROM addresses WHERE identity_id = ? AND verifiable AND verified)`, who.id)
	if err == nil && !verified {
		err = session.ErrIdentityInactive
	}
	return who, err
}

// byGrant stores the session that a registration's grant entitles to.
func (i issue) byGrant(b *batch, who *subject) (*session.Session, error) {
	former, bypassed, err := i.useGrant()
	if errors.Is(err, errStored) {
		found, err := i.stored(`id = ?`, former)
		if errors.Is(err, sql.ErrNoRows) { // it was deleted since
			err = session.ErrGrantUsed
		}
		return found, err
	}
	if err != nil {
		return nil, err
	}
	if former != uuid.Nil {
		if err := b.event(i.Replaced(former, who.next())); err != nil {
			return nil, err
		}
	}
	return i.insert(b, who, bypassed)
}

// byLogin stores the session of a login, unless its token has one.
func (i issue) byLogin(b *batch, who *subject) (*session.Session, error) {
	stored, err := i.stored(`token_digest = ? AND identity_id = ?`, i.Request.Digest[:], i.Request.IdentityID)
	if !errors.Is(err, sql.ErrNoRows) {
		return stored, err
	}
	return i.insert(b, who, false)
}

func (i issue) insert(b *batch, who *subject, bypassed bool) (*session.Session, error) {
	if err := b.event(i.Event(who.next(), bypassed)); err != nil {
		return nil, err
	}
	stored := i.Session
	return &stored, i.tx.insert(sessions.insert(newSessionRow(i.Session, i.Request.Digest)))
}

// maxMethods is how many authentications a session that is refreshed again and
// again remembers, the latest ones.
const maxMethods = 32

// refresh makes the session of the request's token fresh.
func (i issue) refresh() (*session.Session, error) {
	r := i.Request
	if r.Login == uuid.Nil || i.Login == nil {
		return nil, session.ErrInvalid
	}
	mine, args := `id = ? AND identity_id = ? AND token_digest = ?`, []any{r.Refresh, r.IdentityID, r.Digest[:]}
	found, err := i.stored(mine, args...)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, session.ErrInvalid
	case !errors.Is(err, errStored):
		return nil, err
	}
	var again bool
	err = i.tx.get(&again, `SELECT EXISTS (SELECT 1 FROM outbox WHERE event_id = ?) OR EXISTS (SELECT 1 FROM event_log WHERE event_id = ?)`, r.Login, r.Login)
	switch {
	case err != nil:
		return nil, err
	case again:
		return found, errStored
	case !found.Active(i.store.now()), found.Epoch != r.Epoch:
		return nil, session.ErrIdentityInactive
	}
	found.AuthenticatedAt = i.Session.AuthenticatedAt
	found.Methods = append(found.Methods, i.Session.Methods...)
	found.Methods = slices.Clone(found.Methods[max(0, len(found.Methods)-maxMethods):])
	_, err = i.tx.exec(`UPDATE sessions SET authenticated_at = ?, methods = ? WHERE `+mine,
		append([]any{moment{found.AuthenticatedAt}, encode(found.Methods)}, args...)...)
	return found, err
}

// useGrant marks the grant as used by the new session. It gives the session
// that had used it before, which is revoked now, or with errStored the one that
// this very request has stored. Only the first session of a grant bypasses
// anything: the one in its place comes of the same right.
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
	}
	err = i.tx.get(&grant, `SELECT `+used.list()+`, created_at FROM grants WHERE id = ? AND identity_id = ?`, r.GrantID, r.IdentityID)
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
	// Only a session that lives is replaced: who has signed out, or was put out, is
	// not let in by the same right again.
	revoked, err := i.tx.exec(`UPDATE sessions SET revoked = ? WHERE id = ? AND NOT revoked AND epoch = ?`, true, grant.SessionID.UUID, r.Epoch)
	switch {
	case err != nil:
		return uuid.Nil, false, err
	case revoked == 0:
		return uuid.Nil, false, session.ErrGrantUsed
	}
	_, err = i.tx.exec(set+` WHERE id = ?`, append(values, r.GrantID)...)
	return grant.SessionID.UUID, false, err
}

// stored gives the session that a condition names with errStored, or [sql.ErrNoRows].
func (i issue) stored(condition string, args ...any) (*session.Session, error) {
	var row sessionRow
	if err := i.tx.get(&row, `SELECT `+sessions.list()+` FROM sessions WHERE `+condition, args...); err != nil {
		return nil, err
	}
	s, err := row.session()
	if err != nil {
		return nil, err
	}
	return s, errStored
}
