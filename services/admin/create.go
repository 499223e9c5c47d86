package admin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
)

// Creation is an identity that is to be.
type Creation struct {
	ExternalID     string // empty for none
	SchemaID       string
	Traits         json.RawMessage
	State          identity.State // empty means active
	MetadataPublic json.RawMessage
	MetadataAdmin  json.RawMessage
	// Password is hashed without a look at the policy; HashedPassword is stored
	// as it is. Both empty: no password.
	Password       password.Plain
	HashedPassword string
	// Accounts are those at providers that sign the person in.
	Accounts []identity.Account
	// Verified are addresses that the traits must give, and that count as verified.
	Verified []string
	// Recovery are addresses that the traits must give for recovery.
	Recovery []string
	Author   Author
}

// Create stores an identity. Nobody is sent a mail for it.
func (s *Service) Create(ctx context.Context, in Creation) (*identity.Identity, error) {
	i, err := s.Make(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := s.Store.CreateIdentity(ctx, i, CreatedEvent(in.Author, "admin", i, i.CreatedAt)); err != nil {
		return nil, fmt.Errorf("create identity: %w", err)
	}
	return i, nil
}

// CreatedEvent is the first event of i, which is made by a method: "admin" or "import".
func CreatedEvent(by Author, method string, i *identity.Identity, at time.Time) events.Event {
	e := event(by, i.ID, at, 1, events.IdentityCreated{
		IdentityID: i.ID.String(),
		SchemaID:   i.SchemaID,
		State:      string(i.State),
		Method:     method,
	})
	e.Source = "/usher/" + method
	return e
}

// Make gives the identity that [Service.Create] would store, or a [*flow.Invalid].
func (s Maker) Make(ctx context.Context, in Creation) (*identity.Identity, error) {
	if err := cmp.Or(check(in.State, in.ExternalID), checkAccounts(in.Accounts)); err != nil {
		return nil, err
	}
	schema, err := s.schema(in.SchemaID, in.Traits)
	if err != nil {
		return nil, err
	}
	now := s.now()
	i := &identity.Identity{
		ID:             uuid.New(),
		ExternalID:     in.ExternalID,
		SchemaID:       in.SchemaID,
		State:          in.State,
		StateChangedAt: now,
		Traits:         identity.Object(in.Traits),
		MetadataPublic: in.MetadataPublic,
		MetadataAdmin:  in.MetadataAdmin,
		CreatedAt:      now,
		UpdatedAt:      now,
	}
	if i.State == "" {
		i.State = identity.Active
	}
	var identifiers []string
	i.Addresses, identifiers = extract(schema, i.Traits, nil, now)
	if !verify(i.Addresses, in.Verified, now) {
		return nil, invalid("", flow.Generic("verifiable_addresses holds one that the identity schema does not take from the traits"))
	}
	if !recoverable(i.Addresses, in.Recovery) {
		return nil, invalid("", flow.Generic("recovery_addresses holds one that the identity schema does not take from the traits"))
	}
	config, err := s.hash(ctx, in.Password, in.HashedPassword)
	if err != nil {
		return nil, err
	}
	if i.Credentials, err = withPassword(nil, identifiers, config, now); err != nil {
		return nil, err
	}
	return withAccounts(i, in.Accounts, now)
}

// withAccounts gives i with accounts at providers beside those that it has. One without
// an issuer is the one that is there.
func withAccounts(i *identity.Identity, accounts []identity.Account, now time.Time) (*identity.Identity, error) {
	for _, a := range accounts {
		if c := i.Credential(identity.MethodOIDC); c != nil && a.Issuer == "" && slices.Contains(c.Identifiers, a.Identifier()) {
			continue
		}
		next, err := i.WithAccount(a, now)
		switch {
		case errors.Is(err, identity.ErrOtherIssuer):
			return nil, invalid("", flow.Generic("credentials hold an account that the identity has of another issuer: remove that one first"))
		case err != nil:
			return nil, err
		case next != nil:
			i = next
		}
	}
	return i, nil
}

// extract takes addresses and sign-in identifiers from valid traits. An address
// that was there before is the former one, used as the traits say now.
func extract(schema *identity.Schema, traits json.RawMessage, former []identity.Address, now time.Time) (addresses []identity.Address, identifiers []string) {
	addresses, identifiers = schema.Extract(traits)
	for n := range addresses {
		a := &addresses[n]
		at := slices.IndexFunc(former, func(b identity.Address) bool { return b.Via == a.Via && b.Value == a.Value })
		if at < 0 {
			a.ID, a.Status, a.CreatedAt, a.UpdatedAt = uuid.New(), identity.AddressPending, now, now
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

// verify marks those that are verified, and tells whether all were found.
func verify(addresses []identity.Address, verified []string, now time.Time) bool {
	for _, value := range verified {
		canonical, err := identity.Canonical(value)
		at := slices.IndexFunc(addresses, func(a identity.Address) bool { return a.Value == canonical })
		if err != nil || at < 0 {
			return false
		}
		a := &addresses[at]
		a.Verified, a.VerifiedAt, a.Status = true, now, identity.AddressCompleted
	}
	return true
}

// recoverable tells whether all values are recovery addresses.
func recoverable(addresses []identity.Address, values []string) bool {
	for _, value := range values {
		canonical, err := identity.Canonical(value)
		if err != nil || !slices.ContainsFunc(addresses, func(a identity.Address) bool { return a.Recovery && a.Value == canonical }) {
			return false
		}
	}
	return true
}

// withPassword gives the credentials with these identifiers in that of the
// password, and with config unless that is nil. A password that nobody could
// sign in with is refused.
func withPassword(former []identity.Credential, identifiers []string, config json.RawMessage, now time.Time) ([]identity.Credential, error) {
	credentials := slices.Clone(former)
	at := slices.IndexFunc(credentials, func(c identity.Credential) bool { return c.Type == "password" })
	switch {
	case at < 0 && config == nil:
		return credentials, nil
	case len(identifiers) == 0:
		return nil, invalid("", flow.NoIdentifier())
	case at < 0:
		return append(credentials, identity.Credential{Type: "password", Identifiers: identifiers, Config: config, CreatedAt: now, UpdatedAt: now}), nil
	}
	c := &credentials[at]
	if config == nil {
		config = c.Config
	}
	if !slices.Equal(c.Identifiers, identifiers) || !bytes.Equal(c.Config, config) {
		c.Identifiers, c.Config, c.UpdatedAt = identifiers, config, now
	}
	return credentials, nil
}
