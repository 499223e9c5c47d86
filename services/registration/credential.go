package registration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
)

// External is what a person signs in with who has proven elsewhere who they
// are, such as at an identity provider.
type External struct {
	// Account is the person's, who may repeat the submit. Hooks see its identifier,
	// and not its issuer.
	Account identity.Account
	// VerifiedAddresses are e-mail addresses that the proof vouches for. Those that
	// the traits hold are stored as verified.
	VerifiedAddresses []string
	// MetadataPublic and MetadataAdmin are stored with the identity; hooks may
	// change them.
	MetadataPublic, MetadataAdmin json.RawMessage
}

// credential is what the person will sign in with.
type credential interface {
	// method is the type that it is stored with.
	method() string
	// missing says what must be there before anything is judged.
	missing() map[string][]flow.Message
	// draft puts it into i as far as hooks may see it, and verifies what it vouches
	// for. The identifiers are those that the traits hold.
	draft(i *identity.Identity, identifiers []string, now time.Time)
	// judge says why it may not be taken for i.
	judge(i *identity.Identity) map[string][]flow.Message
	// complete gives what is stored of it, and tells whether it took a hash.
	complete(ctx context.Context) (config json.RawMessage, hashed bool, err error)
	// repeats gives nil for who has proven again what i has registered with, else
	// [ErrFlowUsed] or what broke.
	repeats(ctx context.Context, i *identity.Identity) error
}

// credential is what in brings.
func (s *Service) credential(in Submit) (credential, error) {
	if in.External == nil {
		return chosen{s, in}, nil
	}
	if in.Method != identity.MethodOIDC || !in.External.Account.Proven() {
		return nil, fmt.Errorf("registration: no proof by %q of this account can be made elsewhere", in.Method)
	}
	return proven{*in.External}, nil
}

// chosen is a password that was entered.
type chosen struct {
	s  *Service
	in Submit
}

func (chosen) method() string { return identity.MethodPassword }

func (c chosen) missing() map[string][]flow.Message {
	if c.in.Password.Empty() {
		return map[string][]flow.Message{"password": {flow.Missing("password")}}
	}
	return map[string][]flow.Message{}
}

func (c chosen) draft(i *identity.Identity, identifiers []string, now time.Time) {
	i.Credentials = []identity.Credential{{Type: identity.MethodPassword, Identifiers: identifiers, CreatedAt: now, UpdatedAt: now}}
}

func (c chosen) judge(i *identity.Identity) map[string][]flow.Message {
	if v := c.s.Policy.Check(c.in.Password, i.Credentials[0].Identifiers); v != nil {
		return map[string][]flow.Message{"password": {flow.FromPassword(v.Rule, v.Context)}}
	}
	return nil
}

func (c chosen) complete(ctx context.Context) (config json.RawMessage, hashed bool, err error) {
	hash, err := c.s.Passwords.Hash(ctx, c.in.Password)
	if err != nil {
		return nil, false, err
	}
	return identity.PasswordConfig(hash), true, nil
}

// repeats takes the same identifiers, then the same password.
func (c chosen) repeats(ctx context.Context, i *identity.Identity) error {
	schema, ok := c.s.Schemas.Schema(i.SchemaID)
	if !ok || c.in.Password.Empty() || len(schema.Check(c.in.Traits)) > 0 {
		return ErrFlowUsed
	}
	_, identifiers := schema.Extract(c.in.Traits)
	stored := i.Credential(identity.MethodPassword)
	if stored == nil || !identity.SameSet(identifiers, stored.Identifiers) {
		return ErrFlowUsed
	}
	hash, err := identity.PasswordHash(stored.Config)
	if err != nil {
		return fmt.Errorf("%s: %w", i.ID, err)
	}
	err = c.s.Passwords.Verify(ctx, c.in.Password, hash)
	if errors.Is(err, password.ErrMismatch) {
		return ErrFlowUsed
	}
	return err
}

// proven is what was proven elsewhere.
type proven struct{ External }

func (proven) method() string { return identity.MethodOIDC }

func (proven) missing() map[string][]flow.Message { return map[string][]flow.Message{} }

func (p proven) draft(i *identity.Identity, _ []string, now time.Time) {
	i.Credentials = []identity.Credential{{Type: identity.MethodOIDC, Identifiers: []string{p.Account.Identifier()}, CreatedAt: now, UpdatedAt: now}}
	for _, value := range p.VerifiedAddresses {
		canonical, err := identity.Canonical(value)
		if err != nil {
			continue
		}
		for n := range i.Addresses {
			if a := &i.Addresses[n]; a.Value == canonical {
				a.Verified, a.VerifiedAt, a.Status = true, now, identity.AddressCompleted
			}
		}
	}
}

func (proven) judge(*identity.Identity) map[string][]flow.Message { return nil }

func (p proven) complete(context.Context) (config json.RawMessage, hashed bool, err error) {
	return identity.OIDCConfig(p.Account), false, nil
}

func (p proven) repeats(_ context.Context, i *identity.Identity) error {
	switch err := i.Holds(p.Account); {
	case errors.Is(err, identity.ErrNotFound), errors.Is(err, identity.ErrOtherIssuer):
		return ErrFlowUsed
	default:
		return err
	}
}
