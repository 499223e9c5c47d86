package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/settings"
)

// ChangeCredentials is [settings.Store.ChangeCredentials]. The identity is locked
// while decide runs; on SQLite all writing waits for it.
func (s *Store) ChangeCredentials(ctx context.Context, id uuid.UUID, decide func(stored *identity.Identity) (*settings.Change, error)) error {
	err := s.UpdateIdentity(ctx, id, func(stored *identity.Identity) (*admin.Change, error) {
		c, err := decide(stored)
		if c == nil || err != nil {
			return nil, err
		}
		return &admin.Change{Identity: c.Identity, Updated: c.Updated}, nil
	})
	if err != nil {
		return fmt.Errorf("change credentials: %w", err)
	}
	return nil
}
