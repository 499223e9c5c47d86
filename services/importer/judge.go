package importer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
)

// candidate is a line on its way.
type candidate struct {
	at      int
	element bool
	made    *identity.Identity
	reason  string
}

func (c *candidate) refusal() Refusal {
	if c.element {
		return Refusal{Element: c.at, Reason: c.reason}
	}
	return Refusal{Line: c.at, Reason: c.reason}
}

// judge makes identities of lines on all cores. Its error begins with the number of a line.
func (s *Service) judge(ctx context.Context, texts []text) ([]*candidate, error) {
	all := make([]*candidate, len(texts))
	var cores errgroup.Group
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		cores.Go(func() (err error) {
			for n := next.Add(1) - 1; n < int64(len(texts)); n = next.Add(1) - 1 {
				t := texts[n]
				c := &candidate{at: t.at, element: t.element}
				c.made, err = s.identity(ctx, t)
				if no := (refused{}); errors.As(err, &no) {
					c.reason = no.reason
				} else if err != nil {
					return fmt.Errorf("%d: %w", t.at, err)
				}
				all[n] = c
			}
			return nil
		})
	}
	return all, cores.Wait()
}

// refused says why a line is.
type refused struct{ reason string }

func (r refused) Error() string { return r.reason }

// identity makes that of a line, or gives a [refused].
func (s *Service) identity(ctx context.Context, t text) (*identity.Identity, error) {
	if t.reason != "" {
		return nil, refused{t.reason}
	}
	l, err := parse(t.json)
	if err != nil {
		return nil, refused{err.Error()}
	}
	creation, err := l.creation(s.DefaultSchema)
	if err != nil {
		return nil, refused{err.Error()}
	}
	made, err := s.Maker.Make(ctx, creation)
	if invalid := (*flow.Invalid)(nil); errors.As(err, &invalid) {
		return nil, refused{reason(invalid)}
	} else if err != nil {
		return nil, err
	}
	id := l.ID
	if id == nil {
		follows, err := s.Store.ImportID(append([]byte(made.SchemaID+"\x00"), made.Traits...))
		if err != nil {
			return nil, err
		}
		id = &follows
	}
	l.keep(made, *id)
	return made, nil
}

// reason is the first message of the form.
func reason(invalid *flow.Invalid) string {
	for _, node := range slices.Sorted(maps.Keys(invalid.Form.Messages)) {
		switch said := invalid.Form.Messages[node]; {
		case len(said) == 0:
		case node == "":
			return said[0].Text
		default:
			return node + ": " + said[0].Text
		}
	}
	return "invalid"
}

// missing gives those that are to be stored and how many are there already, and says why
// of the others.
func (s *Service) missing(ctx context.Context, all []*candidate) (absent []*candidate, there int, err error) {
	if len(all) == 0 {
		return nil, 0, nil
	}
	ids := make([]uuid.UUID, len(all))
	for n, c := range all {
		ids[n] = c.made.ID
	}
	found, err := s.Store.IdentitiesByID(ctx, ids)
	if err != nil {
		return nil, 0, err
	}
	traits := make(map[uuid.UUID]json.RawMessage, len(found))
	for _, i := range found {
		traits[i.ID] = i.Traits
	}
	var others []*candidate
	for _, c := range all {
		switch stored, ok := traits[c.made.ID]; {
		case !ok:
			others = append(others, c)
		case bytes.Equal(compact(stored), c.made.Traits):
			there++
		default:
			c.reason = "an identity with this id is there, with other traits"
		}
	}
	taken, err := s.Store.Taken(ctx, identitiesOf(others))
	if err != nil {
		return nil, 0, err
	}
	for _, c := range others {
		if taken[c.made.ID] {
			c.reason = exists
			continue
		}
		absent = append(absent, c)
	}
	return absent, there, nil
}

const exists = "an identity with the same identifier, address or external_id is there"

// claims are the addresses and handles of a batch, with the number of who has each.
type claims map[string]int

// claim takes the addresses and handles of c in the first of all, or gives the number of
// another one that has one of them.
func (c *candidate) claim(all [2]claims) (other int) {
	keys := c.made.Unique()
	for _, k := range keys {
		for _, of := range all {
			if other, ok := of[k]; ok {
				return other
			}
		}
	}
	for _, k := range keys {
		all[0][k] = c.at
	}
	return 0
}

func identitiesOf(all []*candidate) []*identity.Identity {
	made := make([]*identity.Identity, len(all))
	for n, c := range all {
		made[n] = c.made
	}
	return made
}
