package app

import (
	"context"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
)

// administration is [admin.Service] by the configuration in force.
type administration struct{ live *live }

func (a administration) Create(ctx context.Context, in admin.Creation) (*identity.Identity, error) {
	return a.live.now().admin.Create(ctx, in)
}

func (a administration) Update(ctx context.Context, in admin.Update) (*identity.Identity, error) {
	return a.live.now().admin.Update(ctx, in)
}

func (a administration) Delete(ctx context.Context, id uuid.UUID, by admin.Author) error {
	return a.live.now().admin.Delete(ctx, id, by)
}

func (a administration) RevokeSession(ctx context.Context, id uuid.UUID, by admin.Author) error {
	return a.live.now().admin.RevokeSession(ctx, id, by)
}

func (a administration) DeleteSessions(ctx context.Context, identityID uuid.UUID, by admin.Author) error {
	return a.live.now().admin.DeleteSessions(ctx, identityID, by)
}

func (a administration) ExtendSession(ctx context.Context, id uuid.UUID) (*session.Session, error) {
	return a.live.now().admin.ExtendSession(ctx, id)
}
