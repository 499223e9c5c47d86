package importer

import (
	"bytes"
	"context"
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
	line    *Line // as far as it could be read, or nil
	made    *identity.Identity
	reason  string
}

// refusal says no more of the line than who it is for who has the file.
func (c *candidate) refusal() Refusal {
	r := Refusal{Line: c.at, Reason: c.reason}
	if c.element {
		r.Line, r.Element = 0, c.at
	}
	if c.line == nil {
		return r
	}
	if c.line.ID != nil && *c.line.ID != uuid.Nil {
		r.ID = c.line.ID
	}
	if identity.CheckExternalID(c.line.ExternalID) == nil {
		r.ExternalID = c.line.ExternalID
	}
	return r
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
				c.line, c.made, err = s.identity(ctx, t)
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
func (s *Service) identity(ctx context.Context, t text) (l *Line, made *identity.Identity, err error) {
	if t.reason != "" {
		return nil, nil, refused{t.reason}
	}
	l, err = parse(t.json)
	if err != nil {
		return l, nil, refused{err.Error()}
	}
	creation, err := l.creation(s.DefaultSchema)
	if err != nil {
		return l, nil, refused{err.Error()}
	}
	made, err = s.Maker.Make(ctx, creation)
	if invalid := (*flow.Invalid)(nil); errors.As(err, &invalid) {
		return l, nil, refused{reason(invalid)}
	} else if err != nil {
		return l, nil, err
	}
	id := l.ID
	if id == nil {
		follows, err := s.Store.ImportID(append([]byte(made.SchemaID+"\x00"), made.Traits...))
		if err != nil {
			return l, nil, err
		}
		id = &follows
	}
	l.keep(made, *id)
	return l, made, nil
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

// there counts people who are stored already, and how many of them are not as their lines.
type there struct{ all, differ int }

// missing gives those that are to be stored and how many are there already, and says why
// of the others.
func (s *Service) missing(ctx context.Context, all []*candidate) (absent []*candidate, here there, err error) {
	if len(all) == 0 {
		return nil, here, nil
	}
	ids := make([]uuid.UUID, len(all))
	for n, c := range all {
		ids[n] = c.made.ID
	}
	found, err := s.Store.IdentitiesByID(ctx, ids)
	if err != nil {
		return nil, here, err
	}
	by := make(map[uuid.UUID]*identity.Identity, len(found))
	for n := range found {
		by[found[n].ID] = &found[n]
	}
	var others []*candidate
	for _, c := range all {
		switch stored := by[c.made.ID]; {
		case stored == nil:
			others = append(others, c)
		case bytes.Equal(compact(stored.Traits), c.made.Traits):
			here.all++
			if differ(stored, c.made) {
				here.differ++
			}
		default:
			c.reason = "an identity with this id is there, with other traits"
		}
	}
	taken, err := s.Store.Taken(ctx, identitiesOf(others))
	if err != nil {
		return nil, here, err
	}
	for _, c := range others {
		if taken[c.made.ID] {
			c.reason = exists
			continue
		}
		absent = append(absent, c)
	}
	return absent, here, nil
}

// differ tells whether two with the same traits are not the same otherwise. What people
// sign in with is not looked at: a hash is made anew at a login.
func differ(a, b *identity.Identity) bool {
	return a.ExternalID != b.ExternalID || a.State != b.State ||
		!bytes.Equal(compact(a.MetadataPublic), compact(b.MetadataPublic)) || !bytes.Equal(compact(a.MetadataAdmin), compact(b.MetadataAdmin))
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
