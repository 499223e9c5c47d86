// Package settings changes how a person who is signed in can sign in: it links
// their accounts at providers and removes them.
//
//	edge: a fresh session → Link, Unlink → still valid? → another's? the last way?
//	→ credential, handles, identity.updated: one durable commit
//
// All of that is decided while nobody else can change the identity: of two removals
// at once one finds what the other has left.
package settings

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
)

// ErrNotLinked says that there is no account at the provider that could be removed.
var ErrNotLinked = errors.New("settings: no account at this provider")

// Service changes settings. Store and Now are needed; it is safe for concurrent use.
type Service struct {
	Store Store
	Now   func() time.Time
	// Observe is told how each change went; nil is fine.
	Observe func(Outcome)
}

// Store keeps identities.
type Store interface {
	// UpdateIdentity stores what decide makes of an identity, with its event, in one
	// durable commit. Nobody changes the identity meanwhile, so decide must not wait
	// for anything. A nil change changes nothing, an error is that of the call.
	// [identity.ErrExists] says that an identifier is another's,
	// [identity.ErrNotFound] that the identity is gone.
	UpdateIdentity(ctx context.Context, id uuid.UUID, decide func(stored *identity.Identity) (*identity.Change, error)) error
}

// Submit is a change that a person asks for. The edge has seen that it is them, by
// a session that is fresh enough.
type Submit struct {
	Session  *session.Session
	Provider flow.Provider
	Client   flow.Client
}

// Link adds an account that its provider has proven. It does nothing if the account
// is linked already.
//
// A [*flow.Invalid] says that it is another person's, or that the person has another
// account there, be it the same one of another issuer; [session.ErrIdentityInactive] that the session is not valid any more.
func (s *Service) Link(ctx context.Context, in Submit, a identity.Account) error {
	if a.Provider != in.Provider.ID || !a.Proven() {
		return fmt.Errorf("settings: %q has not proven this account", in.Provider.ID)
	}
	return s.change(ctx, in, linking, func(stored *identity.Identity, now time.Time) (*identity.Identity, error) {
		return link(stored, in.Provider, a, now)
	})
}

// Unlink removes the accounts at a provider, or gives [ErrNotLinked] if there are
// none. A [*flow.Invalid] says that w would be no way to sign in without them,
// [session.ErrIdentityInactive] that the session is not valid any more.
func (s *Service) Unlink(ctx context.Context, in Submit, w Ways) error {
	return s.change(ctx, in, unlinking, func(stored *identity.Identity, now time.Time) (*identity.Identity, error) {
		return w.unlink(stored, in.Provider.ID, now)
	})
}

// change stores what next makes of the person, nothing if that is nil.
func (s *Service) change(ctx context.Context, in Submit, what string, next func(stored *identity.Identity, now time.Time) (*identity.Identity, error)) (err error) {
	result := OK
	defer func() { s.observe(what, result, err) }()
	err = s.Store.UpdateIdentity(ctx, in.Session.IdentityID, func(stored *identity.Identity) (*identity.Change, error) {
		if stored.State != identity.Active || stored.Epoch != in.Session.Epoch {
			return nil, session.ErrIdentityInactive
		}
		now := s.Now().UTC().Truncate(time.Microsecond) // as the store gives it back
		changed, err := next(stored, now)
		if err != nil {
			return nil, err
		}
		if changed == nil {
			result = Unchanged
			return nil, nil
		}
		return &identity.Change{Identity: changed, Updated: func(sequence int64) events.Event { return updated(in, now, sequence) }}, nil
	})
	switch {
	case errors.Is(err, identity.ErrExists):
		return fmt.Errorf("%w: %w", identity.ErrExists, invalid(flow.LinkConflict()))
	case errors.Is(err, identity.ErrNotFound):
		return fmt.Errorf("%w: %w", session.ErrIdentityInactive, err)
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// updated makes identity.updated.
func updated(in Submit, now time.Time, sequence int64) events.Event {
	person := in.Session.IdentityID.String()
	e := events.New(events.IdentityUpdated{IdentityID: person, Changed: []string{"credentials"}}, now, events.About{
		Source:      "/usher/settings",
		Subject:     person,
		Actor:       "person:" + person,
		RequestID:   in.Client.RequestID,
		TraceParent: in.Client.TraceParent,
	})
	e.Sequence = strconv.FormatInt(sequence, 10)
	return e
}

func invalid(m flow.Message) error {
	return &flow.Invalid{Form: flow.Form{Messages: map[string][]flow.Message{"": {m}}}}
}
