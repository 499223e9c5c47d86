package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/identity"
)

// HandOut stores the code of a flow that was sent to no address, with its event, in one
// durable commit, see [admin.Recoveries]. Which address c names does not matter.
func (s *Store) HandOut(ctx context.Context, c courier.Code, told admin.Made) error {
	ring, err := s.keyring()
	if err != nil {
		return fmt.Errorf("hand out a code: %w", err)
	}
	row := codeRow{
		FlowID: c.FlowID, IdentityID: c.IdentityID, Digest: ring.codeDigests(c.Purpose, c.FlowID, nil, c.Text.Reveal())[0],
		CreatedAt: moment{s.now()}, ExpiresAt: moment{c.ExpiresAt},
	}
	err = s.durable.commit(ctx, func(tx *tx) error {
		who, err := lock(tx, c.IdentityID, 1)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return identity.ErrNotFound
		case err != nil:
			return err
		case who.State != string(identity.Active):
			return admin.ErrInactive
		}
		b := batch{ring: ring}
		if err := b.event(told(who.next())); err != nil {
			return err
		}
		return tx.insert(sentCodes.insert(row), outbox.insert(b.outbox...))
	})
	if err != nil {
		return fmt.Errorf("hand out a code in flow %s: %w", c.FlowID, err)
	}
	return nil
}
