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

// MaxBatch is how many identities one commit may have, and [Service.CreateEach] and
// [Service.CreateAll] take.
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
			m.failed(m.err)
			continue
		}
		free = append(free, m)
	}
	if free, err := s.free(ctx, free); err != nil {
		return nil, fmt.Errorf("create identities: %w", err)
	} else if err := s.store(ctx, free); err != nil {
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

// free gives those whose identifiers and addresses nobody has, and no other one of all.
func (s *Service) free(ctx context.Context, all []*made) ([]*made, error) {
	taken, err := s.Batches.Taken(ctx, identitiesOf(all))
	if err != nil {
		return nil, err
	}
	claimed := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(all), func(m *made) bool {
		if taken[m.identity.ID] || !claim(claimed, m.identity) {
			m.failed(identity.ErrExists)
			return true
		}
		return false
	}), nil
}

// claim takes what is unique to i, unless a part of it is taken.
func claim(claimed map[string]bool, i *identity.Identity) bool {
	keys := i.Unique()
	if slices.ContainsFunc(keys, func(k string) bool { return claimed[k] }) {
		return false
	}
	for _, k := range keys {
		claimed[k] = true
	}
	return true
}

func (m *made) failed(err error) { m.result.Err = fmt.Errorf("create identity: %w", err) }

// store stores all in one commit, or in halves. The error means that none is stored.
func (s *Service) store(ctx context.Context, all []*made) error {
	return InHalves(all, func(part []*made) error {
		err := s.Batches.CreateIdentities(ctx, identitiesOf(part), createdOf(part))
		switch {
		case err == nil:
			for _, m := range part {
				m.result.Identity = m.identity
			}
		case len(part) < len(all) && !errors.Is(err, identity.ErrExists):
			for _, m := range part { // others may be stored
				m.failed(err)
			}
			return nil
		}
		return err
	}, func(part []*made) ([]*made, error) {
		if left, err := s.free(ctx, part); err == nil {
			return left, nil
		}
		return part, nil // the commits say what is wrong
	}, func(m *made) { m.failed(identity.ErrExists) })
}

// InHalves stores all with one commit. If that gives [identity.ErrExists], somebody was
// faster with one of them: free looks again, and gives those that are left. If it finds
// nobody, the halves are tried, down to those that are taken.
func InHalves[T any](all []T, commit func([]T) error, free func([]T) ([]T, error), taken func(T)) error {
	if len(all) == 0 {
		return nil
	}
	if err := commit(all); !errors.Is(err, identity.ErrExists) {
		return err
	}
	left, err := free(all)
	switch {
	case err != nil:
		return err
	case len(left) < len(all):
		return InHalves(left, commit, free, taken)
	case len(all) == 1: // whoever was faster is gone again, or is not seen
		taken(all[0])
		return nil
	}
	for _, half := range [][]T{all[:len(all)/2], all[len(all)/2:]} {
		if err := InHalves(half, commit, free, taken); err != nil {
			return err
		}
	}
	return nil
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
		told[n] = CreatedEvent(m.author, "admin", m.identity, m.identity.CreatedAt)
	}
	return told
}
