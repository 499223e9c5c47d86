package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/identity"
)

// maxIDs is how many identities are read by their ids with one statement.
const maxIDs = 1024

// IdentitiesByID gives the identities with the given ids that there are, by id,
// with addresses and credentials. There may be 1024 ids at most.
func (s *Store) IdentitiesByID(ctx context.Context, ids []uuid.UUID) ([]identity.Identity, error) {
	if len(ids) == 0 {
		return []identity.Identity{}, nil
	}
	if len(ids) > maxIDs {
		return nil, fmt.Errorf("identities by id: %d ids, at most %d are read at once", len(ids), maxIDs)
	}
	list, args := idList(ids)
	var rows []identityRow
	if err := s.reads.list(ctx, &rows, `SELECT `+identities.list()+` FROM identities WHERE id IN (`+list+`) ORDER BY id`, args...); err != nil {
		return nil, fmt.Errorf("identities by id: %w", err)
	}
	return s.complete(ctx, rows, `identity_id IN (`+list+`)`, args...)
}

// IdentitiesByIdentifier gives the identity with a canonical sign-in identifier, or with
// the handle of another, with addresses and credentials, or none.
func (s *Store) IdentitiesByIdentifier(ctx context.Context, identifier string) ([]identity.Identity, error) {
	ring, err := s.keyring()
	if err != nil {
		return nil, fmt.Errorf("identities by identifier: %w", err)
	}
	var id uuid.UUID
	err = s.reads.get(ctx, &id, `SELECT identity_id FROM addresses WHERE address_key = ? AND state = 'owned' AND identifier
		UNION ALL SELECT identity_id FROM handles WHERE value = ? LIMIT 1`, ring.addressKey("email", identifier), identifier)
	if errors.Is(err, sql.ErrNoRows) {
		return []identity.Identity{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("identities by identifier: %w", err)
	}
	return s.IdentitiesByID(ctx, []uuid.UUID{id})
}

// IdentitiesLike gives at most limit identities behind the given id, by id, of whom an
// identifier holds the text: one to sign in with, or an account at a provider as
// "provider:subject". What is entered is compared as it is stored, see
// [identity.CanonicalIdentifier]; an international domain must be whole, behind its "@".
// It reads through all addresses and handles until it has found so many.
func (s *Store) IdentitiesLike(ctx context.Context, text string, after uuid.UUID, limit int) ([]identity.Identity, error) {
	holds := "strpos"
	if s.backend.embedded() {
		holds = "instr"
	}
	entered, account := identity.CanonicalIdentifier(text), identity.Handle(identity.MethodOIDC, "")
	if entered == "" {
		return []identity.Identity{}, nil // each text holds the empty one
	}
	if strings.HasPrefix(text, "@") {
		if whole, err := identity.Canonical("a" + text); err == nil {
			entered = whole[1:]
		}
	}
	var rows []identityRow
	// Where the addresses fill the page, no handle behind its end is looked at.
	if err := s.reads.list(ctx, &rows, `WITH a AS MATERIALIZED (SELECT DISTINCT identity_id FROM addresses
			WHERE identity_id > ? AND state = 'owned' AND identifier AND `+holds+`(value, ?) > 0 ORDER BY identity_id LIMIT ?),
		h AS (SELECT DISTINCT identity_id FROM handles
			WHERE identity_id > ? AND identity_id <= COALESCE((SELECT identity_id FROM a ORDER BY identity_id LIMIT 1 OFFSET ?), ?)
				AND `+holds+`(value, ?) <> 1 AND (`+holds+`(value, ?) > 0 OR `+holds+`(replace(value, ?, ''), ?) > 0)
			ORDER BY identity_id LIMIT ?)
		SELECT `+identities.list()+` FROM identities WHERE id IN (SELECT identity_id FROM a UNION SELECT identity_id FROM h) ORDER BY id LIMIT ?`,
		after, entered, limit, after, limit-1, uuid.Max, identity.ExternalHandle(""), entered, account, text, limit, limit); err != nil {
		return nil, fmt.Errorf("identities like: %w", err)
	}
	if len(rows) == 0 {
		return []identity.Identity{}, nil
	}
	ids := make([]uuid.UUID, len(rows))
	for n := range rows {
		ids[n] = rows[n].ID
	}
	list, args := idList(ids)
	return s.complete(ctx, rows, `identity_id IN (`+list+`)`, args...)
}

// IdentitiesAt gives at most limit identities from the offset on, by id, and how
// many there are in all. It reads through all that come before, and counts all:
// [Store.Identities] costs the same however many there are.
func (s *Store) IdentitiesAt(ctx context.Context, offset, limit int) ([]identity.Identity, int, error) {
	var total int
	if err := s.reads.get(ctx, &total, `SELECT count(*) FROM identities`); err != nil {
		return nil, 0, fmt.Errorf("identities at %d: %w", offset, err)
	}
	var rows []identityRow
	if err := s.reads.list(ctx, &rows, `SELECT `+identities.list()+` FROM identities ORDER BY id LIMIT ? OFFSET ?`, limit, offset); err != nil {
		return nil, 0, fmt.Errorf("identities at %d: %w", offset, err)
	}
	page, err := s.completePage(ctx, rows)
	return page, total, err
}

// Taken tells which of these identities have an address or a handle that is stored,
// whosever it is.
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

// completePage is [Store.complete] for identities that follow each other by id.
func (s *Store) completePage(ctx context.Context, rows []identityRow) ([]identity.Identity, error) {
	if len(rows) == 0 {
		return []identity.Identity{}, nil
	}
	return s.complete(ctx, rows, `identity_id >= ? AND identity_id <= ?`, rows[0].ID, rows[len(rows)-1].ID)
}

// complete adds addresses and credentials to identities, with one statement
// each: of those that which means.
func (s *Store) complete(ctx context.Context, rows []identityRow, which string, args ...any) ([]identity.Identity, error) {
	all := make([]identity.Identity, len(rows))
	of := make(map[uuid.UUID]*identity.Identity, len(rows))
	for n := range rows {
		all[n] = *rows[n].identity()
		of[all[n].ID] = &all[n]
	}
	var at []addressRow
	if err := s.reads.list(ctx, &at, `SELECT `+addresses.list()+` FROM addresses WHERE `+which+` ORDER BY position`, args...); err != nil {
		return nil, fmt.Errorf("addresses: %w", err)
	}
	var by []credentialRow
	if err := s.reads.list(ctx, &by, `SELECT `+credentials.list()+` FROM credentials WHERE `+which+` ORDER BY type`, args...); err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	attachAddresses(of, at)
	return all, attachCredentials(of, by)
}

// idList gives ids as parameters, the last one repeated until there are as many
// as the next power of four: so there are few different statements to prepare.
func idList(ids []uuid.UUID) (list string, args []any) {
	n := 1
	for n < len(ids) {
		n *= 4
	}
	args = make([]any, n)
	for at := range args {
		args[at] = ids[min(at, len(ids)-1)]
	}
	return marks(n), args
}
