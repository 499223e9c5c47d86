package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/webhook"
)

type hookInputRow struct {
	EventID   uuid.UUID `db:"event_id"`
	Endpoint  string    `db:"endpoint"`
	Sealed    []byte    `db:"sealed"` // key id ‖ nonce ‖ ciphertext
	CreatedAt moment    `db:"created_at"`
}

var hookInputs = tableOf[hookInputRow]("hook_inputs")

// HookInput gives what a registration kept for a background endpoint; false
// when the endpoint is not to get the event, or has got it.
func (s *Store) HookInput(ctx context.Context, eventID uuid.UUID, endpoint string) (webhook.Input, bool, error) {
	var row hookInputRow
	err := s.reads.get(ctx, &row, `SELECT `+hookInputs.list()+` FROM hook_inputs WHERE event_id = ? AND endpoint = ?`, eventID, endpoint)
	if errors.Is(err, sql.ErrNoRows) {
		return webhook.Input{}, false, nil
	}
	if err != nil {
		return webhook.Input{}, false, fmt.Errorf("hook input of event %s: %w", eventID, err)
	}
	ring, err := s.keyring()
	if err != nil {
		return webhook.Input{}, false, fmt.Errorf("hook input of event %s: %w", eventID, err)
	}
	in, err := ring.openHookInput(row)
	if err != nil {
		return webhook.Input{}, false, fmt.Errorf("hook input of event %s: %w", eventID, err)
	}
	return in, true, nil
}

// DeleteHookInput forgets what was kept for an endpoint that has got its event.
// It does not wait for the disk: after a power cut the endpoint may get the event again.
func (s *Store) DeleteHookInput(ctx context.Context, eventID uuid.UUID, endpoint string) error {
	if _, err := s.relaxed.exec(ctx, `DELETE FROM hook_inputs WHERE event_id = ? AND endpoint = ?`, eventID, endpoint); err != nil {
		return fmt.Errorf("delete hook input of event %s: %w", eventID, err)
	}
	return nil
}

// DeleteHookInputs deletes at most limit inputs that are older than the given
// time, whose events the stream has dropped, the oldest first, and tells how many.
func (s *Store) DeleteHookInputs(ctx context.Context, before time.Time, limit int) (int, error) {
	deleted, err := s.relaxed.exec(ctx, `DELETE FROM hook_inputs WHERE (event_id, endpoint) IN
		(SELECT event_id, endpoint FROM hook_inputs WHERE created_at < ? ORDER BY created_at LIMIT ?)`, moment{before}, limit)
	if err != nil {
		return 0, fmt.Errorf("delete hook inputs: %w", err)
	}
	return int(deleted), nil
}

// about binds what is sealed to its row.
func (r hookInputRow) about() []byte { return append(r.EventID[:], r.Endpoint...) }

func (k *keyring) newHookInputRow(in webhook.Due, at time.Time) (hookInputRow, error) {
	plain, err := json.Marshal(in.Input)
	if err != nil {
		return hookInputRow{}, fmt.Errorf("hook input: %w", err)
	}
	r := hookInputRow{EventID: in.EventID, Endpoint: in.Endpoint, CreatedAt: moment{at}}
	r.Sealed = k.seal(plain, r.about())
	return r, nil
}

func (k *keyring) openHookInput(r hookInputRow) (in webhook.Input, err error) {
	plain, err := k.open(r.Sealed, r.about())
	if err != nil {
		return in, err
	}
	return in, json.Unmarshal(plain, &in)
}
