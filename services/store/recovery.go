package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/recovery"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/verification"
)

// Recover holds p's code against the flow's, and in one durable commit marks the code
// as used and its address as verified, ends all sessions of the person and the codes of
// their other flows, and stores the events and the inputs of their background hooks. A
// code that this flow has used within [session.RepeatWindow] succeeds again, with nothing changed. Otherwise
// [recovery.ErrWrongCode]: no such code, over, its address is not what it was, or its
// person is deactivated.
func (s *Store) Recover(ctx context.Context, p recovery.Proof) (recovery.Recovered, error) {
	given := givenCode{p.Purpose, p.FlowID, p.Code, p.At}
	sent, err := s.rightCode(ctx, given)
	if err == nil && sent.C.UsedAt.IsZero() {
		var r recovery.Recovered
		err = s.durable.commit(ctx, func(tx *tx) (err error) {
			r, err = s.recover(tx, sent, p)
			return err
		})
		if err == nil {
			return r, nil
		}
		if errors.Is(err, errStored) { // used or replaced since it was read
			if sent, err = s.rightCode(ctx, given); err == nil && sent.C.UsedAt.IsZero() {
				err = recovery.ErrWrongCode
			}
		}
	}
	if err == nil {
		return s.recoveredBefore(ctx, sent, p)
	}
	if errors.Is(err, verification.ErrWrongCode) || errors.Is(err, recovery.ErrWrongCode) {
		return recovery.Recovered{}, recovery.ErrWrongCode
	}
	return recovery.Recovered{}, fmt.Errorf("recover in flow %s: %w", p.FlowID, err)
}

// recoveredBefore is what the same code did when it was used.
func (s *Store) recoveredBefore(ctx context.Context, sent sentCode, p recovery.Proof) (recovery.Recovered, error) {
	if p.At.Sub(sent.C.UsedAt.Time) > session.RepeatWindow {
		return recovery.Recovered{}, recovery.ErrWrongCode
	}
	r := recovery.Recovered{IdentityID: sent.C.IdentityID, AddressID: sent.C.AddressID, Via: sent.Via, Again: true}
	err := s.reads.get(ctx, &r.Epoch, `SELECT epoch FROM identities WHERE id = ?`, sent.C.IdentityID)
	if errors.Is(err, sql.ErrNoRows) {
		return recovery.Recovered{}, recovery.ErrWrongCode
	}
	if err != nil {
		return recovery.Recovered{}, fmt.Errorf("recover in flow %s: %w", p.FlowID, err)
	}
	return r, nil
}

// recover gives errStored when the code is not what it was when it was read.
func (s *Store) recover(tx *tx, sent sentCode, p recovery.Proof) (r recovery.Recovered, err error) {
	ring, err := s.keyring()
	if err != nil {
		return r, err
	}
	who, err := lock(tx, sent.C.IdentityID, 1)
	if errors.Is(err, sql.ErrNoRows) || err == nil && who.State != string(identity.Active) {
		return r, recovery.ErrWrongCode
	}
	if err != nil {
		return r, err
	}
	r = recovery.Recovered{IdentityID: who.id, AddressID: sent.C.AddressID, Via: sent.Via}
	at := moment{p.At}
	used, err := tx.exec(`UPDATE codes SET used_at = ? WHERE flow_id = ? AND digest = ? AND used_at IS NULL`, at, p.FlowID, sent.C.Digest)
	if err != nil {
		return r, err
	}
	if used == 0 {
		return r, errStored
	}
	if r.AddressID != uuid.Nil {
		if r.Verified, r.First, err = proveAddress(tx, who.id, sent, at); err != nil {
			return r, err
		}
	}
	// What else is on its way to the person, or to whoever reads their mail, is over; so
	// is what was used, which would be good again for a while.
	if _, err := tx.exec(`DELETE FROM codes WHERE identity_id = ? AND flow_id <> ?`, who.id, p.FlowID); err != nil {
		return r, err
	}
	if err := tx.get(&r.Epoch, `UPDATE identities SET epoch = epoch + 1 WHERE id = ? RETURNING epoch`, who.id); err != nil {
		return r, err
	}
	err = tx.list(&r.Ended, `UPDATE sessions SET revoked = ? WHERE identity_id = ? AND NOT revoked AND expires_at > ? AND epoch = ? RETURNING id`,
		true, who.id, moment{s.now()}, r.Epoch-1)
	if err != nil {
		return r, err
	}
	b := batch{ring: ring}
	for _, e := range p.Events(r, who.next) {
		if err := b.event(e); err != nil {
			return r, err
		}
	}
	if err := b.due(p.Due, p.At); err != nil {
		return r, err
	}
	if err := tx.insert(hookInputs.insert(b.inputs...), outbox.insert(b.outbox...)); err != nil {
		return r, err
	}
	return r, who.settle()
}

// proveAddress marks the address that a code went to as verified, and tells whether it
// was not before, and whether none of the identity was. Its key too must be what it
// was: the person may have changed it meanwhile.
func proveAddress(tx *tx, id uuid.UUID, sent sentCode, at moment) (proven, first bool, err error) {
	var before struct {
		Verified bool `db:"verified"`
		Any      bool `db:"any_verified"`
	}
	err = tx.get(&before, `SELECT verified, EXISTS (SELECT 1 FROM addresses o WHERE o.identity_id = a.identity_id AND o.verified) AS any_verified
		FROM addresses a WHERE a.id = ? AND a.identity_id = ? AND a.address_key = ? AND a.state = 'owned'`, sent.C.AddressID, id, sent.AddressKey)
	if errors.Is(err, sql.ErrNoRows) {
		return false, false, recovery.ErrWrongCode
	}
	if err != nil || before.Verified {
		return false, false, err
	}
	_, err = tx.exec(`UPDATE addresses SET verified = ?, verified_at = ?, status = ?, updated_at = ? WHERE id = ?`,
		true, at, string(identity.AddressCompleted), at, sent.C.AddressID)
	return true, !before.Any, err
}
