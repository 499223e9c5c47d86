package store

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// errNotFirst says that a session is not the simple first one of its identity.
var errNotFirst = errors.New("not the first session of a registration")

// issueFirst issues sessions in one statement, or none of them. On PostgreSQL
// each statement is a round trip, and the usual session is the first of an
// identity, whose only event so far is its creation. Whatever is not like that
// (used grants, other epochs, repeated tokens) makes the statement fail, and is
// sorted out by [issue.do].
func (s *Store) issueFirst(jobs []*issueJob) error {
	const second = firstSequence + 1
	var wanted []string
	var args []any
	var outboxRows []outboxRow
	var sessionRows []sessionRow
	// In one order, so that two commits that want the same identities do not wait
	// for each other.
	jobs = slices.SortedFunc(slices.Values(jobs), func(a, b *issueJob) int {
		return bytes.Compare(a.Request.IdentityID[:], b.Request.IdentityID[:])
	})
	for _, j := range jobs {
		r := j.Request
		if r.GrantID == uuid.Nil || s.late(r) {
			return errNotFirst
		}
		event, err := newOutboxRow(j.Event(second, false))
		if err != nil {
			return err
		}
		outboxRows = append(outboxRows, event)
		sessionRows = append(sessionRows, newSessionRow(j.Session, r.Digest))
		wanted = append(wanted, "(?::uuid, ?::bigint, ?::uuid, ?::uuid, ?::text, ?::bytea, ?::bigint, ?::bigint)")
		args = append(args, r.IdentityID, r.Epoch, r.GrantID, j.Session.ID, r.ID, r.Digest[:], moment{r.RequestedAt}, moment{j.Session.IssuedAt})
	}
	rows := inserting([]insert{sessions.insert(sessionRows...), outbox.insert(outboxRows...)})
	args = append(append([]any{firstSequence, second}, args...), rows.args...)
	args = append(args, len(jobs))
	_, err := s.durable.exec(context.Background(), strings.NewReplacer("{wanted}", strings.Join(wanted, ", "), "{rows}", rows.query).Replace(issueFirstQuery), args...)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		stored := j.Session
		j.stored = &stored
	}
	return nil
}

// issueFirstQuery divides by zero when not every session that is wanted has
// found its identity and its unused grant, which undoes it all.
const issueFirstQuery = `
WITH step (former, next) AS (VALUES (?::bigint, ?::bigint)),
wanted (identity_id, epoch, grant_id, session_id, request_id, digest, requested_at, issued_at) AS (VALUES {wanted}),
counted AS (
	UPDATE identities SET sequence = step.next FROM step, wanted
	WHERE identities.id = wanted.identity_id AND identities.sequence = step.former
	AND identities.state = 'active' AND identities.epoch = wanted.epoch
	RETURNING identities.id
), used AS (
	UPDATE grants SET session_id = wanted.session_id, request_id = wanted.request_id, digest = wanted.digest,
		requested_at = wanted.requested_at, issued_at = wanted.issued_at
	FROM wanted JOIN counted ON counted.id = wanted.identity_id
	WHERE grants.id = wanted.grant_id AND grants.identity_id = wanted.identity_id
	AND grants.session_id IS NULL AND NOT grants.bypass
	RETURNING 1
), {rows}
SELECT 1 / CASE WHEN (SELECT count(*) FROM used) = ?::bigint THEN 1 ELSE 0 END`
