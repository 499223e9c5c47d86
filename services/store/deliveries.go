package store

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/timeline"
)

type deliveryRow struct {
	Hook        string        `db:"hook"`
	StreamSeq   int64         `db:"stream_seq"`
	EventID     uuid.NullUUID `db:"event_id"`
	Attempt     int           `db:"attempt"`
	PublishedAt moment        `db:"published_at"`
	Deliveries  int           `db:"deliveries"`
	AckedAt     moment        `db:"acked_at"`
	Took        int64         `db:"took"`
}

var deliveries = tableOf[deliveryRow]("deliveries")

const (
	// deliveriesAtOnce is how many deliveries share a transaction: on SQLite a
	// registration that commits meanwhile waits for it.
	deliveriesAtOnce = 128
	// maxTraced bounds the events that deliveries are asked for.
	maxTraced = 256
)

// SaveDeliveries keeps what was seen of deliveries and, where there are more than
// keep, lets the oldest go. What is known of a message already is completed: the
// retry by its ack, or the other way around. No two may be of the same message
// and hook. It does not wait for the disk, and what it has kept before an error
// stays kept.
func (s *Store) SaveDeliveries(ctx context.Context, seen []timeline.Delivery, keep int) error {
	for chunk := range slices.Chunk(seen, deliveriesAtOnce) {
		rows := make([]deliveryRow, len(chunk))
		for n, d := range chunk {
			rows[n] = newDeliveryRow(d)
		}
		if err := s.relaxed.commit(ctx, func(tx *tx) error { return saveDeliveries(tx, rows, keep) }); err != nil {
			return fmt.Errorf("save %d deliveries: %w", len(seen), err)
		}
	}
	return nil
}

func saveDeliveries(tx *tx, rows []deliveryRow, keep int) error {
	for len(rows) > 0 {
		n := 1 << (bits.Len(uint(len(rows))) - 1) // few lengths, few statements to prepare
		st := deliveries.insert(rows[:n]...).statements()[0]
		_, err := tx.exec(st.query+` ON CONFLICT (stream_seq, hook) DO UPDATE SET
			event_id = coalesce(excluded.event_id, deliveries.event_id),
			attempt = CASE WHEN excluded.event_id IS NULL THEN deliveries.attempt ELSE excluded.attempt END,
			published_at = coalesce(excluded.published_at, deliveries.published_at),
			deliveries = CASE WHEN excluded.acked_at IS NULL THEN deliveries.deliveries ELSE excluded.deliveries END,
			took = CASE WHEN excluded.acked_at IS NULL THEN deliveries.took ELSE excluded.took END,
			acked_at = coalesce(excluded.acked_at, deliveries.acked_at)`, st.args...)
		if err != nil {
			return err
		}
		rows = rows[n:]
	}
	// A range on both sides: PostgreSQL would take one on a side for a third of the table.
	_, err := tx.exec(`DELETE FROM deliveries WHERE n BETWEEN (SELECT max(n) FROM deliveries) - ? AND (SELECT max(n) FROM deliveries) - ?`,
		keep+8*deliveriesAtOnce, keep)
	return err
}

// Deliveries gives what is known of messages in the stream, and of the retries of
// events. It is asked for those of one person: at most 256 of each count.
func (s *Store) Deliveries(ctx context.Context, streamSeqs []uint64, eventIDs []uuid.UUID) ([]timeline.Delivery, error) {
	var where []string
	var args []any
	if n := min(len(streamSeqs), maxTraced); n > 0 {
		where = append(where, `stream_seq IN (`+marks(padded(n))+`)`)
		for i := range padded(n) {
			args = append(args, int64(streamSeqs[min(i, n-1)]))
		}
	}
	if n := min(len(eventIDs), maxTraced); n > 0 {
		where = append(where, `event_id IN (`+marks(padded(n))+`)`)
		args = append(args, repeated(eventIDs[:n])...)
	}
	if len(where) == 0 {
		return nil, nil
	}
	var rows []deliveryRow
	err := s.reads.list(ctx, &rows, `SELECT `+deliveries.list()+` FROM deliveries WHERE `+strings.Join(where, ` OR `)+` ORDER BY stream_seq, hook`, args...)
	if err != nil {
		return nil, fmt.Errorf("deliveries: %w", err)
	}
	all := make([]timeline.Delivery, len(rows))
	for n, r := range rows {
		all[n] = r.delivery()
	}
	return all, nil
}

// FailuresAt gives what hooks have failed at of these events, at most 256 of them.
func (s *Store) FailuresAt(ctx context.Context, eventIDs []uuid.UUID) ([]delivery.Failure, error) {
	n := min(len(eventIDs), maxTraced)
	if n == 0 {
		return nil, nil
	}
	var rows []foundFailure
	err := s.reads.list(ctx, &rows, `SELECT n, `+failures.list()+` FROM hook_failures WHERE event_id IN (`+marks(padded(n))+`) ORDER BY n`, repeated(eventIDs[:n])...)
	if err != nil {
		return nil, fmt.Errorf("failures at %d events: %w", n, err)
	}
	return failuresOf(rows), nil
}

// DeleteDeliveries deletes, of the limit oldest deliveries, those that were last
// heard of before the given time, and tells how many.
func (s *Store) DeleteDeliveries(ctx context.Context, before time.Time, limit int) (int, error) {
	deleted, err := s.relaxed.exec(ctx, `DELETE FROM deliveries WHERE n BETWEEN (SELECT min(n) FROM deliveries)
		AND (SELECT max(n) FROM (SELECT n FROM deliveries ORDER BY n LIMIT ?) AS oldest) AND coalesce(acked_at, published_at) < ?`, limit, moment{before})
	if err != nil {
		return 0, fmt.Errorf("delete deliveries: %w", err)
	}
	return int(deleted), nil
}

// padded is the next power of two: few lengths, few statements to prepare.
func padded(n int) int { return 1 << bits.Len(uint(n-1)) }

// repeated gives ids as parameters, the last one as often as [padded] wants.
func repeated(ids []uuid.UUID) (args []any) {
	for i := range padded(len(ids)) {
		args = append(args, ids[min(i, len(ids)-1)])
	}
	return args
}

func newDeliveryRow(d timeline.Delivery) deliveryRow {
	r := deliveryRow{
		Hook: d.Hook, StreamSeq: int64(d.StreamSeq), Attempt: d.Attempt, PublishedAt: moment{d.PublishedAt},
		Deliveries: d.Deliveries, AckedAt: moment{d.AckedAt}, Took: d.Took.Microseconds(),
	}
	if id, err := uuid.Parse(d.EventID); err == nil {
		r.EventID = uuid.NullUUID{UUID: id, Valid: true}
	}
	return r
}

func (r deliveryRow) delivery() timeline.Delivery {
	d := timeline.Delivery{
		Hook: r.Hook, StreamSeq: uint64(r.StreamSeq), Attempt: r.Attempt, PublishedAt: r.PublishedAt.Time,
		Deliveries: r.Deliveries, AckedAt: r.AckedAt.Time, Took: time.Duration(r.Took) * time.Microsecond,
	}
	if r.EventID.Valid {
		d.EventID = r.EventID.UUID.String()
	}
	return d
}
