package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/delivery"
)

// EventHead gives the seq and hash of the last record of the event log, also
// when it was pruned since; zero when there was none.
func (s *Store) EventHead(ctx context.Context) (seq int64, hash audit.Hash, err error) {
	end, err := head(func(row any, query string, args ...any) error { return s.reads.get(ctx, row, query, args...) })
	if err != nil {
		return 0, audit.Hash{}, fmt.Errorf("event head: %w", err)
	}
	return end.Seq, end.hash(), nil
}

// EventSpan gives the first and the last seq that the event log holds, zero when
// it holds none. There is no gap between them: it holds last-first+1 records.
func (s *Store) EventSpan(ctx context.Context) (first, last int64, err error) {
	var row struct {
		First int64 `db:"first"`
		Last  int64 `db:"last"`
	}
	err = s.reads.get(ctx, &row, `SELECT coalesce((SELECT min(seq) FROM event_log), 0) AS first, coalesce((SELECT max(seq) FROM event_log), 0) AS last`)
	if err != nil {
		return 0, 0, fmt.Errorf("event span: %w", err)
	}
	return row.First, row.Last, nil
}

// Events gives the records that q selects, by seq. A page costs the same
// wherever it is, with filters too; each type adds the cost of a page.
func (s *Store) Events(ctx context.Context, q audit.Query) ([]audit.Record, error) {
	if err := s.boundByTime(ctx, &q); err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	if q.Limit <= 0 {
		q.Limit = 100
	}
	condition, args := s.eventsWhere(q)
	var rows []eventRow
	err := s.reads.list(ctx, &rows, `SELECT `+eventLog.list()+` FROM event_log WHERE `+condition+` ORDER BY seq`+descending(q)+` LIMIT ?`, append(args, q.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	records := make([]audit.Record, len(rows))
	for n, r := range rows {
		records[n] = r.record()
	}
	return records, nil
}

// boundByTime makes the times of q seqs.
func (s *Store) boundByTime(ctx context.Context, q *audit.Query) error {
	if !q.Since.IsZero() {
		before, err := s.loggedBefore(ctx, q.Since)
		if err != nil {
			return err
		}
		q.After = max(q.After, before)
	}
	if !q.Until.IsZero() {
		last, err := s.loggedBefore(ctx, q.Until)
		if err != nil {
			return err
		}
		if q.Before == 0 || q.Before > last+1 {
			q.Before = last + 1
		}
	}
	return nil
}

// descending is what makes an order the one of q.
func descending(q audit.Query) string {
	if q.Newest {
		return ` DESC`
	}
	return ``
}

// eventsWhere gives the condition of q but for its limit.
func (s *Store) eventsWhere(q audit.Query) (condition string, args []any) {
	types := slices.Compact(slices.Sorted(slices.Values(q.Types)))
	if q.Subject == "" && len(types) > 0 {
		return s.anyType(q, types)
	}
	condition, args = `seq > ?`, []any{q.After}
	if q.Newest || q.Before != 0 {
		condition, args = condition+` AND seq < ?`, append(args, before(q))
	}
	if q.Subject == "" {
		return condition, args
	}
	condition, args = `subject = ? AND `+condition, append([]any{q.Subject}, args...)
	if len(types) > 0 {
		condition += ` AND type || '' IN (` + marks(len(types)) + `)` // by the index of the subject, which selects more
		for _, t := range types {
			args = append(args, t)
		}
	}
	return condition, args
}

// before is the seq that the records of q are before.
func before(q audit.Query) int64 {
	if q.Before == 0 {
		return math.MaxInt64
	}
	return q.Before
}

// anyType selects the first page of each type: the page that is wanted is among
// them. PostgreSQL plans a prepared statement without knowing that a type is
// rare, or how long the page is: then it would rather read the log in its order
// until it has found enough. So the length is in the text, and the order is one
// that only the index of types has.
func (s *Store) anyType(q audit.Query, types []string) (condition string, args []any) {
	length := 64
	for length < q.Limit { // few lengths, few statements to prepare
		length *= 4
	}
	bounded := q.Newest || q.Before != 0
	pages := make([]string, len(types))
	for n, t := range types {
		// SQLite needs no help, and reads rows that are compared from the type's start.
		where, order, of := `type = ? AND seq > ?`, `seq`+descending(q), []any{t, q.After}
		if bounded {
			where, of = where+` AND seq < ?`, append(of, before(q))
		}
		if !s.Embedded() {
			where, order, of = `(type, seq) > (?, ?)`, `type`+descending(q)+`, seq`+descending(q), []any{t, q.After}
			if bounded {
				where, of = where+` AND (type, seq) < (?, ?)`, append(of, t, before(q))
			} else {
				where, of = where+` AND type <= ?`, append(of, t)
			}
		}
		pages[n] = fmt.Sprintf(`SELECT seq FROM (SELECT seq FROM event_log WHERE %s ORDER BY %s LIMIT %d) AS page%d`, where, order, length, n)
		args = append(args, of...)
	}
	return `seq IN (` + strings.Join(pages, ` UNION ALL `) + `)`, args
}

// loggedBefore gives the last seq that was logged before the given time, or one
// before the first, by halving: there is no gap between seqs, and logged_at
// never goes back.
func (s *Store) loggedBefore(ctx context.Context, at time.Time) (seq int64, err error) {
	const steps = int64(1) << 40 // there will not be more records
	err = s.reads.get(ctx, &seq, `WITH RECURSIVE search (seq, step) AS (
		SELECT coalesce(min(seq), 1) - 1, CAST(? AS bigint) FROM event_log
		UNION ALL
		SELECT CASE WHEN (SELECT logged_at FROM event_log e WHERE e.seq = search.seq + search.step) < ? THEN seq + step ELSE seq END, step / 2
		FROM search WHERE step > 0) SELECT max(seq) FROM search`, steps, moment{at})
	return seq, err
}

// EventPayload gives an event's canonical JSON and its type, or
// [delivery.ErrNoEvent]: it is not in the log yet, or not any more.
func (s *Store) EventPayload(ctx context.Context, id uuid.UUID) (payload []byte, eventType string, err error) {
	var row struct {
		Type    string `db:"type"`
		Payload []byte `db:"payload"`
	}
	err = s.reads.get(ctx, &row, `SELECT type, payload FROM event_log WHERE event_id = ?
		UNION ALL SELECT type, payload FROM outbox WHERE event_id = ?`, id, id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, "", delivery.ErrNoEvent
	}
	if err != nil {
		return nil, "", fmt.Errorf("payload of event %s: %w", id, err)
	}
	return row.Payload, row.Type, nil
}

// EventRecord gives the record of an event, or [delivery.ErrNoEvent].
func (s *Store) EventRecord(ctx context.Context, id uuid.UUID) (audit.Record, error) {
	var row eventRow
	err := s.reads.get(ctx, &row, `SELECT `+eventLog.list()+` FROM event_log WHERE event_id = ?`, id)
	if errors.Is(err, sql.ErrNoRows) {
		return audit.Record{}, delivery.ErrNoEvent
	}
	if err != nil {
		return audit.Record{}, fmt.Errorf("record of event %s: %w", id, err)
	}
	return row.record(), nil
}

func (r eventRow) record() audit.Record {
	rec := audit.Record{
		Seq:       r.Seq,
		EventID:   r.EventID.String(),
		StreamSeq: uint64(r.StreamSeq),
		Type:      r.Type,
		Subject:   r.Subject,
		Payload:   r.Payload,
		LoggedAt:  r.LoggedAt.Time,
	}
	copy(rec.Former[:], r.Former)
	copy(rec.Hash[:], r.Hash)
	return rec
}
