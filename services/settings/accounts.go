package settings

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
)

// Link adds an account that its provider has proven. It does nothing if the account
// is linked already.
//
// A [*flow.Invalid] says that it is another person's, or that the person has another
// account there, be it the same one of another issuer.
func (s *Service) Link(ctx context.Context, in Submit, a identity.Account) error {
	if a.Provider != in.Provider.ID || !a.Proven() {
		return fmt.Errorf("settings: %q has not proven this account", in.Provider.ID)
	}
	_, err := s.change(ctx, in, linking, identity.MethodOIDC, func(stored *identity.Identity, now time.Time) (*identity.Identity, error) {
		return link(stored, in.Provider, a, now)
	})
	if errors.Is(err, identity.ErrExists) {
		return fmt.Errorf("%w: %w", err, invalid("", flow.LinkConflict()))
	}
	return err
}

// Unlink removes the accounts at a provider, or gives [ErrNotLinked] if there are
// none. A [*flow.Invalid] says that w would be no way to sign in without them.
func (s *Service) Unlink(ctx context.Context, in Submit, w Ways) error {
	_, err := s.change(ctx, in, unlinking, identity.MethodOIDC, func(stored *identity.Identity, now time.Time) (*identity.Identity, error) {
		return w.unlink(stored, in.Provider.ID, now)
	})
	return err
}
