package registration

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
)

// Creation is an identity that an administrator creates. No hook runs and no
// session is issued for it; workers on the bus get its identity.created.
type Creation struct {
	SchemaID       string
	Traits         json.RawMessage
	State          identity.State // empty means active
	MetadataPublic json.RawMessage
	MetadataAdmin  json.RawMessage
	// Password is hashed without a look at the policy; HashedPassword is stored
	// as it is. Both empty: no password.
	Password       password.Plain
	HashedPassword string
	// Verified are the addresses that count as verified.
	Verified  []string
	Actor     string // "admin:<name>"
	RequestID string
}

// CreationStore stores an identity that an administrator creates.
type CreationStore interface {
	// CreateIdentity stores i and its event in one commit, or gives [identity.ErrExists].
	CreateIdentity(ctx context.Context, i *identity.Identity, e events.Event) error
}

// Creator creates identities for administrators. All fields are needed.
type Creator struct {
	Store     CreationStore
	Schemas   Schemas
	Passwords Hasher
	Now       func() time.Time
}

// Create stores an identity. Input that breaks the schema is a [*flow.Invalid].
func (s *Creator) Create(ctx context.Context, in Creation) (*identity.Identity, error) {
	schema, ok := s.Schemas.Schema(in.SchemaID)
	if !ok {
		return nil, invalidCreation("", flow.Generic(fmt.Sprintf("there is no identity schema %q", in.SchemaID)))
	}
	if violations := schema.Check(in.Traits); len(violations) > 0 {
		return nil, invalidCreation(violations[0].Node, flow.FromViolation(violations[0]))
	}
	now := s.Now().UTC().Truncate(time.Microsecond)
	i := &identity.Identity{
		ID:             uuid.New(),
		SchemaID:       in.SchemaID,
		State:          in.State,
		StateChangedAt: now,
		Traits:         object(in.Traits),
		MetadataPublic: in.MetadataPublic,
		MetadataAdmin:  in.MetadataAdmin,
		CreatedAt:      now,
		UpdatedAt:      now,
	}
	if i.State == "" {
		i.State = identity.Active
	}
	identifiers := extract(schema, i, now)
	verify(i, in.Verified, now)
	if err := s.credential(ctx, i, identifiers, in); err != nil {
		return nil, err
	}

	event := events.New(events.IdentityCreated{
		IdentityID: i.ID.String(),
		SchemaID:   i.SchemaID,
		State:      string(i.State),
		Method:     "admin",
	}, now, events.About{Source: "/usher/admin", Subject: i.ID.String(), Actor: in.Actor, RequestID: in.RequestID})
	event.Sequence = "1"
	if err := s.Store.CreateIdentity(ctx, i, event); err != nil {
		return nil, fmt.Errorf("create identity: %w", err)
	}
	return i, nil
}

// credential gives i its password, or none when none was given.
func (s *Creator) credential(ctx context.Context, i *identity.Identity, identifiers []string, in Creation) error {
	hash := in.HashedPassword
	switch {
	case in.Password.Empty() && hash == "":
		i.Credentials = nil
		return nil
	case len(identifiers) == 0:
		return invalidCreation("", flow.NoIdentifier())
	case !in.Password.Empty():
		var err error
		if hash, err = s.Passwords.Hash(ctx, in.Password); err != nil {
			return err
		}
	case password.Recognise(hash) != nil:
		return invalidCreation("", flow.Generic("hashed_password is neither bcrypt nor argon2id in PHC form"))
	}
	return setPassword(i, hash, i.CreatedAt)
}

func verify(i *identity.Identity, verified []string, now time.Time) {
	for _, value := range verified {
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

func invalidCreation(node string, m flow.Message) error {
	return &flow.Invalid{Form: flow.Form{Messages: map[string][]flow.Message{node: {m}}}}
}
