// Package admin is what administrators do to identities and their sessions:
//
//	create, update, delete ──▶ schema → addresses → ONE commit with its events
//	revoke, extend         ──▶ the ledger of sessions
//	recover                ──▶ a flow, with a code or link for the administrator to hand out
//
// No hook runs and no session is issued for it; workers on the bus get the events.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/session"
)

// Service does what administrators ask for. Input that breaks the schema is a
// [*flow.Invalid]. All fields but EarliestExtend are needed; it is safe for
// concurrent use.
type Service struct {
	Maker
	Store    Store
	Batches  Batches
	Sessions session.Ledger
	// Recoveries keep what [Service.Recover] begins, and CodeLifespan and LinkLifespan
	// are how long its codes and links are good for where nobody says so.
	Recoveries                 Recoveries
	CodeLifespan, LinkLifespan time.Duration
	// LinkURL is the base of the links.
	LinkURL string
	// Lifespan is how long an extended session lasts from then on.
	Lifespan time.Duration
	// EarliestExtend is how long before its end a session is extended at the
	// earliest; zero for any time.
	EarliestExtend time.Duration
}

// Maker makes identities and stores none. All fields are needed, but Passwords only where
// there are some.
type Maker struct {
	Schemas   Schemas
	Passwords Hasher
	Now       func() time.Time
}

// Store keeps identities. Each method is one durable commit, with its events.
type Store interface {
	// CreateIdentity stores i and its event, or gives [identity.ErrExists].
	CreateIdentity(ctx context.Context, i *identity.Identity, e events.Event) error
	// UpdateIdentity stores what decide makes of an identity, which nobody else can
	// change meanwhile: [identity.ErrNotFound] if there is none, [identity.ErrExists]
	// if an identifier is taken. decide must not change what it is given, nor wait
	// for anything; nil of it stores nothing, and so does its error.
	UpdateIdentity(ctx context.Context, id uuid.UUID, decide func(stored *identity.Identity) (*identity.Change, error)) error
	// DeleteIdentity deletes an identity and all that is stored of it, or gives
	// [identity.ErrNotFound].
	DeleteIdentity(ctx context.Context, id uuid.UUID, d Deletion) error
}

// Deletion makes the events of a deletion: for each live session, then the last
// of the identity.
type Deletion struct {
	Revoked session.Revocation
	Deleted Made
}

// Made makes an event with the identity's next sequence.
type Made func(sequence int64) events.Event

// Schemas gives the identity schema with an ID, false if there is none.
type Schemas interface {
	Schema(id string) (*identity.Schema, bool)
}

// Hasher hashes passwords within the limits of a pool.
type Hasher interface {
	// Hash gives a PHC string, or [password.ErrBusy] at once when the queue is full.
	Hash(ctx context.Context, p password.Plain) (string, error)
}

// Author is who asked, for the events.
type Author = audit.Author

// event makes one about an identity.
func event(by Author, id uuid.UUID, now time.Time, sequence int64, p events.Payload) events.Event {
	about := by.About("/usher/admin")
	about.Subject = id.String()
	e := events.New(p, now, about)
	e.Sequence = strconv.FormatInt(sequence, 10)
	return e
}

// revocation makes session.revoked of an identity's sessions.
func revocation(by Author, of uuid.UUID, now time.Time, reason string) session.Revocation {
	return func(id uuid.UUID, sequence int64) events.Event {
		return event(by, of, now, sequence, events.SessionRevoked{SessionID: id.String(), IdentityID: of.String(), Reason: reason})
	}
}

// Reasons of a revocation.
const (
	byAdmin     = "admin"
	deactivated = "deactivated"
)

// now is the time as the store gives it back.
func (s Maker) now() time.Time { return s.Now().UTC().Truncate(time.Microsecond) }

// schema gives the schema that traits follow, or says what is wrong.
func (s Maker) schema(id string, traits json.RawMessage) (*identity.Schema, error) {
	schema, ok := s.Schemas.Schema(id)
	if !ok {
		return nil, invalid("", flow.Generic(fmt.Sprintf("there is no identity schema %q", id)))
	}
	if violations := schema.Check(traits); len(violations) > 0 {
		return nil, invalid(violations[0].Node, flow.FromViolation(violations[0]))
	}
	return schema, nil
}

// check says what no identity may be, whatever its schema says.
func check(state identity.State, externalID string) error {
	if state != "" && state != identity.Active && state != identity.Inactive {
		return invalid("", flow.Generic(fmt.Sprintf("state must be %s or %s", identity.Active, identity.Inactive)))
	}
	if err := identity.CheckExternalID(externalID); err != nil {
		return invalid("", flow.Generic(err.Error()))
	}
	return nil
}

// checkAccounts says what no account may be.
func checkAccounts(all []identity.Account) error {
	for _, a := range all {
		if err := a.Check(); err != nil {
			return invalid("", flow.Generic(err.Error()))
		}
	}
	return nil
}

// hash makes the config of a password credential: of a password, which no policy
// judges, or of a hash that was made elsewhere. It is nil when neither is given.
func (s Maker) hash(ctx context.Context, plain password.Plain, hashed string) (json.RawMessage, error) {
	switch {
	case !plain.Empty() && hashed != "":
		return nil, invalid("", flow.Generic("give either password or hashed_password"))
	case !plain.Empty():
		var err error
		if hashed, err = s.Passwords.Hash(ctx, plain); err != nil {
			return nil, fmt.Errorf("hash: %w", err)
		}
	case hashed == "":
		return nil, nil
	default:
		if err := recognise(hashed); err != nil {
			return nil, err
		}
	}
	return identity.PasswordConfig(hashed), nil
}

// recognise says why a hash that was made elsewhere cannot be stored.
func recognise(hashed string) error {
	switch err := password.Recognise(hashed); {
	case errors.Is(err, password.ErrCostlyHash):
		return invalid("", flow.Generic("hashed_password would take too much time or memory to verify: its parameters are too high"))
	case err != nil:
		return invalid("", flow.Generic("hashed_password is no hash of bcrypt, argon2id, scrypt or pbkdf2"))
	}
	return nil
}

func invalid(node string, m flow.Message) error {
	return &flow.Invalid{Form: flow.Form{Messages: map[string][]flow.Message{node: {m}}}}
}
