package settings

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
)

// SetPassword puts p in the place of the person's password, or gives them one, with
// the identifiers that their traits hold. The session that asks for it goes on; where
// the plan says so the others end in the same commit.
//
// A [*flow.Invalid] says at its node why p may not be taken: by the policy, or since
// it is the password already. One that was set in this very flow is no error: its
// answer may be lost.
func (s *Service) SetPassword(ctx context.Context, in Submit, p password.Plain) (*Result, error) {
	if p.Empty() {
		err := invalid("password", flow.Missing("password"))
		s.observe(setPassword, OK, err)
		return nil, err
	}
	n := newPassword{s: s, in: in, plain: p}
	r, err := s.change(ctx, in, setPassword, identity.MethodPassword, n.next)
	if errors.Is(err, identity.ErrExists) { // an identifier that no credential had until now
		return nil, fmt.Errorf("%w: %w", err, invalid("", flow.IdentifierTaken()))
	}
	return r, err
}

// newPassword is a password that was entered, and what is known of it so far.
type newPassword struct {
	s     *Service
	in    Submit
	plain password.Plain
	// compared is the config of the password that plain was held against, same
	// whether it is that one.
	compared json.RawMessage
	same     bool
	// config is what is stored of plain, nil before it is hashed.
	config json.RawMessage
}

func (n *newPassword) next(stored *identity.Identity, now time.Time) (*identity.Identity, error) {
	schema, ok := n.s.Schemas.Schema(stored.SchemaID)
	if !ok {
		return nil, fmt.Errorf("schema %q is not configured any more", stored.SchemaID)
	}
	_, identifiers := schema.Extract(stored.Traits)
	if len(identifiers) == 0 {
		return nil, invalid("", flow.NoIdentifier())
	}
	if v := n.s.Policy.Check(n.plain, identifiers); v != nil {
		return nil, invalid("password", flow.FromPassword(v.Rule, v.Context))
	}
	former := stored.Credential(identity.MethodPassword)
	switch {
	case former != nil && !bytes.Equal(former.Config, n.compared):
		return nil, &waiting{func(ctx context.Context) error { return n.compare(ctx, former.Config) }}
	case former != nil && n.same && !former.UpdatedAt.Before(n.in.Flow.IssuedAt):
		return nil, nil
	case former != nil && n.same:
		return nil, fmt.Errorf("%w: %w", ErrSamePassword, invalid("password", flow.PasswordUnchanged()))
	case n.config == nil:
		return nil, &waiting{n.hash}
	}
	made := stored.WithCredentials(now)
	if former == nil {
		made.Credentials = append(made.Credentials, identity.Credential{Type: identity.MethodPassword, CreatedAt: now})
	}
	c := made.Credential(identity.MethodPassword)
	c.Identifiers, c.Config, c.UpdatedAt = identifiers, n.config, now
	return made, nil
}

// compare holds the password against a stored one.
func (n *newPassword) compare(ctx context.Context, stored json.RawMessage) error {
	hash, err := identity.PasswordHash(stored)
	if err != nil {
		return err
	}
	err = n.s.Passwords.Verify(ctx, n.plain, hash)
	if err != nil && !errors.Is(err, password.ErrMismatch) {
		return fmt.Errorf("compare: %w", err)
	}
	n.compared, n.same = stored, err == nil
	return nil
}

func (n *newPassword) hash(ctx context.Context) error {
	hash, err := n.s.Passwords.Hash(ctx, n.plain)
	if err != nil {
		return err
	}
	n.config = identity.PasswordConfig(hash)
	return nil
}
