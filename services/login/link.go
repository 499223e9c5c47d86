package login

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
)

// Linking adds an identifier to one of an identity's ways to sign in.
type Linking struct {
	IdentityID uuid.UUID
	// Method is the type of the credential; one without secrets is made if there is none.
	Method, Identifier string
	// Check says why not, from what the identity is: nobody changes it meanwhile.
	// It must not wait for anything.
	Check func(stored *identity.Identity) error
	// Updated makes identity.updated with the identity's next sequence.
	Updated func(sequence int64) events.Event
}

// pending is an account at a provider that a login links.
type pending struct {
	flow.Link
	// check says why not, if it must not be linked to an identity.
	check func(*identity.Identity) error
	// second says that the session has it as a method too, behind the other.
	second bool
}

// pendingOf is what in's flow waits to link, nil if nothing: the account of the
// proven identifier, if one was, has found whose it is.
func pendingOf(in Submit, proven string) *pending {
	l := in.Flow.Link
	if l == nil || l.Identifier == proven {
		return nil
	}
	return &pending{Link: *l, second: true, check: func(i *identity.Identity) error {
		if !owns(i, l.Duplicate) {
			return invalid(in, said(flow.LinkMismatch()))
		}
		return nil
	}}
}

// owns tells whether a canonical identifier or address is i's.
func owns(i *identity.Identity, canonical string) bool {
	return slices.Contains(i.Handles(), canonical) ||
		slices.ContainsFunc(i.Addresses, func(a identity.Address) bool { return a.Value == canonical })
}

// LoginLinking signs in whom the address l.Duplicate is of, links the account of l
// to them, and gives a session by in's method alone. Nothing that was entered
// counts, nor what in's flow waits to link: the caller has checked that the
// provider's word proves both the account and the address.
//
// It gives [identity.ErrNotFound] if nobody signs in with that address, or has not
// verified it here: whoever entered it first need not be its owner. In all else it
// is as [Service.Login] with a flow that has a link.
func (s *Service) LoginLinking(ctx context.Context, in Submit, l flow.Link) (_ *Result, err error) {
	t := timer{now: s.Now, last: in.ReceivedAt, outcome: Outcome{Method: in.Method, Result: OK}}
	defer func() { s.observe(t.outcome, err) }()

	check := func(i *identity.Identity) error {
		if !slices.ContainsFunc(i.Addresses, func(a identity.Address) bool { return a.Verified && a.Value == l.Duplicate }) {
			return errUnknown
		}
		return nil
	}
	i, err := s.findOwner(ctx, in, l)
	if err != nil {
		return nil, err
	}
	t.step(nil)
	return s.signIn(ctx, i, in, &pending{Link: l, check: check}, &t)
}

// findOwner gives who signs in with what l is a duplicate of.
func (s *Service) findOwner(ctx context.Context, in Submit, l flow.Link) (*identity.Identity, error) {
	if in.Method != identity.MethodOIDC || l.Identifier == "" || l.Duplicate == "" {
		return nil, fmt.Errorf("login: nothing can be linked by %q", in.Method)
	}
	i, err := s.Store.IdentityByIdentifier(ctx, l.Duplicate)
	if errors.Is(err, identity.ErrNotFound) {
		return nil, errUnknown
	}
	if err != nil {
		return nil, fmt.Errorf("find identity: %w", err)
	}
	return i, nil
}

// link links p to who has signed in, unless they have changed since.
func (s *Service) link(ctx context.Context, i *identity.Identity, in Submit, p *pending) error {
	err := s.Store.LinkCredential(ctx, Linking{
		IdentityID: i.ID,
		Method:     identity.MethodOIDC,
		Identifier: p.Identifier,
		Check: func(stored *identity.Identity) error {
			if stored.State != identity.Active || stored.Epoch != i.Epoch {
				return session.ErrIdentityInactive
			}
			return p.check(stored)
		},
		Updated: func(sequence int64) events.Event { return s.linked(i, in, sequence) },
	})
	switch {
	case errors.Is(err, identity.ErrExists):
		return fmt.Errorf("%w: %w", identity.ErrExists, invalid(in, said(flow.LinkConflict())))
	case errors.Is(err, errUnknown):
		return errUnknown
	case errors.Is(err, identity.ErrNotFound): // which would say that nobody was found
		return fmt.Errorf("%w: %w", ErrNoSession, session.ErrIdentityGone)
	case errors.Is(err, session.ErrIdentityInactive):
		return fmt.Errorf("%w: %w", ErrNoSession, session.ErrIdentityInactive)
	}
	return err
}

// linked makes identity.updated.
func (s *Service) linked(i *identity.Identity, in Submit, sequence int64) events.Event {
	e := events.New(events.IdentityUpdated{IdentityID: i.ID.String(), Changed: []string{"credentials"}}, s.Now(), events.About{
		Source:      source,
		Subject:     i.ID.String(),
		Actor:       "person:" + i.ID.String(),
		RequestID:   in.Client.RequestID,
		TraceParent: in.Client.TraceParent,
	})
	e.Sequence = strconv.FormatInt(sequence, 10)
	return e
}
