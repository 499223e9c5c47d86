package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/relay"
)

type outboxRow struct {
	EventID    uuid.UUID     `db:"event_id"`
	Type       string        `db:"type"`
	IdentityID uuid.NullUUID `db:"identity_id"`
	Payload    []byte        `db:"payload"`
	CreatedAt  moment        `db:"created_at"`
}

var outbox = tableOf[outboxRow]("outbox")

func newOutboxRow(e events.Event) (outboxRow, error) {
	id, err := uuid.Parse(e.ID)
	if err != nil {
		return outboxRow{}, fmt.Errorf("id of event %s: %w", e.Type, err)
	}
	payload, err := e.Encode()
	if err != nil {
		return outboxRow{}, fmt.Errorf("encode event %s: %w", e.Type, err)
	}
	row := outboxRow{EventID: id, Type: e.Type, Payload: payload, CreatedAt: moment{e.Time}}
	if subject, err := uuid.Parse(e.Subject); err == nil {
		row.IdentityID = uuid.NullUUID{UUID: subject, Valid: true}
	}
	return row, nil
}

// Append stores an event in a durable commit of its own, to be published by the
// relay. An event about an identity that has no sequence gets the identity's next.
func (s *Store) Append(ctx context.Context, e events.Event) error {
	err := s.durable.commit(ctx, func(tx *tx) error { return appendEvent(tx, e) })
	if err != nil {
		return fmt.Errorf("append %s: %w", e.Type, err)
	}
	return nil
}

func appendAll(tx *tx, all []events.Event) error {
	for _, e := range all {
		if err := appendEvent(tx, e); err != nil {
			return err
		}
	}
	return nil
}

func appendEvent(tx *tx, e events.Event) error {
	if subject, err := uuid.Parse(e.Subject); err == nil && e.Sequence == "" {
		if e.Sequence, err = nextSequence(tx, subject); err != nil {
			return err
		}
	}
	row, err := newOutboxRow(e)
	if err != nil {
		return err
	}
	return tx.insert(outbox.insert(row))
}

// nextSequence gives "" for an identity that is gone.
func nextSequence(tx *tx, id uuid.UUID) (string, error) {
	var sequence int64
	err := tx.get(&sequence, `UPDATE identities SET sequence = sequence + 1 WHERE id = ? RETURNING sequence`, id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return strconv.FormatInt(sequence, 10), err
}

// Pending gives the oldest events that wait to be published, in their order.
func (s *Store) Pending(ctx context.Context, limit int) ([]relay.Row, error) {
	var rows []struct {
		ID int64 `db:"id"`
		outboxRow
	}
	// With the limit as a parameter PostgreSQL would plan it anew every other time.
	err := s.reads.list(ctx, &rows, `SELECT id, `+outbox.list()+` FROM outbox ORDER BY id LIMIT `+strconv.Itoa(limit))
	if err != nil {
		return nil, fmt.Errorf("pending: %w", err)
	}
	pending := make([]relay.Row, len(rows))
	for n, r := range rows {
		pending[n] = relay.Row{ID: r.ID, EventID: r.EventID.String(), Type: r.Type, Payload: r.Payload, CreatedAt: r.CreatedAt.Time}
		if r.IdentityID.Valid {
			pending[n].IdentityID = r.IdentityID.UUID.String()
		}
	}
	return pending, nil
}

// OutboxStats tells how many events wait to be published, and since when the
// oldest does; zero when none waits.
func (s *Store) OutboxStats(ctx context.Context) (depth int64, oldest time.Time, err error) {
	var row struct {
		Depth  int64  `db:"depth"`
		Oldest moment `db:"oldest"`
	}
	if err := s.reads.get(ctx, &row, `SELECT count(*) AS depth, min(created_at) AS oldest FROM outbox`); err != nil {
		return 0, time.Time{}, fmt.Errorf("outbox: %w", err)
	}
	return row.Depth, row.Oldest.Time, nil
}
