package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/recovery"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/verification"
)

// Recover holds p's code against the flow's, and in one durable commit marks the code
// as used and its address as verified, ends all sessions of the person and the codes of
// their other flows, also those that were asked for and are not made yet, and stores the
// events and the inputs of their background hooks. A code that this flow has used within
// [session.RepeatWindow] succeeds again, with nothing changed. Otherwise
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
	who, err := sent.use(tx, p.At)
	if err != nil {
		return r, err
	}
	r = recovery.Recovered{IdentityID: who.id, AddressID: sent.C.AddressID, Via: sent.Via}
	if r.AddressID != uuid.Nil {
		if r.Verified, r.First, err = sent.prove(tx, p.At); err != nil {
			return r, err
		}
	}
	// What else is on its way to the person, or to whoever reads their mail, is over; so
	// is what was used, which would be good again for a while.
	if _, err := tx.exec(`DELETE FROM codes WHERE identity_id = ? AND flow_id <> ?`, who.id, p.FlowID); err != nil {
		return r, err
	}
	if err := tx.get(&r.Epoch, `UPDATE identities SET epoch = epoch + 1, secured_at = ? WHERE id = ? RETURNING epoch`, moment{s.now()}, who.id); err != nil {
		return r, err
	}
	err = tx.list(&r.Ended, `UPDATE sessions SET revoked = ? WHERE identity_id = ? AND NOT revoked AND expires_at > ? AND epoch = ? RETURNING id`,
		true, who.id, moment{s.now()}, r.Epoch-1)
	if err != nil {
		return r, err
	}
	return r, s.say(who, p.Events(r, who.next), p.Due, p.At)
}
