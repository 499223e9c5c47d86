package identity

import (
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
	// Kept is a session that Revoked leaves alone: it goes on in the epoch that the
	// identity has then. Zero for none.
	Kept uuid.UUID
}

// WithCredentials gives a copy of i, changed now, whose list of credentials is its own.
func (i *Identity) WithCredentials(now time.Time) *Identity {
	next := *i
	next.UpdatedAt, next.Credentials = now, slices.Clone(i.Credentials)
	return &next
}
