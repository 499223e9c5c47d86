package store

import (
	"bytes"
	"context"
	"errors"
	"math/bits"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/session"
)

// errNotDirect says that a session is not one that a single statement can issue.
var errNotDirect = errors.New("not a new session of a registration or login")

// issueDirect issues sessions in one statement, or none of them. On PostgreSQL
// each statement is a round trip. The usual session is the first of an
// identity, whose only event with a sequence so far is its creation; for that
// of a login the sequence is read first, without waiting for anybody. Whatever
// is not as the request says (used grants, other epochs, repeated tokens, another
// bypass than the grant's) makes the statement fail, and is sorted out by [issue.do].
func (s *Store) issueDirect(ctx context.Context, jobs []*issueJob) error {
	// In one order, so that two commits that want the same identities do not wait
	// for each other.
	jobs = slices.SortedFunc(slices.Values(jobs), func(a, b *issueJob) int {
		return bytes.Compare(a.Request.IdentityID[:], b.Request.IdentityID[:])
	})
	former, err := s.sequences(ctx, jobs)
	if err != nil {
		return err
	}
	var d direct
	for _, j := range jobs {
		sequence, known := former[j.Request.IdentityID]
		// A gate that looked at this sequence need not look again: a change of the
		// addresses takes the next one.
		looked := !j.Request.Verified || j.Request.Sequence == sequence
		if !known || !looked || j.Request.Refresh != uuid.Nil || s.late(j.Request) {
			return errNotDirect
		}
		if err := d.add(j.Issue, sequence); err != nil {
			return err
		}
	}
	query, args := d.statement()
	if _, err := s.durable.exec(ctx, query, args...); err != nil {
		return err
	}
	s.durable.tell()
	for _, j := range jobs {
		stored := j.Session
		j.stored = &stored
	}
	return nil
}

// sequences gives that of the last event of each identity, as it is supposed to
// be: of one with a grant the first, else what the request says, or what is stored.
func (s *Store) sequences(ctx context.Context, jobs []*issueJob) (map[uuid.UUID]int64, error) {
	former := make(map[uuid.UUID]int64, len(jobs))
	var look []any
	for _, j := range jobs {
		switch r := j.Request; {
		case r.GrantID != uuid.Nil:
			former[r.IdentityID] = firstSequence
		case r.Sequence > 0:
			former[r.IdentityID] = r.Sequence
		default:
			look = append(look, r.IdentityID)
		}
	}
	if len(look) == 0 {
		return former, nil
	}
	for bits.OnesCount(uint(len(look))) > 1 { // few lengths, few statements to prepare
		look = append(look, look[0])
	}
	var rows []struct {
		ID       uuid.UUID `db:"id"`
		Sequence int64     `db:"sequence"`
	}
	err := s.durable.list(ctx, &rows, `SELECT id, sequence FROM identities WHERE id IN (`+marks(len(look))+`)`, look...)
	for _, r := range rows {
		former[r.ID] = r.Sequence
	}
	return former, err
}

// direct is the statement of [Store.issueDirect] as it grows.
type direct struct {
	batch
	sessions []sessionRow
	wanted   []any
	grants   int
}

// wantedRow is a row of "wanted" in issueDirectQuery.
const wantedRow = "(?::uuid, ?::bigint, ?::bigint, ?::bigint, ?::uuid, ?::boolean, ?::uuid, ?::text, ?::bytea, ?::bigint, ?::bigint)"

// add adds a session of an identity whose last event had the sequence former.
func (d *direct) add(i session.Issue, former int64) error {
	r, last := i.Request, former+1
	grant := uuid.NullUUID{UUID: r.GrantID, Valid: r.GrantID != uuid.Nil}
	if grant.Valid {
		d.grants++
	}
	if err := d.event(i.Event(last, grant.Valid && r.Bypass)); err != nil {
		return err
	}
	if i.Login != nil && r.Login != uuid.Nil {
		last++
		if err := d.event(i.Login(last, i.Session.ID)); err != nil {
			return err
		}
	}
	d.sessions = append(d.sessions, newSessionRow(i.Session, r.Digest))
	d.wanted = append(d.wanted, r.IdentityID, r.Epoch, former, last, grant, r.Bypass,
		i.Session.ID, r.ID, r.Digest[:], moment{r.RequestedAt}, moment{i.Session.IssuedAt})
	return nil
}

func (d *direct) statement() (query string, args []any) {
	n := len(d.sessions)
	rows := inserting([]insert{sessions.insert(d.sessions...), outbox.insert(d.outbox...)})
	wanted := wantedRow + strings.Repeat(", "+wantedRow, n-1)
	args = append(d.wanted, rows.args...)
	return strings.NewReplacer("{wanted}", wanted, "{rows}", rows.query).Replace(issueDirectQuery), append(args, n, d.grants)
}

// issueDirectQuery divides by zero when not every session that is wanted has
// found its identity, or not every grant is unused, which undoes it all.
const issueDirectQuery = `
WITH wanted (identity_id, epoch, former, next, grant_id, bypass, session_id, request_id, digest, requested_at, issued_at) AS (VALUES {wanted}),
counted AS (
	UPDATE identities SET sequence = wanted.next FROM wanted
	WHERE identities.id = wanted.identity_id AND identities.sequence = wanted.former
	AND identities.state = 'active' AND identities.epoch = wanted.epoch
	RETURNING identities.id
), used AS (
	UPDATE grants SET session_id = wanted.session_id, request_id = wanted.request_id, digest = wanted.digest,
		requested_at = wanted.requested_at, issued_at = wanted.issued_at
	FROM wanted JOIN counted ON counted.id = wanted.identity_id
	WHERE grants.id = wanted.grant_id AND grants.identity_id = wanted.identity_id
	AND grants.session_id IS NULL AND grants.bypass = wanted.bypass
	RETURNING 1
), {rows}
SELECT 1 / CASE WHEN (SELECT count(*) FROM counted) = ?::bigint AND (SELECT count(*) FROM used) = ?::bigint THEN 1 ELSE 0 END`
