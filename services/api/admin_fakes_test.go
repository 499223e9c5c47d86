package api_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/settings"
)

func (w *world) UpdateIdentity(_ context.Context, id uuid.UUID, decide func(*identity.Identity) (*identity.Change, error)) error {
	defer w.lock()()
	stored, ok := w.identities[id]
	if !ok {
		return errors.Join(w.broken, identity.ErrNotFound)
	}
	change, err := decide(stored)
	if err != nil || change == nil {
		return err
	}
	for _, other := range w.identities {
		if other.ID != id && (sharesAddress(other, change.Identity) || sharesHandle(other, change.Identity)) {
			return identity.ErrExists
		}
	}
	w.identities[id] = change.Identity
	w.told = append(w.told, change.Updated(2))
	return w.broken
}

func (w *world) ChangeIdentity(ctx context.Context, id, by uuid.UUID, decide func(*identity.Identity, *session.Session) (*settings.Change, error)) error {
	var made *settings.Change
	err := w.UpdateIdentity(ctx, id, func(stored *identity.Identity) (*identity.Change, error) {
		var current *session.Session
		for _, who := range w.sessions {
			if who.Session.ID == by {
				current = who.Session
			}
		}
		var err error
		if made, err = decide(stored, current); made == nil || err != nil {
			return nil, err
		}
		return &made.Change, nil
	})
	defer w.lock()()
	if err != nil || made == nil {
		return err
	}
	w.told = append(w.told, made.Requested...)
	for _, who := range w.sessions {
		switch {
		case who.Session.IdentityID != id:
		case who.Session.ID == made.Kept:
			who.Session.Epoch = made.Identity.Epoch
		case made.Revoked != nil:
			who.Session.Revoked = true
		}
		if who.Session.IdentityID == id {
			who.Identity = made.Identity
		}
	}
	return nil
}

func (w *world) DeleteIdentity(_ context.Context, id uuid.UUID, d admin.Deletion) error {
	defer w.lock()()
	if _, ok := w.identities[id]; !ok {
		return errors.Join(w.broken, identity.ErrNotFound)
	}
	delete(w.identities, id)
	w.told = append(w.told, d.Deleted(2))
	return w.broken
}

func (w *world) HandOut(_ context.Context, c courier.Code, told admin.Made) error {
	defer w.lock()()
	i, ok := w.identities[c.IdentityID]
	switch {
	case !ok:
		return errors.Join(w.broken, identity.ErrNotFound)
	case i.State != identity.Active:
		return admin.ErrInactive
	}
	w.codes = append(w.codes, c.Text.Reveal())
	w.told = append(w.told, told(2))
	return w.broken
}

func (w *world) IdentitiesAt(ctx context.Context, offset, limit int) ([]identity.Identity, int, error) {
	all, err := w.Identities(ctx, uuid.Nil, 1000)
	from := min(offset, len(all))
	return all[from:min(from+limit, len(all))], len(all), err
}

func (w *world) IdentitiesByID(_ context.Context, ids []uuid.UUID) ([]identity.Identity, error) {
	defer w.lock()()
	found := []identity.Identity{}
	for id, i := range w.identities {
		if slices.Contains(ids, id) {
			found = append(found, *i)
		}
	}
	sortByID(found)
	return found, w.broken
}

func (w *world) Taken(_ context.Context, all []*identity.Identity) (map[uuid.UUID]bool, error) {
	defer w.lock()()
	taken := map[uuid.UUID]bool{}
	for _, i := range all {
		for _, other := range w.identities {
			taken[i.ID] = taken[i.ID] || sharesHandle(other, i) || sharesAddress(other, i)
		}
	}
	return taken, w.broken
}

func (w *world) CreateIdentities(ctx context.Context, all []*identity.Identity, made []events.Event) error {
	if taken, err := w.Taken(ctx, all); err != nil || slices.Contains(slices.Collect(maps.Values(taken)), true) {
		return cmp.Or(err, identity.ErrExists)
	}
	defer w.lock()()
	for _, i := range all {
		w.identities[i.ID] = i
	}
	w.told = append(w.told, made...)
	return nil
}

func (w *world) IdentityByExternalID(_ context.Context, id string) (*identity.Identity, error) {
	defer w.lock()()
	for _, i := range w.identities {
		if i.ExternalID == id {
			return i, w.broken
		}
	}
	return nil, cmp.Or(w.broken, identity.ErrNotFound)
}

func (w *world) IdentitiesByIdentifier(_ context.Context, identifier string) ([]identity.Identity, error) {
	defer w.lock()()
	found := []identity.Identity{}
	for _, i := range w.identities {
		if slices.ContainsFunc(i.Credentials, func(c identity.Credential) bool {
			return slices.ContainsFunc(c.Identifiers, func(id string) bool { return identity.Handle(c.Type, id) == identifier })
		}) {
			found = append(found, *i)
		}
	}
	return found, w.broken
}

func (w *world) IdentitiesLike(ctx context.Context, text string, after uuid.UUID, limit int) ([]identity.Identity, error) {
	found, err := w.Identities(ctx, after, len(w.identities))
	found = slices.DeleteFunc(found, func(i identity.Identity) bool {
		return !slices.ContainsFunc(i.Credentials, func(c identity.Credential) bool {
			return slices.ContainsFunc(c.Identifiers, func(id string) bool { return strings.Contains(id, text) })
		})
	})
	return found[:min(limit, len(found))], err
}

// ledger is a [session.Ledger] in memory.
type ledger struct {
	mu     sync.Mutex
	all    []session.Session
	told   []events.Event
	broken error
}

func (l *ledger) RevokeSessions(_ context.Context, w session.Which, event session.Revocation) (n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.all {
		if s := &l.all[i]; s.IdentityID == w.IdentityID && (w.ID == uuid.Nil || w.ID == s.ID) && s.ID != w.But && !s.Revoked {
			s.Revoked = true
			l.told = append(l.told, event(s.ID, 2))
			n++
		}
	}
	return n, l.broken
}

func (l *ledger) matching(active *bool, match func(session.Session) bool) []session.Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := []session.Session{}
	for _, s := range l.all {
		if match(s) && (active == nil || *active == s.Active(noon)) {
			found = append(found, s)
		}
	}
	return found
}

func (l *ledger) SessionsOf(_ context.Context, id uuid.UUID, active *bool, offset, limit int) ([]session.Session, int, error) {
	all := l.matching(active, func(s session.Session) bool { return s.IdentityID == id })
	slices.SortFunc(all, func(a, b session.Session) int { return b.IssuedAt.Compare(a.IssuedAt) })
	from := min(offset, len(all))
	return all[from:min(from+limit, len(all))], len(all), l.broken
}

func (l *ledger) Sessions(_ context.Context, after uuid.UUID, limit int, active *bool) ([]session.Session, error) {
	all := l.matching(active, func(s session.Session) bool { return bytes.Compare(s.ID[:], after[:]) > 0 })
	slices.SortFunc(all, func(a, b session.Session) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return all[:min(limit, len(all))], l.broken
}

func (l *ledger) Session(_ context.Context, id uuid.UUID) (*session.Session, error) {
	found := l.matching(nil, func(s session.Session) bool { return s.ID == id })
	if len(found) == 0 || l.broken != nil {
		return nil, errors.Join(l.broken, session.ErrNotFound)
	}
	return &found[0], nil
}

func (l *ledger) ExtendSession(_ context.Context, id uuid.UUID, until time.Time) (*session.Session, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range l.all {
		if s := &l.all[n]; s.ID == id && !s.Revoked {
			s.ExpiresAt = until
			return s, l.broken
		}
	}
	return nil, session.ErrNotFound
}

func (l *ledger) DeleteSessions(_ context.Context, id uuid.UUID, event session.Revocation) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.all)
	l.all = slices.DeleteFunc(l.all, func(s session.Session) bool {
		if s.IdentityID == id {
			l.told = append(l.told, event(s.ID, 2))
		}
		return s.IdentityID == id
	})
	return before - len(l.all), l.broken
}

// mailbox holds messages, the oldest first.
type mailbox []courier.Message

func (m *mailbox) Messages(_ context.Context, q courier.Query) ([]courier.Message, error) {
	found := []courier.Message{}
	for _, one := range slices.Backward(*m) {
		if (q.Before == 0 || one.N < q.Before) && (q.Status == "" || q.Status == one.Status) && (q.Recipient == "" || q.Recipient == one.Recipient) {
			found = append(found, one)
		}
	}
	return found[:min(q.Limit, len(found))], nil
}

func (m *mailbox) MessageByID(_ context.Context, id uuid.UUID) (*courier.Message, error) {
	for _, one := range *m {
		if one.ID == id {
			return &one, nil
		}
	}
	return nil, courier.ErrNotFound
}

// adminGrants are the grants of the world by their identity.
type adminGrants struct{ w *world }

func (g adminGrants) Grants(_ context.Context, id uuid.UUID) (found []registration.Grant, err error) {
	defer g.w.lock()()
	for _, grant := range g.w.grants {
		if grant.IdentityID == id {
			found = append(found, grant)
		}
	}
	return found, g.w.broken
}
