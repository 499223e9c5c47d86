package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
)

// errUnchanged ends a transaction that has nothing to store.
var errUnchanged = errors.New("nothing changes")

// UpdateIdentity stores what decide makes of an identity, see [identity.Change]. The identity is locked while
// decide runs; on SQLite all writing waits for it.
func (s *Store) UpdateIdentity(ctx context.Context, id uuid.UUID, decide func(stored *identity.Identity) (*identity.Change, error)) error {
	err := s.update(ctx, id, func(u *update) (*identity.Change, error) { return decide(u.former) })
	if err != nil {
		return fmt.Errorf("update identity %s: %w", id, identityTaken(err))
	}
	return nil
}

// update stores what decide makes of an identity, which has added to the update what
// is stored besides.
func (s *Store) update(ctx context.Context, id uuid.UUID, decide func(u *update) (*identity.Change, error)) error {
	ring, err := s.keyring()
	if err != nil {
		return err
	}
	err = s.durable.commit(ctx, func(tx *tx) error {
		u := &update{tx: tx, batch: batch{ring: ring}}
		if u.former, u.sequence, err = lockIdentity(tx, id); err != nil {
			return err
		}
		u.now = s.now() // behind what it has waited for
		change, err := decide(u)
		if err != nil {
			return err
		}
		if change == nil {
			return errUnchanged
		}
		return u.do(change)
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

// DeleteIdentity is [admin.Store.DeleteIdentity]. Rows of other tables go with
// the identity's, but for its events.
func (s *Store) DeleteIdentity(ctx context.Context, id uuid.UUID, d admin.Deletion) error {
	err := s.durable.commit(ctx, func(tx *tx) error {
		u := update{tx: tx, now: s.now()}
		err := tx.get(&u.sequence, `UPDATE identities SET sequence = sequence + 1 WHERE id = ? RETURNING sequence`, id)
		if errors.Is(err, sql.ErrNoRows) {
			return identity.ErrNotFound
		}
		if err != nil {
			return err
		}
		if err := u.revoke(id, uuid.Nil, d.Revoked); err != nil {
			return err
		}
		if err := u.event(d.Deleted); err != nil {
			return err
		}
		if _, err := tx.exec(`DELETE FROM identities WHERE id = ?`, id); err != nil {
			return err
		}
		return tx.insert(u.batch.inserts()...)
	})
	if err != nil {
		return fmt.Errorf("delete identity %s: %w", id, err)
	}
	return nil
}

// lockIdentity gives an identity and the sequence of its next event. Nobody
// else changes it, or makes an event about it, until the commit.
func lockIdentity(tx *tx, id uuid.UUID) (*identity.Identity, int64, error) {
	var row identityRow
	err := tx.get(&row, `UPDATE identities SET sequence = sequence + 1 WHERE id = ? RETURNING `+identities.list(), id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, 0, identity.ErrNotFound
	}
	if err != nil {
		return nil, 0, err
	}
	i := row.identity()
	var at []addressRow
	if err := tx.list(&at, `SELECT `+addresses.list()+` FROM addresses WHERE identity_id = ? ORDER BY position`, id); err != nil {
		return nil, 0, err
	}
	var by []credentialRow
	if err := tx.list(&by, `SELECT `+credentials.list()+` FROM credentials WHERE identity_id = ? ORDER BY type`, id); err != nil {
		return nil, 0, err
	}
	attachAddresses(byID([]*identity.Identity{i}), at)
	return i, row.Sequence, attachCredentials(byID([]*identity.Identity{i}), by)
}

// update is one change of an identity inside its transaction. What it makes is
// collected in batch.
type update struct {
	tx       *tx
	batch    batch
	now      time.Time
	former   *identity.Identity
	sequence int64 // of the next event
}

func (u *update) do(c *identity.Change) error {
	next := c.Identity
	besides := u.batch.outbox // which follow on what has happened
	u.batch.outbox = nil
	if err := u.event(c.Updated); err != nil {
		return err
	}
	if c.Revoked != nil {
		if err := u.revoke(next.ID, c.Kept, c.Revoked); err != nil {
			return err
		}
	}
	if c.Kept != uuid.Nil {
		if _, err := u.tx.exec(`UPDATE sessions SET epoch = ? WHERE id = ? AND identity_id = ?`, next.Epoch, c.Kept, next.ID); err != nil {
			return err
		}
	}
	u.batch.outbox = append(u.batch.outbox, besides...)
	_, err := u.tx.exec(`UPDATE identities SET external_id = ?, schema_id = ?, state = ?, state_changed_at = ?, traits = ?, metadata_public = ?,
		metadata_admin = ?, epoch = ?, sequence = ?, updated_at = ? WHERE id = ?`,
		next.ExternalID, next.SchemaID, string(next.State), moment{next.StateChangedAt}, document(next.Traits), document(next.MetadataPublic),
		document(next.MetadataAdmin), next.Epoch, u.sequence-1, moment{next.UpdatedAt}, next.ID)
	if err != nil {
		return err
	}
	if c.Revoked != nil || u.passwordChanges(next) { // what would sign in otherwise ends too
		if _, err := u.tx.exec(`DELETE FROM codes WHERE identity_id = ?`, next.ID); err != nil {
			return err
		}
		if _, err := u.tx.exec(`UPDATE identities SET secured_at = ? WHERE id = ?`, moment{u.now}, next.ID); err != nil {
			return err
		}
	}
	for _, step := range []func(*identity.Identity) error{u.credentials, u.addresses, u.handles} {
		if err := step(next); err != nil {
			return err
		}
	}
	return u.tx.insert(hookInputs.insert(u.batch.inputs...), outbox.insert(u.batch.outbox...))
}

// passwordChanges tells whether another password takes the place of the stored one.
func (u *update) passwordChanges(next *identity.Identity) bool {
	former, now := u.former.Credential(identity.MethodPassword), next.Credential(identity.MethodPassword)
	return now != nil && (former == nil || !bytes.Equal(former.Config, now.Config))
}

func (u *update) event(made admin.Made) error {
	err := u.batch.event(made(u.sequence))
	u.sequence++
	return err
}

// revoke revokes the live sessions of an identity but one, which may be zero.
func (u *update) revoke(id, but uuid.UUID, event session.Revocation) error {
	var live []uuid.UUID
	err := u.tx.list(&live, `UPDATE sessions SET revoked = ? WHERE identity_id = ? AND id <> ? AND revoked = ? AND expires_at > ? RETURNING id`,
		true, id, but, false, moment{u.now})
	if err != nil {
		return err
	}
	for _, ended := range live {
		if err := u.batch.event(event(ended, u.sequence)); err != nil {
			return err
		}
		u.sequence++
	}
	return nil
}

func (u *update) credentials(next *identity.Identity) error {
	for _, c := range next.Credentials {
		_, err := u.tx.exec(`INSERT INTO credentials (identity_id, type, identifiers, config, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (identity_id, type) DO UPDATE SET identifiers = excluded.identifiers, config = excluded.config, updated_at = excluded.updated_at`,
			next.ID, c.Type, encode(c.Identifiers), document(c.Config), moment{c.CreatedAt}, moment{c.UpdatedAt})
		if err != nil {
			return err
		}
	}
	for _, c := range u.former.Credentials {
		if slices.ContainsFunc(next.Credentials, func(d identity.Credential) bool { return c.Type == d.Type }) {
			continue
		}
		if _, err := u.tx.exec(`DELETE FROM credentials WHERE identity_id = ? AND type = ?`, next.ID, c.Type); err != nil {
			return err
		}
	}
	return nil
}

// addresses deletes and inserts by the order of the keys, as all commits do: two
// updates that swap their addresses do not wait for each other in a circle.
func (u *update) addresses(next *identity.Identity) error {
	type step struct {
		key []byte
		do  func() error
	}
	var steps []step
	for n, a := range next.Addresses {
		row := u.batch.address(next.ID, n, a)
		at := slices.IndexFunc(u.former.Addresses, func(b identity.Address) bool { return a.ID == b.ID })
		switch {
		case at < 0:
			steps = append(steps, step{row.AddressKey, func() error { return u.tx.insert(addresses.insert(row)) }})
		case at != n || a != u.former.Addresses[at]:
			steps = append(steps, step{row.AddressKey, func() error { return u.replaceAddress(row) }})
		}
	}
	for _, a := range u.former.Addresses {
		if slices.ContainsFunc(next.Addresses, func(b identity.Address) bool { return a.ID == b.ID }) {
			continue
		}
		steps = append(steps, step{u.batch.ring.addressKey(a.Via, a.Value), func() error { return u.deleteAddress(a.ID) }})
	}
	slices.SortFunc(steps, func(x, y step) int { return bytes.Compare(x.key, y.key) })
	for _, s := range steps {
		if err := s.do(); err != nil {
			return err
		}
	}
	return nil
}

// replaceAddress stores what an address is used for and whether it is verified.
func (u *update) replaceAddress(r addressRow) error {
	_, err := u.tx.exec(`UPDATE addresses SET position = ?, verifiable = ?, recovery = ?, identifier = ?, verified = ?, verified_at = ?,
		status = ?, updated_at = ? WHERE id = ?`,
		r.Position, r.Verifiable, r.Recovery, r.Identifier, r.Verified, r.VerifiedAt, r.Status, r.UpdatedAt, r.ID)
	return err
}

// deleteAddress deletes an address of the identity and the codes that went to it.
func (u *update) deleteAddress(id uuid.UUID) error {
	if _, err := u.tx.exec(`DELETE FROM codes WHERE identity_id = ? AND address_id = ?`, u.former.ID, id); err != nil {
		return err
	}
	_, err := u.tx.exec(`DELETE FROM addresses WHERE id = ?`, id)
	return err
}

func (u *update) handles(next *identity.Identity) error {
	before, after := u.former.Handles(), next.Handles()
	all := append(slices.Clone(before), after...)
	slices.Sort(all)
	for _, h := range slices.Compact(all) {
		var err error
		switch had, has := slices.Contains(before, h), slices.Contains(after, h); {
		case had && !has:
			_, err = u.tx.exec(`DELETE FROM handles WHERE value = ? AND identity_id = ?`, h, next.ID)
		case has && !had:
			err = u.tx.insert(handles.insert(handleRow{Value: h, IdentityID: next.ID, CreatedAt: moment{next.UpdatedAt}}))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
