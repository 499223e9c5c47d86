package store

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/verification"
	"github.com/usher-auth/usher/services/webhook"
)

type codeRow struct {
	FlowID     uuid.UUID `db:"flow_id"`
	IdentityID uuid.UUID `db:"identity_id"`
	AddressID  uuid.UUID `db:"address_id"`
	Digest     []byte    `db:"digest"`
	UsedAt     moment    `db:"used_at"`
	CreatedAt  moment    `db:"created_at"`
	ExpiresAt  moment    `db:"expires_at"`
}

var sentCodes = tableOf[codeRow]("codes")

// codeDigests gives what a code of a flow is stored as, by the current key and
// the former ones. It is bound to its purpose and to the address as it was when the
// code was sent; there is no address key for one that an administrator hands out.
func (k *keyring) codeDigests(p flow.Purpose, flowID uuid.UUID, addressKey []byte, code string) [][]byte {
	var all [][]byte
	for _, key := range k.byPurpose[KeyCode] {
		mac := hmac.New(sha256.New, key)
		mac.Write(flowID[:])
		mac.Write(addressKey)
		mac.Write([]byte(p + "\x00"))
		mac.Write([]byte(code))
		all = append(all, mac.Sum(nil))
	}
	return all
}

// sentCode is a code that was right, and what is known of the address that it was sent
// to: nothing for one that an administrator has handed out, whose address id is zero.
type sentCode struct {
	C          codeRow `db:"c"`
	Via        string  `db:"via"`
	AddressKey []byte  `db:"address_key"`
}

func (c sentCode) verified() verification.Verified {
	return verification.Verified{IdentityID: c.C.IdentityID, AddressID: c.C.AddressID, Via: c.Via, Again: !c.C.UsedAt.IsZero()}
}

// stillWanted gives [courier.ErrOutdated] for a code that would outlive what has ended
// all codes of its person. It locks the identity: who ends them comes before, and is
// seen, or behind, and deletes the code.
func stillWanted(tx *tx, c *courier.Code) error {
	if c == nil {
		return nil
	}
	lock := ""
	if !tx.pool.backend.embedded() {
		lock = ` FOR NO KEY UPDATE` // SQLite has one writer
	}
	var secured moment
	err := tx.get(&secured, `SELECT secured_at FROM identities WHERE id = ?`+lock, c.IdentityID)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return courier.ErrNotFound
	case err == nil && c.AskedAt.Before(secured.Time):
		return courier.ErrOutdated
	}
	return err
}

// queueCode stores a code in place of its flow's former one, and that its address was
// sent something.
func queueCode(tx *tx, c *courier.Code, digest []byte, at moment) error {
	row := codeRow{FlowID: c.FlowID, IdentityID: c.IdentityID, AddressID: c.AddressID, Digest: digest, CreatedAt: at, ExpiresAt: moment{c.ExpiresAt}}
	for _, st := range sentCodes.insert(row).statements() {
		if _, err := tx.exec(st.query+` ON CONFLICT (flow_id) DO UPDATE SET identity_id = excluded.identity_id, address_id = excluded.address_id,
			digest = excluded.digest, used_at = NULL, created_at = excluded.created_at, expires_at = excluded.expires_at`, st.args...); err != nil {
			return err
		}
	}
	_, err := tx.exec(`UPDATE addresses SET status = ?, updated_at = ? WHERE id = ? AND identity_id = ? AND status = ?`,
		string(identity.AddressSent), at, c.AddressID, c.IdentityID, string(identity.AddressPending))
	return err
}

// Verify holds p's code against the flow's, and in one durable commit marks the
// code as used and the address as verified and stores the events and the inputs
// of their background hooks. A code that this flow has used already succeeds
// again, with nothing changed. Otherwise [verification.ErrWrongCode]: no such
// code, over, its address is not what it was, or its person is deactivated.
func (s *Store) Verify(ctx context.Context, p verification.Proof) (verification.Verified, error) {
	given := givenCode{p.Purpose, p.FlowID, p.Code, p.At}
	sent, err := s.rightCode(ctx, given)
	if err != nil || !sent.C.UsedAt.IsZero() {
		return sent.verified(), err
	}
	err = s.durable.commit(ctx, func(tx *tx) error { return s.verify(tx, sent, p) })
	if errors.Is(err, errStored) { // used or replaced since it was read
		if sent, err = s.rightCode(ctx, given); err == nil && sent.C.UsedAt.IsZero() {
			err = verification.ErrWrongCode
		}
	}
	if err != nil && !errors.Is(err, verification.ErrWrongCode) {
		err = fmt.Errorf("verify in flow %s: %w", p.FlowID, err)
	}
	return sent.verified(), err
}

// HoldsCode gives nil if p's code is the flow's, used or not, and changes nothing.
func (s *Store) HoldsCode(ctx context.Context, p verification.Proof) error {
	_, err := s.rightCode(ctx, givenCode{p.Purpose, p.FlowID, p.Code, p.At})
	return err
}

// givenCode is a code or a link's token that was entered, when, and what for.
type givenCode struct {
	purpose flow.Purpose
	flowID  uuid.UUID
	text    string // a secret
	at      time.Time
}

// rightCode gives the flow's code, used or not, if it is the one that was given. It
// takes as long where there is none. [verification.ErrWrongCode] says that it is not.
func (s *Store) rightCode(ctx context.Context, given givenCode) (sentCode, error) {
	ring, err := s.keyring()
	if err != nil {
		return sentCode{}, fmt.Errorf("code of flow %s: %w", given.flowID, err)
	}
	sent := sentCode{C: codeRow{Digest: make([]byte, sha256.Size)}, AddressKey: make([]byte, sha256.Size)}
	err = s.reads.get(ctx, &sent, `SELECT `+sentCodes.of("c")+`, coalesce(a.via, '') AS via, a.address_key FROM codes c
		LEFT JOIN addresses a ON a.id = c.address_id AND a.identity_id = c.identity_id AND a.state = 'owned'
		JOIN identities i ON i.id = c.identity_id AND i.state = 'active' WHERE c.flow_id = ?`, given.flowID)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return sentCode{}, fmt.Errorf("code of flow %s: %w", given.flowID, err)
	}
	right := false // also where its address is not what it was: the digest is bound to that
	for _, digest := range ring.codeDigests(given.purpose, given.flowID, sent.AddressKey, given.text) {
		right = hmac.Equal(digest, sent.C.Digest) || right
	}
	unused := sent.C.UsedAt.IsZero()
	if err != nil || !right || unused && !given.at.Before(sent.C.ExpiresAt.Time) {
		return sentCode{}, verification.ErrWrongCode
	}
	return sent, nil
}

// verify gives errStored when the code is not what it was when it was read.
func (s *Store) verify(tx *tx, sent sentCode, p verification.Proof) error {
	who, err := sent.use(tx, p.At)
	if err != nil {
		return err
	}
	_, first, err := sent.prove(tx, p.At)
	if err != nil {
		return err
	}
	return s.say(who, p.Events(sent.verified(), first, who.next), p.Due, p.At)
}

// use marks a code as used, and locks whose it is. It gives errStored when the code is
// not what it was when it was read.
func (c sentCode) use(tx *tx, at time.Time) (*subject, error) {
	who, err := lock(tx, c.C.IdentityID, 1)
	if errors.Is(err, sql.ErrNoRows) || err == nil && who.State != string(identity.Active) {
		return nil, verification.ErrWrongCode
	}
	if err != nil {
		return nil, err
	}
	used, err := tx.exec(`UPDATE codes SET used_at = ? WHERE flow_id = ? AND digest = ? AND used_at IS NULL`, moment{at}, c.C.FlowID, c.C.Digest)
	if err == nil && used == 0 {
		err = errStored
	}
	return who, err
}

// prove marks the address that a code went to as verified, and tells whether it was
// not before, and whether none of the identity was. Its key too must be what it was:
// the person may have changed it meanwhile.
func (c sentCode) prove(tx *tx, at time.Time) (proven, first bool, err error) {
	var before struct {
		Verified bool `db:"verified"`
		Any      bool `db:"any_verified"`
	}
	err = tx.get(&before, `SELECT verified, EXISTS (SELECT 1 FROM addresses o WHERE o.identity_id = a.identity_id AND o.verified) AS any_verified
		FROM addresses a WHERE a.id = ? AND a.identity_id = ? AND a.address_key = ? AND a.state = 'owned'`, c.C.AddressID, c.C.IdentityID, c.AddressKey)
	if errors.Is(err, sql.ErrNoRows) {
		return false, false, verification.ErrWrongCode
	}
	if err != nil || before.Verified {
		return false, false, err
	}
	_, err = tx.exec(`UPDATE addresses SET verified = ?, verified_at = ?, status = ?, updated_at = ? WHERE id = ?`,
		true, moment{at}, string(identity.AddressCompleted), moment{at}, c.C.AddressID)
	return true, !before.Any, err
}

// say stores events about who, and what hooks are to get, and lets go of who's places.
func (s *Store) say(who *subject, all []events.Event, due []webhook.Due, at time.Time) error {
	ring, err := s.keyring()
	if err != nil {
		return err
	}
	b := batch{ring: ring}
	for _, e := range all {
		if err := b.event(e); err != nil {
			return err
		}
	}
	if err := b.due(due, at); err != nil {
		return err
	}
	if err := who.tx.insert(hookInputs.insert(b.inputs...), outbox.insert(b.outbox...)); err != nil {
		return err
	}
	return who.settle()
}

// DeleteExpiredCodes deletes at most limit codes that were over before the given
// time, the first to end first, and tells how many.
func (s *Store) DeleteExpiredCodes(ctx context.Context, before time.Time, limit int) (int, error) {
	deleted, err := s.relaxed.exec(ctx, `DELETE FROM codes WHERE flow_id IN
		(SELECT flow_id FROM codes WHERE expires_at < ? ORDER BY expires_at LIMIT ?)`, moment{before}, limit)
	if err != nil {
		return 0, fmt.Errorf("delete expired codes: %w", err)
	}
	return int(deleted), nil
}
