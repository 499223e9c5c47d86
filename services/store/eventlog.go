package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/bits"

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
	var end logEnd
	err := s.relaxed.commit(ctx, func(tx *tx) error {
		fresh := rows
		if look {
			var err error
			if fresh, err = notLogged(tx, rows); err != nil {
				return err
			}
		}
		var err error
		if end, err = head(tx.get); err != nil {
			return err
		}
		var records []eventRow
		if records, end, err = s.chain(fresh, end); err != nil {
			return err
		}
		if err := tx.insert(eventLog.insert(records...)); err != nil {
			return err
		}
		return deleteOutbox(tx, rows)
	})
	if err == nil {
		s.logHead.remember(end)
	}
	return err
}

// logEnd is where the event log ends: its last record, or the checkpoint that
// all of it was pruned up to; zero when nothing was ever logged.
type logEnd struct {
	Seq      int64  `db:"seq"`
	Hash     []byte `db:"hash"`
	LoggedAt moment `db:"logged_at"`
}

// chain makes the records of rows behind end, and gives the new end.
func (s *Store) chain(rows []relay.Published, end logEnd) ([]eventRow, logEnd, error) {
	records := make([]eventRow, len(rows))
	now := moment{s.now()}
	if now.Before(end.LoggedAt.Time) {
		now = end.LoggedAt // pages by time rely on it
	}
	former := end.hash()
	for n, r := range rows {
		id, err := uuid.Parse(r.EventID)
		if err != nil {
			return nil, end, fmt.Errorf("event id: %w", err)
		}
		before, hash := former, audit.Next(former, r.Payload)
		end = logEnd{Seq: end.Seq + 1, Hash: hash[:], LoggedAt: now}
		records[n] = eventRow{
			Seq:       end.Seq,
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
	return records, end, nil
}

// hash is zero before the first record.
func (e logEnd) hash() (h audit.Hash) {
	copy(h[:], e.Hash)
	return h
}

// head reads where the event log ends.
func head(get func(row any, query string, args ...any) error) (logEnd, error) {
	var end logEnd
	err := get(&end, `SELECT seq, hash, logged_at FROM event_log ORDER BY seq DESC LIMIT 1`)
	if errors.Is(err, sql.ErrNoRows) {
		err = get(&end, `SELECT seq, head AS hash, at AS logged_at FROM checkpoints ORDER BY seq DESC LIMIT 1`)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return logEnd{}, nil
	}
	return end, err
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
