package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/relay"
)

type eventRow struct {
	Seq       int64     `db:"seq"`
	EventID   uuid.UUID `db:"event_id"`
	StreamSeq int64     `db:"stream_seq"`
	Type      string    `db:"type"`
	Subject   string    `db:"subject"`
	Payload   []byte    `db:"payload"`
	Former    []byte    `db:"former"`
	Hash      []byte    `db:"hash"`
	LoggedAt  moment    `db:"logged_at"`
}

var eventLog = tableOf[eventRow]("event_log")

// Move puts rows into the event log, in their order, and out of the outbox, in
// one transaction that does not wait for the disk: what a power cut undoes is
// moved again. It fails when another relay moved rows meanwhile. Rows that are
// in the log already only leave the outbox.
func (s *Store) Move(ctx context.Context, rows []relay.Published) error {
	if len(rows) == 0 {
		return nil
	}
	if !s.Embedded() && s.moveDirect(ctx, rows) == nil {
		return nil
	}
	err := s.move(ctx, rows, false)
	if takenColumn(err) == "event_log.event_id" {
		err = s.move(ctx, rows, true)
	}
	if err != nil {
		return fmt.Errorf("move %d events: %w", len(rows), err)
	}
	return nil
}

// move looks for rows that are logged already only when it is told to: there
// are none unless something went wrong.
func (s *Store) move(ctx context.Context, rows []relay.Published, look bool) error {
	var seq int64
	var hash audit.Hash
	err := s.relaxed.commit(ctx, func(tx *tx) error {
		fresh := rows
		if look {
			var err error
			if fresh, err = notLogged(tx, rows); err != nil {
				return err
			}
		}
		var err error
		if seq, hash, err = head(tx.get); err != nil {
			return err
		}
		records, err := s.chain(fresh, seq, hash)
		if err != nil {
			return err
		}
		if n := len(records); n > 0 {
			seq, hash = records[n-1].Seq, audit.Hash(records[n-1].Hash)
		}
		if err := tx.insert(eventLog.insert(records...)); err != nil {
			return err
		}
		return deleteOutbox(tx, rows)
	})
	if err == nil {
		s.logHead.remember(seq, hash)
	}
	return err
}

// chain makes the records of rows behind the one with the given seq and hash.
func (s *Store) chain(rows []relay.Published, seq int64, former audit.Hash) ([]eventRow, error) {
	records := make([]eventRow, len(rows))
	now := moment{s.now()}
	for n, r := range rows {
		id, err := uuid.Parse(r.EventID)
		if err != nil {
			return nil, fmt.Errorf("event id: %w", err)
		}
		seq++
		before, hash := former, audit.Next(former, r.Payload)
		records[n] = eventRow{
			Seq:       seq,
			EventID:   id,
			StreamSeq: int64(r.StreamSeq),
			Type:      r.Type,
			Subject:   r.IdentityID,
			Payload:   r.Payload,
			Former:    before[:],
			Hash:      hash[:],
			LoggedAt:  now,
		}
		former = hash
	}
	return records, nil
}

func notLogged(tx *tx, rows []relay.Published) (fresh []relay.Published, err error) {
	for _, r := range rows {
		var logged bool
		if err := tx.get(&logged, `SELECT EXISTS (SELECT 1 FROM event_log WHERE event_id = ?)`, r.EventID); err != nil {
			return nil, err
		}
		if !logged {
			fresh = append(fresh, r)
		}
	}
	return fresh, nil
}

func deleteOutbox(tx *tx, rows []relay.Published) error {
	for len(rows) > 0 {
		n := min(len(rows), maxParameters/2)
		ids := make([]any, n, 2*n)
		for i, r := range rows[:n] {
			ids[i] = r.ID
		}
		for bits.OnesCount(uint(len(ids))) > 1 { // few lengths, few statements to prepare
			ids = append(ids, ids[n-1])
		}
		if _, err := tx.exec(`DELETE FROM outbox WHERE id IN (`+marks(len(ids))+`)`, ids...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// head reads the last record's seq and hash, zero when there is none.
func head(get func(row any, query string, args ...any) error) (seq int64, hash audit.Hash, err error) {
	var row struct {
		Seq  int64  `db:"seq"`
		Hash []byte `db:"hash"`
	}
	err = get(&row, `SELECT seq, hash FROM event_log ORDER BY seq DESC LIMIT 1`)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, audit.Hash{}, nil
	}
	copy(hash[:], row.Hash)
	return row.Seq, hash, err
}

// EventHead gives the seq and hash of the last record of the event log, zero
// when there is none.
func (s *Store) EventHead(ctx context.Context) (seq int64, hash audit.Hash, err error) {
	seq, hash, err = head(func(row any, query string, args ...any) error { return s.reads.get(ctx, row, query, args...) })
	if err != nil {
		return 0, audit.Hash{}, fmt.Errorf("event head: %w", err)
	}
	return seq, hash, nil
}

// Events gives the records that q selects, by seq.
func (s *Store) Events(ctx context.Context, q audit.Query) ([]audit.Record, error) {
	where, args := []string{`seq > ?`}, []any{q.After}
	if q.Type != "" {
		where, args = append(where, `type = ?`), append(args, q.Type)
	}
	if q.Subject != "" {
		where, args = append(where, `subject = ?`), append(args, q.Subject)
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 100
	}
	var rows []eventRow
	err := s.reads.list(ctx, &rows, `SELECT `+eventLog.list()+` FROM event_log WHERE `+strings.Join(where, ` AND `)+
		` ORDER BY seq LIMIT ?`, append(args, limit)...)
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	records := make([]audit.Record, len(rows))
	for n, r := range rows {
		records[n] = r.record()
	}
	return records, nil
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
