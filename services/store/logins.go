package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/webhook"
)

// IdentityByIdentifier gives the identity with a canonical sign-in identifier,
// with addresses and credentials, or [identity.ErrNotFound]. That is an address
// which is marked as an identifier, or a handle.
func (s *Store) IdentityByIdentifier(ctx context.Context, identifier string) (*identity.Identity, error) {
	ring, err := s.keyring()
	if err != nil {
		return nil, fmt.Errorf("identity by identifier: %w", err)
	}
	i, err := s.identityWhere(ctx, `i.id = coalesce(
		(SELECT identity_id FROM addresses WHERE address_key = ? AND state = 'owned' AND identifier),
		(SELECT identity_id FROM handles WHERE value = ?))`, ring.addressKey("email", identifier), identifier)
	if err != nil {
		return nil, fmt.Errorf("identity by identifier: %w", err) // which is personal data
	}
	return i, nil
}

// ReplaceCredential puts config in the place of former, if that is still there,
// without waiting for the disk.
func (s *Store) ReplaceCredential(ctx context.Context, id uuid.UUID, kind string, former, config json.RawMessage) error {
	_, err := s.relaxed.exec(ctx, `UPDATE credentials SET config = ?, updated_at = ?
		WHERE identity_id = ? AND type = ? AND CAST(config AS text) = ?`, document(config), moment{s.now()}, id, kind, string(former))
	if err != nil {
		return fmt.Errorf("replace credential %s of %s: %w", kind, id, err)
	}
	return nil
}

// SaveDue keeps calls of background hooks before their event is stored, without
// waiting for the disk: the commit of the event waits for both.
func (s *Store) SaveDue(ctx context.Context, due []webhook.Due) error {
	ring, err := s.keyring()
	if err != nil {
		return fmt.Errorf("save hook inputs: %w", err)
	}
	b := batch{ring: ring}
	if err := b.due(due, s.now()); err != nil {
		return fmt.Errorf("save hook inputs: %w", err)
	}
	if len(b.inputs) == 0 {
		return nil
	}
	if err := s.relaxed.insert(ctx, hookInputs.insert(b.inputs...)); err != nil {
		return fmt.Errorf("save hook inputs: %w", err)
	}
	return nil
}

// AppendSoon stores an event as it is, without waiting for the disk: one about an
// identity gets no sequence, so that it takes the same steps whether there is one.
func (s *Store) AppendSoon(ctx context.Context, e events.Event) error {
	row, err := newOutboxRow(e)
	if err == nil {
		err = s.relaxed.insert(ctx, outbox.insert(row))
	}
	if err != nil {
		return fmt.Errorf("append %s: %w", e.Type, err)
	}
	return nil
}
