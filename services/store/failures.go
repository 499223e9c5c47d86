package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
)

type failureRow struct {
	Hook      string    `db:"hook"`
	EventID   uuid.UUID `db:"event_id"`
	State     string    `db:"state"`
	Attempts  int       `db:"attempts"`
	Round     int       `db:"round"`
	Reason    string    `db:"reason"`
	StreamSeq int64     `db:"stream_seq"`
	FirstAt   moment    `db:"first_at"`
	LastAt    moment    `db:"last_at"`
	NextAt    moment    `db:"next_at"`
}

var failures = tableOf[failureRow]("hook_failures")

// foundFailure is a failure with its number, which the database gives.
type foundFailure struct {
	N int64 `db:"n"`
	failureRow
}

// listedFailure is one of a list, which tells the type of the event.
type listedFailure struct {
	foundFailure
	EventType string `db:"event_type"`
}

// published is the condition of a failure that is in the stream again and was
// not reported since.
const published = `state = 'waiting' AND next_at IS NULL`

// maxDue is how many failures are leased at once.
const maxDue = 1024

func newFailureRow(f delivery.Failure) (failureRow, error) {
	id, err := uuid.Parse(f.EventID)
	if err != nil {
		return failureRow{}, fmt.Errorf("event id: %w", err)
	}
	return failureRow{
		Hook:      f.Hook,
		EventID:   id,
		State:     string(f.State),
		Attempts:  f.Attempts,
		Round:     f.Round,
		Reason:    f.Reason,
		StreamSeq: int64(f.StreamSeq),
		FirstAt:   moment{f.FirstAt},
		LastAt:    moment{f.LastAt},
		NextAt:    moment{f.NextAt},
	}, nil
}

func (r foundFailure) failure() delivery.Failure {
	return delivery.Failure{
		N:         r.N,
		Hook:      r.Hook,
		EventID:   r.EventID.String(),
		State:     delivery.State(r.State),
		Attempts:  r.Attempts,
		Round:     r.Round,
		Reason:    r.Reason,
		StreamSeq: uint64(r.StreamSeq),
		FirstAt:   r.FirstAt.Time,
		LastAt:    r.LastAt.Time,
		NextAt:    r.NextAt.Time,
	}
}

func failuresOf(rows []foundFailure) []delivery.Failure {
	all := make([]delivery.Failure, len(rows))
	for n, r := range rows {
		all[n] = r.failure()
	}
	return all
}

// Failure gives what a hook has failed at, or [delivery.ErrNoFailure].
func (s *Store) Failure(ctx context.Context, hook string, eventID uuid.UUID) (delivery.Failure, error) {
	var row foundFailure
	err := s.reads.get(ctx, &row, `SELECT n, `+failures.list()+` FROM hook_failures WHERE event_id = ? AND hook = ?`, eventID, hook)
	if errors.Is(err, sql.ErrNoRows) {
		return delivery.Failure{}, delivery.ErrNoFailure
	}
	if err != nil {
		return delivery.Failure{}, fmt.Errorf("failure of %s at %s: %w", hook, eventID, err)
	}
	return row.failure(), nil
}

// SaveFailure stores a failure, with events, in one durable commit if the stored
// one is still former, by its State, Attempts and Round (nil: there is none),
// and tells whether it was.
func (s *Store) SaveFailure(ctx context.Context, former *delivery.Failure, f delivery.Failure, es ...events.Event) (bool, error) {
	row, err := newFailureRow(f)
	if err != nil {
		return false, fmt.Errorf("save failure of %s: %w", f.Hook, err)
	}
	err = s.durable.commit(ctx, func(tx *tx) error {
		changed, err := saveFailure(tx, former, row)
		if err != nil {
			return err
		}
		if changed == 0 {
			return errStored
		}
		for _, e := range es {
			if err := appendEvent(tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errStored) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("save failure of %s at %s: %w", f.Hook, f.EventID, err)
	}
	return true, nil
}

func saveFailure(tx *tx, former *delivery.Failure, r failureRow) (changed int64, err error) {
	if former == nil {
		st := failures.insert(r).statements()[0]
		return tx.exec(st.query+` ON CONFLICT (event_id, hook) DO NOTHING`, st.args...)
	}
	return tx.exec(`UPDATE hook_failures SET state = ?, attempts = ?, round = ?, reason = ?, stream_seq = ?, first_at = ?, last_at = ?, next_at = ?
		WHERE event_id = ? AND hook = ? AND state = ? AND attempts = ? AND round = ?`,
		r.State, r.Attempts, r.Round, r.Reason, r.StreamSeq, r.FirstAt, r.LastAt, r.NextAt,
		r.EventID, r.Hook, string(former.State), former.Attempts, former.Round)
}

// DueFailures gives at most limit, and at most 1024, failures whose NextAt has
// come, the longest due first, and puts it off by lease from now: no other
// process gets them meanwhile. That does not wait for the disk: after a power
// cut they are due again. Their NextAt is what it was.
func (s *Store) DueFailures(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]delivery.Failure, error) {
	skip := ""
	if !s.Embedded() {
		skip = ` FOR UPDATE SKIP LOCKED` // SQLite has one writer
	}
	var rows []foundFailure
	err := s.relaxed.commit(ctx, func(tx *tx) error {
		err := tx.list(&rows, `SELECT n, `+failures.list()+` FROM hook_failures WHERE next_at <= ? ORDER BY next_at, n LIMIT ?`+skip,
			moment{now}, min(limit, maxDue))
		if err != nil || len(rows) == 0 {
			return err
		}
		args := []any{moment{now.Add(lease)}}
		for _, r := range rows {
			args = append(args, r.N)
		}
		for bits.OnesCount(uint(len(args)-1)) > 1 { // few lengths, few statements to prepare
			args = append(args, args[1])
		}
		_, err = tx.exec(`UPDATE hook_failures SET next_at = ? WHERE n IN (`+marks(len(args)-1)+`)`, args...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("due failures: %w", err)
	}
	return failuresOf(rows), nil
}

// NextDue is when the next failure is due; zero if none is. One that is leased
// is due when its lease ends.
func (s *Store) NextDue(ctx context.Context) (time.Time, error) {
	var next moment
	if err := s.reads.get(ctx, &next, `SELECT min(next_at) FROM hook_failures WHERE next_at IS NOT NULL`); err != nil {
		return time.Time{}, fmt.Errorf("next due failure: %w", err)
	}
	return next.Time, nil
}

// RetryPublished says that f, as it was when it was due, is in the stream: it
// has no NextAt any more unless it has changed meanwhile. It does not wait for
// the disk: after a power cut f is published again.
func (s *Store) RetryPublished(ctx context.Context, f delivery.Failure, streamSeq uint64) error {
	id, err := uuid.Parse(f.EventID)
	if err == nil {
		_, err = s.relaxed.exec(ctx, `UPDATE hook_failures SET next_at = NULL, stream_seq = ?
			WHERE event_id = ? AND hook = ? AND state = 'waiting' AND attempts = ? AND round = ?`, int64(streamSeq), id, f.Hook, f.Attempts, f.Round)
	}
	if err != nil {
		return fmt.Errorf("retry of %s at %s published: %w", f.Hook, f.EventID, err)
	}
	return nil
}

// RetriesLost makes the published failures of a hook that were last reported
// before a time due now, and tells how many. It does not wait for the disk.
func (s *Store) RetriesLost(ctx context.Context, hook string, before time.Time) (int, error) {
	now := moment{s.now()}
	lost, err := s.relaxed.exec(ctx, `UPDATE hook_failures SET next_at = ?, last_at = ? WHERE hook = ? AND last_at < ? AND `+published,
		now, now, hook, moment{before})
	if err != nil {
		return 0, fmt.Errorf("retries of %s lost: %w", hook, err)
	}
	return int(lost), nil
}

// RetriesDone marks the published failures of a hook up to a stream sequence as
// done, and tells how many. It does not wait for the disk.
func (s *Store) RetriesDone(ctx context.Context, hook string, upTo uint64) (int, error) {
	done, err := s.relaxed.exec(ctx, `UPDATE hook_failures SET state = 'done', last_at = ? WHERE hook = ? AND stream_seq <= ? AND `+published,
		moment{s.now()}, hook, int64(upTo))
	if err != nil {
		return 0, fmt.Errorf("retries of %s done: %w", hook, err)
	}
	return int(done), nil
}

// FailedAt tells whether a hook has reported the message with that stream
// sequence. It forgets a message once the retry of its event is published.
func (s *Store) FailedAt(ctx context.Context, hook string, streamSeq uint64) (failed bool, err error) {
	err = s.reads.get(ctx, &failed, `SELECT EXISTS (SELECT 1 FROM hook_failures
		WHERE hook = ? AND stream_seq = ? AND stream_seq > 0 AND state <> 'done' AND NOT (`+published+`))`, hook, int64(streamSeq))
	if err != nil {
		return false, fmt.Errorf("whether %s failed: %w", hook, err)
	}
	return failed, nil
}

// Failures gives the failures that q selects, by N.
func (s *Store) Failures(ctx context.Context, q delivery.FailureQuery) ([]delivery.Failure, error) {
	where, args := []string{`n > ?`}, []any{q.After}
	if q.Hook != "" {
		where, args = append(where, `hook = ?`), append(args, q.Hook)
	}
	if q.State != "" {
		where, args = append(where, `state = ?`), append(args, string(q.State))
	}
	if q.EventID != "" {
		id, err := uuid.Parse(q.EventID)
		if err != nil {
			return []delivery.Failure{}, nil //nolint:nilerr // no event has such an id
		}
		where, args = append(where, `event_id = ?`), append(args, id)
	}
	if q.EventType != "" {
		where, args = append(where, `EXISTS (SELECT 1 FROM event_log e WHERE e.event_id = hook_failures.event_id AND e.type = ?)`), append(args, q.EventType)
	}
	if q.Reason != "" {
		where, args = append(where, `lower(reason) LIKE lower(?) ESCAPE '!'`), append(args, "%"+likeText.Replace(q.Reason)+"%")
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 100
	}
	var rows []listedFailure
	err := s.reads.list(ctx, &rows, `SELECT n, `+failures.list()+`,
		COALESCE((SELECT type FROM event_log e WHERE e.event_id = hook_failures.event_id), '') AS event_type
		FROM hook_failures WHERE `+strings.Join(where, ` AND `)+` ORDER BY n LIMIT ?`, append(args, limit)...)
	if err != nil {
		return nil, fmt.Errorf("failures: %w", err)
	}
	found := make([]delivery.Failure, len(rows))
	for n, r := range rows {
		found[n] = r.failure()
		found[n].EventType = r.EventType
	}
	return found, nil
}

// likeText makes a text stand for itself in a LIKE that escapes with "!".
var likeText = strings.NewReplacer("!", "!!", "%", "!%", "_", "!_")

// FailureCounts counts the failures by hook and state, but for those that are
// done: it reads through the others.
func (s *Store) FailureCounts(ctx context.Context) (map[string]map[delivery.State]int64, error) {
	var rows []struct {
		Hook  string `db:"hook"`
		State string `db:"state"`
		Count int64  `db:"count"`
	}
	if err := s.reads.list(ctx, &rows, `SELECT hook, state, count(*) AS count FROM hook_failures
		WHERE state IN ('waiting', 'dead', 'discarded') GROUP BY hook, state`); err != nil {
		return nil, fmt.Errorf("failure counts: %w", err)
	}
	all := map[string]map[delivery.State]int64{}
	for _, r := range rows {
		if all[r.Hook] == nil {
			all[r.Hook] = map[delivery.State]int64{}
		}
		all[r.Hook][delivery.State(r.State)] = r.Count
	}
	return all, nil
}

// DeleteFailure deletes a failure, if it is there.
func (s *Store) DeleteFailure(ctx context.Context, hook string, eventID uuid.UUID) error {
	if _, err := s.relaxed.exec(ctx, `DELETE FROM hook_failures WHERE event_id = ? AND hook = ?`, eventID, hook); err != nil {
		return fmt.Errorf("delete failure of %s at %s: %w", hook, eventID, err)
	}
	return nil
}

// DeleteFailures deletes at most limit failures that were done or discarded
// before the given time, the oldest first, and tells how many.
func (s *Store) DeleteFailures(ctx context.Context, before time.Time, limit int) (int, error) {
	deleted, err := s.relaxed.exec(ctx, `DELETE FROM hook_failures WHERE n IN (SELECT n FROM hook_failures
		WHERE state IN ('done', 'discarded') AND last_at < ? ORDER BY last_at LIMIT ?)`, moment{before}, limit)
	if err != nil {
		return 0, fmt.Errorf("delete failures: %w", err)
	}
	return int(deleted), nil
}
