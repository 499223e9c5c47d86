package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/identity"
)

type identityRow struct {
	ID             uuid.UUID `db:"id"`
	ExternalID     string    `db:"external_id"`
	SchemaID       string    `db:"schema_id"`
	State          string    `db:"state"`
	StateChangedAt moment    `db:"state_changed_at"`
	Traits         document  `db:"traits"`
	MetadataPublic document  `db:"metadata_public"`
	MetadataAdmin  document  `db:"metadata_admin"`
	Epoch          int64     `db:"epoch"`
	Sequence       int64     `db:"sequence"`
	CreatedAt      moment    `db:"created_at"`
	UpdatedAt      moment    `db:"updated_at"`
}

type credentialRow struct {
	IdentityID  uuid.UUID `db:"identity_id"`
	Type        string    `db:"type"`
	Identifiers document  `db:"identifiers"`
	Config      document  `db:"config"`
	CreatedAt   moment    `db:"created_at"`
	UpdatedAt   moment    `db:"updated_at"`
}

type addressRow struct {
	ID         uuid.UUID `db:"id"`
	IdentityID uuid.UUID `db:"identity_id"`
	Position   int       `db:"position"`
	Via        string    `db:"via"`
	Value      string    `db:"value"`
	AddressKey []byte    `db:"address_key"`
	State      string    `db:"state"`
	Verifiable bool      `db:"verifiable"`
	Recovery   bool      `db:"recovery"`
	Identifier bool      `db:"identifier"`
	Verified   bool      `db:"verified"`
	VerifiedAt moment    `db:"verified_at"`
	Status     string    `db:"status"`
	CreatedAt  moment    `db:"created_at"`
	UpdatedAt  moment    `db:"updated_at"`
}

type handleRow struct {
	Value      string    `db:"value"`
	IdentityID uuid.UUID `db:"identity_id"`
	CreatedAt  moment    `db:"created_at"`
}

var (
	identities  = tableOf[identityRow]("identities")
	credentials = tableOf[credentialRow]("credentials")
	addresses   = tableOf[addressRow]("addresses")
	handles     = tableOf[handleRow]("handles")
)

// owned is the state of an address that no other identity can have.
const owned = "owned"

// firstSequence is that of identity.created, which is in the commit that makes
// the identity.
const firstSequence = 1

// CreateIdentity is [Store.CreateIdentities] of one.
func (s *Store) CreateIdentity(ctx context.Context, i *identity.Identity, e events.Event) error {
	return s.CreateIdentities(ctx, []*identity.Identity{i}, []events.Event{e})
}

// CreateIdentities stores identities and their events in one durable commit, or
// nothing: with [identity.ErrExists] if an id, an identifier or an address is taken.
func (s *Store) CreateIdentities(ctx context.Context, all []*identity.Identity, made []events.Event) error {
	ring, err := s.keyring()
	if err != nil {
		return fmt.Errorf("store identities: %w", err)
	}
	b := batch{ring: ring}
	for _, i := range all {
		b.identity(i)
	}
	for _, e := range made {
		if err := b.event(e); err != nil {
			return fmt.Errorf("store identities: %w", err)
		}
	}
	if len(all) == 1 {
		err = s.durable.insert(ctx, b.inserts()...) // one round trip
	} else {
		err = s.durable.commit(ctx, func(tx *tx) error { return tx.load(b.inserts()...) })
	}
	if c := takenColumn(err); c == "identities.id" || c == "identities.pkey" { // SQLite, PostgreSQL
		err = identity.ErrExists
	}
	if err != nil {
		return fmt.Errorf("store identities: %w", identityTaken(err))
	}
	return nil
}

// identityTaken turns a taken address or handle into [identity.ErrExists].
func identityTaken(err error) error {
	switch takenColumn(err) {
	case "addresses.address_key", "handles.value":
		return identity.ErrExists
	}
	return err
}

// Identity gives an identity with addresses and credentials, or [identity.ErrNotFound].
func (s *Store) Identity(ctx context.Context, id uuid.UUID) (*identity.Identity, error) {
	i, err := s.identityWhere(ctx, `i.id = ?`, id)
	if err != nil {
		return nil, fmt.Errorf("identity %s: %w", id, err)
	}
	return i, nil
}

// IdentityByExternalID gives the identity with an external id, with addresses and
// credentials, or [identity.ErrNotFound].
func (s *Store) IdentityByExternalID(ctx context.Context, id string) (*identity.Identity, error) {
	i, err := s.identityWhere(ctx, `i.id = (SELECT identity_id FROM handles WHERE value = ?)`, identity.ExternalHandle(id))
	if err != nil {
		return nil, fmt.Errorf("identity by external id: %w", err)
	}
	return i, nil
}

// identityWhere gives the identity i that a condition names, with addresses and
// credentials, or [identity.ErrNotFound]. On PostgreSQL, where each statement is
// a round trip, it is one.
func (s *Store) identityWhere(ctx context.Context, condition string, args ...any) (*identity.Identity, error) {
	if !s.Embedded() {
		return s.identityAtOnce(ctx, condition, args...)
	}
	var row identityRow
	err := s.reads.get(ctx, &row, `SELECT `+identities.list()+` FROM identities i WHERE `+condition, args...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, identity.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	i := row.identity()
	if err := s.addAddresses(ctx, i); err != nil {
		return nil, err
	}
	return i, s.addCredentials(ctx, i)
}

// identityAtOnce reads addresses and credentials as one value each.
func (s *Store) identityAtOnce(ctx context.Context, condition string, args ...any) (*identity.Identity, error) {
	var row struct {
		identityRow
		Addresses   document `db:"addresses"`
		Credentials document `db:"credentials"`
	}
	keyless := strings.Replace(addresses.list(), "address_key", "NULL", 1) // JSON has no bytes, and nobody asks for them
	err := s.reads.get(ctx, &row, `SELECT `+identities.list()+`,
		(SELECT json_agg(json_build_array(`+keyless+`) ORDER BY position) FROM addresses WHERE identity_id = i.id) AS addresses,
		(SELECT json_agg(json_build_array(`+credentials.list()+`) ORDER BY type) FROM credentials WHERE identity_id = i.id) AS credentials
		FROM identities i WHERE `+condition, args...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, identity.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	i := row.identity()
	addressRows, err := addresses.decode(row.Addresses)
	if err != nil {
		return nil, err
	}
	for _, r := range addressRows {
		i.Addresses = append(i.Addresses, r.address())
	}
	credentialRows, err := credentials.decode(row.Credentials)
	if err != nil {
		return nil, err
	}
	for _, r := range credentialRows {
		c, err := r.credential()
		if err != nil {
			return nil, err
		}
		i.Credentials = append(i.Credentials, c)
	}
	return i, nil
}

// Identities gives at most limit identities behind the given id, by id, with
// addresses and credentials. The zero id is before all others.
func (s *Store) Identities(ctx context.Context, after uuid.UUID, limit int) ([]identity.Identity, error) {
	var rows []identityRow
	err := s.reads.list(ctx, &rows, `SELECT `+identities.list()+` FROM identities WHERE id > ? ORDER BY id LIMIT ?`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("identities: %w", err)
	}
	return s.completePage(ctx, rows)
}

// addAddresses reads the addresses of identities that are sorted by id, all
// with one statement: those of the ids from the first to the last.
func (s *Store) addAddresses(ctx context.Context, page ...*identity.Identity) error {
	if len(page) == 0 {
		return nil
	}
	var rows []addressRow
	err := s.reads.list(ctx, &rows, `SELECT `+addresses.list()+` FROM addresses
		WHERE identity_id >= ? AND identity_id <= ? ORDER BY position`, page[0].ID, page[len(page)-1].ID)
	if err != nil {
		return fmt.Errorf("addresses: %w", err)
	}
	attachAddresses(byID(page), rows)
	return nil
}

func attachAddresses(of map[uuid.UUID]*identity.Identity, rows []addressRow) {
	for _, r := range rows {
		if i := of[r.IdentityID]; i != nil { // nil: made since the page was read
			i.Addresses = append(i.Addresses, r.address())
		}
	}
}

// addCredentials reads credentials as [Store.addAddresses] does addresses.
func (s *Store) addCredentials(ctx context.Context, page ...*identity.Identity) error {
	if len(page) == 0 {
		return nil
	}
	var rows []credentialRow
	err := s.reads.list(ctx, &rows, `SELECT `+credentials.list()+` FROM credentials
		WHERE identity_id >= ? AND identity_id <= ? ORDER BY type`, page[0].ID, page[len(page)-1].ID)
	if err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	return attachCredentials(byID(page), rows)
}

func attachCredentials(of map[uuid.UUID]*identity.Identity, rows []credentialRow) error {
	for _, r := range rows {
		i := of[r.IdentityID]
		if i == nil {
			continue
		}
		c, err := r.credential()
		if err != nil {
			return err
		}
		i.Credentials = append(i.Credentials, c)
	}
	return nil
}

func byID(page []*identity.Identity) map[uuid.UUID]*identity.Identity {
	of := make(map[uuid.UUID]*identity.Identity, len(page))
	for _, i := range page {
		of[i.ID] = i
	}
	return of
}

func (r identityRow) identity() *identity.Identity {
	return &identity.Identity{
		ID:             r.ID,
		ExternalID:     r.ExternalID,
		SchemaID:       r.SchemaID,
		State:          identity.State(r.State),
		StateChangedAt: r.StateChangedAt.Time,
		Traits:         json.RawMessage(r.Traits),
		MetadataPublic: json.RawMessage(r.MetadataPublic),
		MetadataAdmin:  json.RawMessage(r.MetadataAdmin),
		Epoch:          r.Epoch,
		Sequence:       r.Sequence,
		CreatedAt:      r.CreatedAt.Time,
		UpdatedAt:      r.UpdatedAt.Time,
	}
}

func (r credentialRow) credential() (identity.Credential, error) {
	c := identity.Credential{Type: r.Type, Config: json.RawMessage(r.Config), CreatedAt: r.CreatedAt.Time, UpdatedAt: r.UpdatedAt.Time}
	if err := r.Identifiers.decode(&c.Identifiers); err != nil {
		return c, fmt.Errorf("credential %s of %s: %w", r.Type, r.IdentityID, err)
	}
	return c, nil
}

func (r addressRow) address() identity.Address {
	return identity.Address{
		ID:         r.ID,
		Via:        r.Via,
		Value:      r.Value,
		Verifiable: r.Verifiable,
		Recovery:   r.Recovery,
		Identifier: r.Identifier,
		Verified:   r.Verified,
		VerifiedAt: r.VerifiedAt.Time,
		Status:     identity.AddressStatus(r.Status),
		CreatedAt:  r.CreatedAt.Time,
		UpdatedAt:  r.UpdatedAt.Time,
	}
}
