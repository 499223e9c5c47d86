package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/login"
)

// LinkCredential is [login.Store.LinkCredential]. The identity is locked while
// l.Check runs; on SQLite all writing waits for it.
func (s *Store) LinkCredential(ctx context.Context, l login.Linking) error {
	err := s.UpdateIdentity(ctx, l.IdentityID, func(stored *identity.Identity) (*admin.Change, error) {
		if err := l.Check(stored); err != nil {
			return nil, err
		}
		if c := stored.Credential(l.Method); c != nil && slices.Contains(c.Identifiers, l.Identifier) {
			return nil, nil
		}
		now := s.now().UTC().Truncate(time.Microsecond)
		return &admin.Change{Identity: linked(stored, l, now), Updated: l.Updated}, nil
	})
	if err != nil {
		return fmt.Errorf("link %s: %w", l.Method, err)
	}
	return nil
}

// linked is what an identity becomes by l.
func linked(stored *identity.Identity, l login.Linking, now time.Time) *identity.Identity {
	next := *stored
	next.UpdatedAt = now
	next.Credentials = slices.Clone(stored.Credentials)
	c := next.Credential(l.Method)
	if c == nil {
		next.Credentials = append(next.Credentials, identity.Credential{Type: l.Method, Config: json.RawMessage(`{}`), CreatedAt: now})
		c = &next.Credentials[len(next.Credentials)-1]
	}
	c.Identifiers = append(slices.Clone(c.Identifiers), l.Identifier)
	c.UpdatedAt = now
	return &next
}
