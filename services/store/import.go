package store

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/identity"
)

// ImportIdentities stores identities and their events in one durable commit, or
// nothing: with [identity.ErrExists] if an id, an identifier or an address is taken.
func (s *Store) ImportIdentities(ctx context.Context, all []*identity.Identity, made []events.Event) error {
	ring, err := s.keyring()
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	b := batch{ring: ring}
	for _, i := range all {
		b.identity(i)
	}
	for _, e := range made {
		if err := b.event(e); err != nil {
			return fmt.Errorf("import: %w", err)
		}
	}
	err = s.durable.commit(ctx, func(tx *tx) error { return tx.load(b.inserts()...) })
	if c := takenColumn(err); c == "identities.id" || c == "identities.pkey" { // SQLite, PostgreSQL
		err = identity.ErrExists
	}
	if err = identityTaken(err); err != nil && !errors.Is(err, identity.ErrExists) {
		return fmt.Errorf("import: %w", err)
	}
	return err
}

// Taken tells which of these identities, at most 1024, have an address or a handle
// that is stored, whosever it is.
func (s *Store) Taken(ctx context.Context, all []*identity.Identity) (map[uuid.UUID]bool, error) {
	ring, err := s.keyring()
	if err != nil {
		return nil, fmt.Errorf("taken: %w", err)
	}
	byAddress, byHandle := map[string][]uuid.UUID{}, map[string][]uuid.UUID{}
	var addressKeys, handleValues []any
	for _, i := range all {
		for _, a := range i.Addresses {
			key := ring.addressKey(a.Via, a.Value)
			byAddress[string(key)] = append(byAddress[string(key)], i.ID)
			addressKeys = append(addressKeys, key)
		}
		for _, h := range i.Handles() {
			byHandle[h] = append(byHandle[h], i.ID)
			handleValues = append(handleValues, h)
		}
	}
	taken := map[uuid.UUID]bool{}
	look := func(query string, values []any, of map[string][]uuid.UUID) error {
		for len(values) > 0 {
			n := min(len(values), maxParameters)
			var found [][]byte
			if err := s.reads.list(ctx, &found, query+` IN (`+marks(n)+`)`, values[:n]...); err != nil {
				return fmt.Errorf("taken: %w", err)
			}
			for _, value := range found {
				for _, id := range of[string(value)] {
					taken[id] = true
				}
			}
			values = values[n:]
		}
		return nil
	}
	if err := look(`SELECT address_key FROM addresses WHERE state = 'owned' AND address_key`, addressKeys, byAddress); err != nil {
		return nil, err
	}
	return taken, look(`SELECT value FROM handles WHERE value`, handleValues, byHandle)
}

// ImportID is the id of an imported identity that was given none: of the same text
// always the same in this database, and nobody who has the id can find out the text.
func (s *Store) ImportID(text []byte) (id uuid.UUID, err error) {
	ring, err := s.keyring()
	if err != nil {
		return id, fmt.Errorf("import: %w", err)
	}
	mac := hmac.New(sha256.New, ring.byPurpose[KeyAddress][0])
	mac.Write([]byte("import\x00")) // no address is of that kind
	mac.Write(text)
	copy(id[:], mac.Sum(nil))
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // version 8: made as its maker likes
	return id, nil
}
