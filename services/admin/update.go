package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
)

// Update is a change of an identity.
type Update struct {
	ID uuid.UUID
	// Want says what the identity is to be, from what it is. Nobody else can change
	// the identity meanwhile, so Want must not wait for anything. Its error is
	// that of the update.
	Want func(stored *identity.Identity) (Wanted, error)
	// Password is hashed without a look at the policy; HashedPassword is stored
	// as it is. Both empty: the password stays.
	Password       password.Plain
	HashedPassword string
	// Accounts at providers are added; those that are there stay.
	Accounts []identity.Account
	Author   Author
}

// Wanted is what an identity is to be.
type Wanted struct {
	ExternalID     string         // empty for none
	SchemaID       string         // empty: as it is
	State          identity.State // empty: as it is
	Traits         json.RawMessage
	MetadataPublic json.RawMessage // nil for none
	MetadataAdmin  json.RawMessage
}

// Update changes an identity and gives what it has become. An address whose
// canonical value stays, stays as it is; another is new and unverified. The
// password's identifiers follow the traits.
//
// With the identity's activity, or its former password, go all of its sessions,
// and none of them comes back with it.
func (s *Service) Update(ctx context.Context, in Update) (*identity.Identity, error) {
	if err := checkAccounts(in.Accounts); err != nil {
		return nil, err
	}
	config, err := s.hash(ctx, in.Password, in.HashedPassword)
	if err != nil {
		return nil, err
	}
	var result *identity.Identity
	err = s.Store.UpdateIdentity(ctx, in.ID, func(stored *identity.Identity) (*identity.Change, error) {
		wanted, err := in.Want(stored)
		if err != nil {
			return nil, err
		}
		next, err := s.next(stored, wanted, config, in.Accounts)
		if err != nil {
			return nil, err
		}
		result = next
		return change(stored, next, in.Author), nil
	})
	if err != nil {
		return nil, fmt.Errorf("update identity: %w", err)
	}
	return result, nil
}

// next is what wanted makes of an identity. What does not change is left byte
// for byte: an identity whose traits its schema has outgrown can still be
// deactivated.
func (s *Service) next(stored *identity.Identity, w Wanted, config json.RawMessage, accounts []identity.Account) (*identity.Identity, error) {
	if err := check(w.State, w.ExternalID); err != nil {
		return nil, err
	}
	now := s.now()
	next := *stored
	next.ExternalID = w.ExternalID
	if w.SchemaID != "" {
		next.SchemaID = w.SchemaID
	}
	if w.State != "" && w.State != stored.State {
		next.State, next.StateChangedAt = w.State, now
	}
	next.Traits = unlessSame(stored.Traits, identity.Object(w.Traits))
	next.MetadataPublic = unlessSame(stored.MetadataPublic, w.MetadataPublic)
	next.MetadataAdmin = unlessSame(stored.MetadataAdmin, w.MetadataAdmin)

	identifiers := passwordOf(stored).Identifiers
	firstPassword := config != nil && len(identifiers) == 0
	if next.SchemaID != stored.SchemaID || !bytes.Equal(next.Traits, stored.Traits) || firstPassword {
		schema, err := s.schema(next.SchemaID, next.Traits)
		if err != nil {
			return nil, err
		}
		next.Addresses, identifiers = extract(schema, next.Traits, stored.Addresses, now)
	}
	var err error
	if next.Credentials, err = withPassword(stored.Credentials, identifiers, config, now); err != nil {
		return nil, err
	}
	if deactivates(stored, &next) || !bytes.Equal(passwordOf(stored).Config, passwordOf(&next).Config) {
		next.Epoch++
	}
	result, err := withAccounts(&next, accounts, now)
	if err != nil {
		return nil, err
	}
	if len(changed(stored, result)) > 0 {
		result.UpdatedAt = now
	}
	return result, nil
}

// change is what is to be stored, nil if nothing is.
func change(stored, next *identity.Identity, by Author) *identity.Change {
	parts := changed(stored, next)
	if len(parts) == 0 {
		return nil
	}
	now := next.UpdatedAt
	c := &identity.Change{Identity: next, Updated: func(sequence int64) events.Event {
		return event(by, next.ID, now, sequence, events.IdentityUpdated{IdentityID: next.ID.String(), Changed: parts})
	}}
	if next.Epoch != stored.Epoch {
		reason := byAdmin
		if deactivates(stored, next) {
			reason = deactivated
		}
		c.Revoked = revocation(by, next.ID, now, reason)
	}
	return c
}

// changed names the parts that differ.
func changed(a, b *identity.Identity) (parts []string) {
	for _, part := range []struct {
		name string
		same bool
	}{
		{"external_id", a.ExternalID == b.ExternalID},
		{"schema_id", a.SchemaID == b.SchemaID},
		{"traits", bytes.Equal(a.Traits, b.Traits)},
		{"state", a.State == b.State},
		{"credentials", slices.EqualFunc(a.Credentials, b.Credentials, sameCredential)},
		{"metadata_public", bytes.Equal(a.MetadataPublic, b.MetadataPublic)},
		{"metadata_admin", bytes.Equal(a.MetadataAdmin, b.MetadataAdmin)},
	} {
		if !part.same {
			parts = append(parts, part.name)
		}
	}
	return parts
}

func sameCredential(a, b identity.Credential) bool {
	return a.Type == b.Type && slices.Equal(a.Identifiers, b.Identifiers) && bytes.Equal(a.Config, b.Config)
}

func deactivates(stored, next *identity.Identity) bool {
	return stored.State == identity.Active && next.State != identity.Active
}

// passwordOf gives the zero credential for an identity without a password.
func passwordOf(i *identity.Identity) identity.Credential {
	for _, c := range i.Credentials {
		if c.Type == "password" {
			return c
		}
	}
	return identity.Credential{}
}

// unlessSame gives b, or a if both say the same in the same order.
func unlessSame(a, b json.RawMessage) json.RawMessage {
	var one, other bytes.Buffer
	if json.Compact(&one, a) == nil && json.Compact(&other, b) == nil && bytes.Equal(one.Bytes(), other.Bytes()) {
		return a
	}
	return b
}

// Delete deletes an identity: what is stored of it, and all of its sessions.
func (s *Service) Delete(ctx context.Context, id uuid.UUID, by Author) error {
	now := s.now()
	err := s.Store.DeleteIdentity(ctx, id, Deletion{
		Revoked: revocation(by, id, now, byAdmin),
		Deleted: func(sequence int64) events.Event {
			return event(by, id, now, sequence, events.IdentityDeleted{IdentityID: id.String()})
		},
	})
	if err != nil {
		return fmt.Errorf("delete identity: %w", err)
	}
	return nil
}
