package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
)

// MaxBatch is how many identities [Service.CreateEach] and [Service.CreateAll] take.
const MaxBatch = 1000

// hashing is how long passwords of one batch are hashed, one by one, so that people who
// sign in meanwhile find room. It ends well before the client's patience does.
const hashing = 20 * time.Second

// Batches store many identities at once.
type Batches interface {
	// Taken tells which of these, at most [MaxBatch], have an address or a handle that
	// is stored.
	Taken(ctx context.Context, all []*identity.Identity) (map[uuid.UUID]bool, error)
	// CreateIdentities stores identities and their events in one durable commit, or
	// nothing: with [identity.ErrExists] if an identifier or an address is taken.
	CreateIdentities(ctx context.Context, all []*identity.Identity, made []events.Event) error
}

// Created is what became of a [Creation]: an identity, or an error as [Service.Create]
// gives it.
type Created struct {
	Identity *identity.Identity
	Err      error
}

// CreateEach stores identities, with few commits, and gives what became of each, in
// their order: what is wrong with one is its own, and the first of two that want the
// same identifier or address has it. An error besides means that none is stored.
// Passwords that took too long to hash end with [password.ErrBusy].
func (s *Service) CreateEach(ctx context.Context, all []Creation) ([]Created, error) {
	results := make([]Created, len(all))
	var free []*made
	for n, m := range s.makeAll(ctx, all) {
		if m.result = &results[n]; m.err != nil {
			m.result.Err = fmt.Errorf("create identity: %w", m.err)
			continue
		}
		free = append(free, m)
	}
	taken, err := s.Batches.Taken(ctx, identitiesOf(free))
	if err != nil {
		return nil, fmt.Errorf("create identities: %w", err)
	}
	claimed := map[string]bool{}
	free = slices.DeleteFunc(free, func(m *made) bool {
		if taken[m.identity.ID] || !claim(claimed, m.identity) {
			m.result.Err = fmt.Errorf("create identity: %w", identity.ErrExists)
		}
		return m.result.Err != nil
	})
	if err := s.store(ctx, free); err != nil {
		return nil, fmt.Errorf("create identities: %w", err)
	}
	return results, nil
}

// Refused is the error of an identity of a batch, by its place in it, which begins with 0.
type Refused struct {
	Index int
	Err   error
}

func (r *Refused) Error() string { return fmt.Sprintf("identity %d: %v", r.Index, r.Err) }

// Unwrap gives what is wrong with it.
func (r *Refused) Unwrap() error { return r.Err }

// CreateAll stores identities in one commit, or none of them: the error is the [Refused]
// of the first that cannot be made, or [identity.ErrExists] where somebody was faster.
func (s *Service) CreateAll(ctx context.Context, all []Creation) ([]*identity.Identity, error) {
	ready := s.makeAll(ctx, all)
	for n, m := range ready {
		if m.err != nil {
			return nil, fmt.Errorf("create identities: %w", &Refused{n, m.err})
		}
	}
	if len(ready) == 0 {
		return nil, nil
	}
	if err := s.Batches.CreateIdentities(ctx, identitiesOf(ready), createdOf(ready)); err != nil {
		if errors.Is(err, identity.ErrExists) {
			err = s.whoExists(ctx, ready, err)
		}
		return nil, fmt.Errorf("create identities: %w", err)
	}
	return identitiesOf(ready), nil
}

// whoExists names the first whose identifier or address is taken, by somebody who is
// stored or by one before it; err is why it is looked for, and stays where none is found.
func (s *Service) whoExists(ctx context.Context, all []*made, err error) error {
	taken, failed := s.Batches.Taken(ctx, identitiesOf(all))
	if failed != nil {
		return err
	}
	claimed := map[string]bool{}
	for n, m := range all {
		if taken[m.identity.ID] || !claim(claimed, m.identity) {
			return &Refused{n, err}
		}
	}
	return err
}

// made is an identity of a batch that is not stored yet, or why it cannot be.
type made struct {
	author   Author
	identity *identity.Identity
	err      error
	result   *Created
}

func (s *Service) makeAll(ctx context.Context, all []Creation) []*made {
	ready := make([]*made, len(all))
	until := s.Now().Add(hashing)
	for n, c := range all {
		m := &made{author: c.Author}
		if ready[n] = m; !c.Password.Empty() && s.Now().After(until) {
			m.err = password.ErrBusy
			continue
		}
		m.identity, m.err = s.Make(ctx, c)
	}
	return ready
}

// store stores all in one commit. If somebody was faster with an identifier of one, the
// halves are tried, down to that one. The error means that none is stored.
func (s *Service) store(ctx context.Context, all []*made) error {
	if len(all) == 0 {
		return nil
	}
	err := s.Batches.CreateIdentities(ctx, identitiesOf(all), createdOf(all))
	switch {
	case err == nil:
		for _, m := range all {
			m.result.Identity = m.identity
		}
		return nil
	case !errors.Is(err, identity.ErrExists):
		return err
	case len(all) == 1:
		all[0].result.Err = fmt.Errorf("create identity: %w", err)
		return nil
	}
	for _, half := range [][]*made{all[:len(all)/2], all[len(all)/2:]} {
		if err := s.store(ctx, half); err != nil {
			for _, m := range half {
				m.result.Err = fmt.Errorf("create identity: %w", err)
			}
		}
	}
	return nil
}

// claim takes the handles and addresses of i, unless one of them is taken.
func claim(claimed map[string]bool, i *identity.Identity) bool {
	keys := i.Handles()
	for _, a := range i.Addresses {
		keys = append(keys, a.Via+"\x00"+a.Value) // no handle holds that character
	}
	if slices.ContainsFunc(keys, func(k string) bool { return claimed[k] }) {
		return false
	}
	for _, k := range keys {
		claimed[k] = true
	}
	return true
}

func identitiesOf(all []*made) []*identity.Identity {
	identities := make([]*identity.Identity, len(all))
	for n, m := range all {
		identities[n] = m.identity
	}
	return identities
}

func createdOf(all []*made) []events.Event {
	told := make([]events.Event, len(all))
	for n, m := range all {
		told[n] = created(m.author, m.identity)
	}
	return told
}
