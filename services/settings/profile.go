package settings

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
)

// Profile puts traits in the place of all that are stored. An address that stays,
// stays as it is; another is new, not verified, and sent a mail if addresses are
// verified. The identifiers of the password follow the traits. Traits that are
// stored already change nothing.
//
// A [*flow.Invalid] holds what was entered and what is wrong with it: with a taken
// identifier or address it is [identity.ErrExists] too. [ErrNotFresh] says that an
// identifier or an address would change.
func (s *Service) Profile(ctx context.Context, in Submit, traits json.RawMessage) (*Result, error) {
	traits = identity.Object(traits)
	refuse := func(messages map[string][]flow.Message) error {
		return &flow.Invalid{Form: flow.Form{Values: flow.Entered(traits), Messages: messages}}
	}
	ids := map[string]uuid.UUID{} // of addresses that are new: the same each time it is decided
	r, err := s.change(ctx, in, profile, MethodProfile, func(stored *identity.Identity, now time.Time) (*identity.Identity, error) {
		schema, ok := s.Schemas.Schema(stored.SchemaID)
		if !ok {
			return nil, fmt.Errorf("schema %q is not configured any more", stored.SchemaID)
		}
		messages := map[string][]flow.Message{}
		for _, v := range schema.Check(traits) {
			messages[v.Node] = append(messages[v.Node], flow.FromViolation(v))
		}
		if len(messages) > 0 {
			return nil, refuse(messages)
		}
		if same(stored.Traits, traits) {
			return nil, nil
		}
		made := stored.WithCredentials(now)
		made.Traits = traits
		var identifiers []string
		made.Addresses, identifiers = extract(schema, traits, stored.Addresses, ids, now)
		if c := made.Credential(identity.MethodPassword); c != nil && !slices.Equal(c.Identifiers, identifiers) {
			if len(identifiers) == 0 {
				return nil, refuse(map[string][]flow.Message{"": {flow.NoIdentifier()}})
			}
			c.Identifiers, c.UpdatedAt = identifiers, now
		}
		if _, former := schema.Extract(stored.Traits); !in.Fresh && (!identity.SameSet(former, identifiers) || !identity.SameSet(values(stored.Addresses), values(made.Addresses))) {
			return nil, ErrNotFresh
		}
		return made, nil
	})
	if errors.Is(err, identity.ErrExists) {
		return nil, fmt.Errorf("%w: %w", err, refuse(map[string][]flow.Message{"": {flow.IdentifierTaken()}}))
	}
	return r, err
}

// extract takes addresses and sign-in identifiers from valid traits. An address that
// was there before is the former one, used as the traits say now.
func extract(schema *identity.Schema, traits json.RawMessage, former []identity.Address, ids map[string]uuid.UUID, now time.Time) (addresses []identity.Address, identifiers []string) {
	addresses, identifiers = schema.Extract(traits)
	for n := range addresses {
		a := &addresses[n]
		at := slices.IndexFunc(former, func(b identity.Address) bool { return b.Via == a.Via && b.Value == a.Value })
		if at < 0 {
			name := a.Via + ":" + a.Value
			if ids[name] == uuid.Nil {
				ids[name] = uuid.New()
			}
			a.ID, a.Status, a.CreatedAt, a.UpdatedAt = ids[name], identity.AddressPending, now, now
			continue
		}
		kept := former[at]
		kept.Verifiable, kept.Recovery, kept.Identifier = a.Verifiable, a.Recovery, a.Identifier
		if kept != former[at] {
			kept.UpdatedAt = now
		}
		*a = kept
	}
	return addresses, identifiers
}

func values(addresses []identity.Address) (all []string) {
	for _, a := range addresses {
		all = append(all, a.Via+":"+a.Value)
	}
	return all
}

// same tells whether a and b say the same in the same order.
func same(a, b json.RawMessage) bool {
	var one, other bytes.Buffer
	return json.Compact(&one, a) == nil && json.Compact(&other, b) == nil && bytes.Equal(one.Bytes(), other.Bytes())
}
