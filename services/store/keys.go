package store

import (
	"context"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/usher-auth/usher/events"
)

// The purposes of keys. A key serves one purpose only.
const (
	KeyAddress    = "address"    // of the address keys
	KeyCSRF       = "csrf"       // of CSRF tokens
	KeySealing    = "sealing"    // of hook inputs, messages and the secrets of webhooks
	KeyCode       = "code"       // of the digests of codes
	KeyCheckpoint = "checkpoint" // seeds of the keys that sign checkpoints
)

// purposes are those that [Store.Migrate] makes a key for.
var purposes = [...]string{KeyAddress, KeyCSRF, KeySealing, KeyCode, KeyCheckpoint}

const keySize = 32

type keyRow struct {
	ID        uuid.UUID `db:"id"`
	Purpose   string    `db:"purpose"`
	Sealed    []byte    `db:"sealed"`
	Current   bool      `db:"current"`
	CreatedAt moment    `db:"created_at"`
}

var keys = tableOf[keyRow]("keys")

// about binds a key to its row and purpose.
func (r keyRow) about() []byte { return append(r.ID[:], r.Purpose...) }

// keyring is the keys of all purposes, opened.
type keyring struct {
	byPurpose map[string][][]byte // current first
	sealing   map[uuid.UUID]cipher.AEAD
	sealsWith uuid.UUID
}

// complete tells whether there is a key for each purpose.
func (k *keyring) complete() bool {
	if k == nil {
		return false
	}
	return !slices.ContainsFunc(purposes[:], func(p string) bool { return len(k.byPurpose[p]) == 0 })
}

// Key gives the current key of a purpose, the same in all processes; nil
// before the database is migrated. It must not be changed.
func (s *Store) Key(purpose string) []byte {
	if all := s.Keys(purpose); len(all) > 0 {
		return all[0]
	}
	return nil
}

// Keys gives the keys of a purpose, the current one first: what was made with
// a former one is still recognised.
func (s *Store) Keys(purpose string) [][]byte {
	if k := s.keys.Load(); k != nil {
		return k.byPurpose[purpose]
	}
	return nil
}

// keyring gives the keys, or [ErrNotMigrated].
func (s *Store) keyring() (*keyring, error) {
	if k := s.keys.Load(); k.complete() {
		return k, nil
	}
	return nil, ErrNotMigrated
}

// addressKey is what an address is unique by: it does not tell the address to
// who reads the index, and the database compares 32 bytes.
func (k *keyring) addressKey(via, value string) []byte {
	mac := hmac.New(sha256.New, k.byPurpose[KeyAddress][0])
	mac.Write([]byte(via))
	mac.Write([]byte{0})
	mac.Write([]byte(value))
	return mac.Sum(nil)
}

// seal gives key id ‖ nonce ‖ ciphertext. What it is about is bound to it and not in it.
func (k *keyring) seal(plain, about []byte) []byte {
	return append(k.sealsWith[:], seal(k.sealing[k.sealsWith], plain, about)...)
}

func (k *keyring) open(sealed, about []byte) ([]byte, error) {
	if len(sealed) < len(uuid.UUID{}) {
		return nil, errors.New("sealed data is too short")
	}
	id := uuid.UUID(sealed[:16])
	key, ok := k.sealing[id]
	if !ok {
		return nil, fmt.Errorf("sealed with key %s, which is not here", id)
	}
	return open(key, sealed[16:], about)
}

// loadKeys opens the keys that are stored. There are none before the first migration.
func (s *Store) loadKeys(ctx context.Context) error {
	var rows []keyRow
	err := s.reads.list(ctx, &rows, `SELECT `+keys.list()+` FROM keys ORDER BY current DESC, created_at DESC`)
	if s.backend.missing(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load keys: %w", err)
	}
	ring, _, err := s.openKeys(rows)
	if err != nil {
		return err
	}
	s.keys.Store(ring)
	return nil
}

// openKeys also gives the rows that a former secret had sealed, sealed anew.
func (s *Store) openKeys(rows []keyRow) (ring *keyring, renewed []keyRow, err error) {
	sealer := s.seal.Load()
	ring = &keyring{byPurpose: map[string][][]byte{}, sealing: map[uuid.UUID]cipher.AEAD{}}
	for _, r := range rows {
		key, former, err := sealer.open(r.Sealed, r.about())
		if err != nil {
			return nil, nil, err
		}
		if former {
			r.Sealed = sealer.seal(key, r.about())
			renewed = append(renewed, r)
		}
		ring.byPurpose[r.Purpose] = append(ring.byPurpose[r.Purpose], key)
		if r.Purpose != KeySealing {
			continue
		}
		if ring.sealing[r.ID], err = chacha20poly1305.NewX(key); err != nil {
			return nil, nil, fmt.Errorf("sealing key %s: %w", r.ID, err)
		}
		if r.Current {
			ring.sealsWith = r.ID
		}
	}
	return ring, renewed, nil
}

// makeKeys makes the keys that are missing, and seals anew what a former
// secret had sealed, so that the former secret can go.
func (s *Store) makeKeys(ctx context.Context) error {
	err := s.durable.commit(ctx, func(tx *tx) error {
		var rows []keyRow
		if err := tx.list(&rows, `SELECT `+keys.list()+` FROM keys`); err != nil {
			return err
		}
		ring, renewed, err := s.openKeys(rows)
		if err != nil {
			return err
		}
		for _, r := range renewed {
			if _, err := tx.exec(`UPDATE keys SET sealed = ? WHERE id = ?`, r.Sealed, r.ID); err != nil {
				return err
			}
		}
		for _, p := range purposes {
			if len(ring.byPurpose[p]) > 0 {
				continue
			}
			if err := tx.insert(keys.insert(s.newKey(p))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("make keys: %w", err)
	}
	return s.loadKeys(ctx)
}

// Reseal goes over to other cipher secrets: the keys are sealed with the first of them
// from here on, and a former one can go. One of them must be what they are sealed with
// now, or [ErrSecret] is returned and nothing changes.
func (s *Store) Reseal(ctx context.Context, secrets []string) error {
	next, err := newSealer(secrets)
	if err != nil {
		return err
	}
	former := s.seal.Swap(next)
	if err := s.makeKeys(ctx); err != nil {
		s.seal.Store(former)
		return err
	}
	return nil
}

// RotateKey makes a new current key of a purpose and stores e with it. Former
// keys stay. Another process knows the new one once it calls [Store.FreshKeys].
func (s *Store) RotateKey(ctx context.Context, purpose string, e events.Event) error {
	err := s.durable.commit(ctx, func(tx *tx) error {
		if _, err := tx.exec(`UPDATE keys SET current = ? WHERE purpose = ?`, false, purpose); err != nil {
			return err
		}
		if err := tx.insert(keys.insert(s.newKey(purpose))); err != nil {
			return err
		}
		return appendEvent(tx, e)
	})
	if err != nil {
		return fmt.Errorf("rotate key %s: %w", purpose, err)
	}
	return s.loadKeys(ctx)
}

// FreshKeys is [Store.Keys], read anew: another process may have rotated them.
func (s *Store) FreshKeys(ctx context.Context, purpose string) ([][]byte, error) {
	if err := s.loadKeys(ctx); err != nil {
		return nil, err
	}
	return s.Keys(purpose), nil
}

func (s *Store) newKey(purpose string) keyRow {
	r := keyRow{ID: uuid.New(), Purpose: purpose, Current: true, CreatedAt: moment{s.now()}}
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails, see crypto/rand
	r.Sealed = s.seal.Load().seal(key, r.about())
	return r
}
