package settings

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

// source is what the events of settings name as theirs.
const source = "/usher/settings"

// maxDecisions bounds how often a change is decided: each time anew it waits for
// something that the one before has found to be missing, or was overtaken.
const maxDecisions = 10

// errOvertaken says that others have changed the identity each time.
var errOvertaken = errors.New("settings: overtaken by other changes again and again")

// next is what a change makes of a person, nil if there is nothing to change. It
// gives a [*waiting] where it cannot decide yet.
type next func(stored *identity.Identity, now time.Time) (*identity.Identity, error)

// waiting is what a decision needs and may not wait for: it is had, and the change
// is decided anew.
type waiting struct {
	have func(ctx context.Context) error
}

func (*waiting) Error() string { return "settings: this cannot be decided yet" }

// change is a change on its way.
type change struct {
	s       *Service
	in      Submit
	what    string
	plan    hook.SettingsPlan
	eventID uuid.UUID // of identity.updated
	next    next
	opened  map[uuid.UUID]opened // by address
	revokes bool
	// made is what is stored, nil if nothing was to be changed.
	made *identity.Identity
}

// opened is a verification whose flow is stored.
type opened struct {
	Verification
	requested events.Event
}

// change stores what next makes of the person.
func (s *Service) change(ctx context.Context, in Submit, what, method string, n next) (_ *Result, err error) {
	result := OK
	defer func() { s.observe(what, result, err) }()
	c := &change{s: s, in: in, what: what, plan: s.Plan(method), next: n, opened: map[uuid.UUID]opened{}}
	c.revokes = c.plan.RevokeOthers && method == identity.MethodPassword
	if c.eventID, err = uuid.NewV7(); err != nil {
		return nil, fmt.Errorf("event id: %w", err)
	}
	if err := c.store(ctx); err != nil {
		return nil, err
	}
	// It is changed from here on: what follows does not end with the request.
	ctx = context.WithoutCancel(ctx)
	if c.made == nil {
		result = Unchanged
		return c.again(ctx)
	}
	if err := c.notify(ctx); err != nil {
		result = HookFailed
		return nil, err
	}
	r := &Result{ShowVerification: c.plan.ShowVerification, Opened: len(c.opened)}
	for _, a := range c.made.Addresses { // in the order of the schema
		if o, ok := c.opened[a.ID]; ok {
			r.Verifications = append(r.Verifications, o.Verification)
		}
	}
	return r, nil
}

// store decides until nothing is missing: first on what can be read without keeping
// anybody waiting, then while the identity is locked.
func (c *change) store(ctx context.Context) error {
	id := c.in.Session.IdentityID
	for range maxDecisions {
		stored, err := c.s.Store.Identity(ctx, id)
		if err == nil {
			presumed := *c.in.Session
			presumed.Epoch = stored.Epoch // what has become of it is seen once nothing can change
			_, err = c.decide(stored, &presumed)
		}
		if err == nil {
			err = c.s.Store.ChangeIdentity(ctx, id, c.in.Session.ID, c.decide)
		}
		var missing *waiting
		switch {
		case errors.As(err, &missing):
			if err := missing.have(ctx); err != nil {
				return fmt.Errorf("%s: %w", c.what, err)
			}
			continue
		case errors.Is(err, identity.ErrNotFound):
			return fmt.Errorf("%w: %w", session.ErrIdentityInactive, err)
		case err != nil:
			return fmt.Errorf("%s: %w", c.what, err)
		}
		return nil
	}
	return errOvertaken
}

// decide is what is stored, nil if nothing is.
func (c *change) decide(stored *identity.Identity, current *session.Session) (*Change, error) {
	now := c.s.Now().UTC().Truncate(time.Microsecond) // as the store gives it back
	if stored.State != identity.Active || current == nil || !current.Active(now) || current.Epoch != stored.Epoch {
		return nil, session.ErrIdentityInactive
	}
	made, err := c.next(stored, now)
	c.made = made
	if made == nil || err != nil {
		return nil, err
	}
	changed := &Change{Change: identity.Change{Identity: made, Updated: func(sequence int64) events.Event { return c.updated(stored, now, sequence) }}}
	if c.revokes {
		made.Epoch++ // a login that is on its way with the former password leads nowhere
		changed.Revoked = c.in.by().Revoked(made.ID, "password", now)
		changed.Kept = current.ID
	}
	if changed.Requested, err = c.verify(stored, made); err != nil {
		return nil, err
	}
	for _, step := range c.plan.Background {
		changed.Due = append(changed.Due, webhook.Due{EventID: c.eventID, Endpoint: step.Endpoint, Input: c.in.submission().Input()})
	}
	return changed, nil
}

// updated makes identity.updated.
func (c *change) updated(stored *identity.Identity, now time.Time, sequence int64) events.Event {
	person := c.in.Session.IdentityID.String()
	e := events.New(events.IdentityUpdated{IdentityID: person, Changed: changed(stored, c.made)}, now, events.About{
		Source:      source,
		Subject:     person,
		Actor:       "person:" + person,
		RequestID:   c.in.Client.RequestID,
		TraceParent: c.in.Client.TraceParent,
	})
	e.ID, e.Sequence = c.eventID.String(), strconv.FormatInt(sequence, 10)
	return e
}

// changed names the parts that differ.
func changed(a, b *identity.Identity) (parts []string) {
	if !bytes.Equal(a.Traits, b.Traits) {
		parts = append(parts, "traits")
	}
	same := func(a, b identity.Credential) bool {
		return a.Type == b.Type && slices.Equal(a.Identifiers, b.Identifiers) && bytes.Equal(a.Config, b.Config)
	}
	if !slices.EqualFunc(a.Credentials, b.Credentials, same) {
		parts = append(parts, "credentials")
	}
	return parts
}

// notify calls the hooks that the answer waits for. The first that fails is what the
// client is told; the change stays.
func (c *change) notify(ctx context.Context) error {
	shown := *c.made
	shown.Credentials = nil
	for _, step := range c.plan.Waiting {
		call := c.in.submission().Call(&shown)
		call.EventID = c.eventID.String()
		if err := c.s.Hooks.Notify(ctx, step.Endpoint, call); err != nil {
			return err
		}
	}
	return nil
}

// maxOpened bounds the mails of one change: who enters a hundred addresses writes to
// none of them through this server.
const maxOpened = 3

// verify gives what asks for the mails to the addresses that are new.
func (c *change) verify(stored, made *identity.Identity) (requested []events.Event, err error) {
	if c.s.Verification == nil {
		return nil, nil
	}
	for _, a := range made.Addresses {
		former := slices.ContainsFunc(stored.Addresses, func(b identity.Address) bool { return a.ID == b.ID })
		if former || !a.Verifiable || a.Verified || len(requested) == maxOpened {
			continue
		}
		o, ok := c.opened[a.ID]
		if !ok {
			return nil, &waiting{func(ctx context.Context) error { return c.open(ctx, made, a) }}
		}
		requested = append(requested, o.requested)
	}
	return requested, nil
}

// open stores the flow of a verification before the commit that asks for its mail: a
// flow that nobody knows of ends by itself.
func (c *change) open(ctx context.Context, i *identity.Identity, a identity.Address) error {
	f, e := c.s.Verification.Opening(verificationOf(c.in.Flow, a), i, a, c.in)
	if err := c.s.Store.CreateFlow(ctx, f); err != nil {
		return fmt.Errorf("create flow: %w", err)
	}
	c.opened[a.ID] = opened{Verification{f, a.Value}, e}
	return nil
}

// verificationOf is the id of the flow that verifies an address which was entered in
// f: the same for a submit that is repeated. Nobody knows it who does not know both.
func verificationOf(f *flow.Flow, a identity.Address) uuid.UUID { return uuid.NewSHA1(f.ID, a.ID[:]) }

// again is the result where nothing was to be changed: the answer to an earlier submit
// of the same may be lost, and with it where the verifications are that it has opened.
func (c *change) again(ctx context.Context) (*Result, error) {
	r := &Result{ShowVerification: c.plan.ShowVerification}
	if c.s.Verification == nil || c.in.Flow == nil {
		return r, nil
	}
	i, err := c.s.Store.Identity(ctx, c.in.Session.IdentityID)
	if err != nil {
		return nil, fmt.Errorf("%s again: %w", c.what, err)
	}
	for _, a := range i.Addresses {
		if !a.Verifiable || a.Verified || len(r.Verifications) == maxOpened {
			continue
		}
		f, err := c.s.Store.Flow(ctx, verificationOf(c.in.Flow, a))
		switch {
		case errors.Is(err, flow.ErrNotFound):
		case err != nil:
			return nil, fmt.Errorf("%s again: %w", c.what, err)
		case f.State == flow.SentEmail && !f.Expired(c.s.Now()):
			r.Verifications = append(r.Verifications, Verification{f, a.Value})
		}
	}
	return r, nil
}
