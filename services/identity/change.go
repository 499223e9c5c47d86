package identity

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
)

// Change is what a store does to an identity in one durable commit.
type Change struct {
	// Identity is what the stored one becomes. An address is the stored one if
	// their ids are the same; one that is left out goes, with its codes.
	Identity *Identity
	// Updated makes identity.updated with the identity's next sequence.
	Updated func(sequence int64) events.Event
	// Revoked makes session.revoked for each live session, which is then revoked;
	// nil leaves them alone.
	Revoked func(session uuid.UUID, sequence int64) events.Event
}

// WithIdentifier gives a copy of i with one identifier more in its credential of a
// type, which is made without secrets if there is none; nil if it is there already.
func (i *Identity) WithIdentifier(credential, identifier string, now time.Time) *Identity {
	next := i.WithCredentials(now)
	c := next.Credential(credential)
	switch {
	case c == nil:
		next.Credentials = append(next.Credentials, Credential{Type: credential, Config: json.RawMessage(`{}`), CreatedAt: now})
		c = &next.Credentials[len(next.Credentials)-1]
	case slices.Contains(c.Identifiers, identifier):
		return nil
	}
	c.Identifiers, c.UpdatedAt = append(slices.Clone(c.Identifiers), identifier), now
	return next
}

// WithCredentials gives a copy of i, changed now, whose list of credentials is its own.
func (i *Identity) WithCredentials(now time.Time) *Identity {
	next := *i
	next.UpdatedAt, next.Credentials = now, slices.Clone(i.Credentials)
	return &next
}
