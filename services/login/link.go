package login

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
)

// pending is an account at a provider that a login links.
type pending struct {
	flow.Link
	// check says why not, if it must not be linked to an identity.
	check func(*identity.Identity) error
	// second says that the session has it as a method too, behind the other.
	second bool
}

// pendingOf is what in's flow waits to link, nil if nothing: the account that
// was proven, if one was, has found whose it is.
func pendingOf(in Submit, proven identity.Account) *pending {
	l := in.Flow.Link
	if l == nil || l.Account == proven {
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
	if in.Method != identity.MethodOIDC || !l.Proven() || l.Duplicate == "" {
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
	err := s.Store.UpdateIdentity(ctx, i.ID, func(stored *identity.Identity) (*identity.Change, error) {
		if stored.State != identity.Active || stored.Epoch != i.Epoch {
			return nil, session.ErrIdentityInactive
		}
		if err := p.check(stored); err != nil {
			return nil, err
		}
		now := s.Now().UTC().Truncate(time.Microsecond) // as the store gives it back
		linked, err := stored.WithAccount(p.Account, now)
		if linked == nil {
			return nil, err
		}
		return &identity.Change{Identity: linked, Updated: func(sequence int64) events.Event { return updated(linked, in, now, sequence) }}, nil
	})
	switch {
	case errors.Is(err, identity.ErrExists), errors.Is(err, identity.ErrOtherIssuer):
		return fmt.Errorf("%w: %w", err, invalid(in, said(flow.LinkConflict())))
	case errors.Is(err, errUnknown):
		return errUnknown
	case errors.Is(err, identity.ErrNotFound): // which would say that nobody was found
		return fmt.Errorf("%w: %w", ErrNoSession, session.ErrIdentityGone)
	case errors.Is(err, session.ErrIdentityInactive):
		return fmt.Errorf("%w: %w", ErrNoSession, session.ErrIdentityInactive)
	}
	return err
}

// updated makes identity.updated.
func updated(i *identity.Identity, in Submit, now time.Time, sequence int64) events.Event {
	e := events.New(events.IdentityUpdated{IdentityID: i.ID.String(), Changed: []string{"credentials"}}, now, events.About{
		Source:      source,
		Subject:     i.ID.String(),
		Actor:       "person:" + i.ID.String(),
		RequestID:   in.Client.RequestID,
		TraceParent: in.Client.TraceParent,
	})
	e.Sequence = strconv.FormatInt(sequence, 10)
	return e
}
