package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/identity"
)

var (
	// ErrNoCredential says that the identity has no credential of this kind, or not
	// with this identifier.
	ErrNoCredential = errors.New("admin: no such credential")
	// ErrLastWay says that the identity could not sign in without what is to be removed.
	ErrLastWay = errors.New("admin: the last way to sign in stays")
)

// Removal is a credential that is to go.
type Removal struct {
	ID   uuid.UUID // of the identity
	Type string    // of the credential
	// Identifier is which account of [identity.MethodOIDC] it is; other types have one
	// credential, and it is not read.
	Identifier string
	// SignsIn tells whether an identity has a way to sign in. It must not wait for
	// anything.
	SignsIn func(*identity.Identity) bool
	Author  Author
}

// RemoveCredential removes a credential. All sessions of the identity end, whichever
// way they were begun, and so does what would sign in otherwise: who administers
// removes what nobody is to come in by any more.
//
// It gives [ErrNoCredential] or [ErrLastWay].
func (s *Service) RemoveCredential(ctx context.Context, in Removal) error {
	err := s.Store.UpdateIdentity(ctx, in.ID, func(stored *identity.Identity) (*identity.Change, error) {
		next, err := stored.WithoutCredential(in.Type, in.Identifier, s.now())
		switch {
		case err != nil:
			return nil, err
		case next == nil:
			return nil, ErrNoCredential
		case in.SignsIn(stored) && !in.SignsIn(next):
			return nil, ErrLastWay
		}
		next.Epoch++
		return change(stored, next, in.Author), nil
	})
	if err != nil {
		return fmt.Errorf("remove credential: %w", err)
	}
	return nil
}
