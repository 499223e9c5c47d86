package flow

import (
	"time"

	"github.com/google/uuid"
)

// NewVerification gives a verification flow that begins with its code already
// asked for, to be sent to an address.
func NewVerification(t Type, address string, now time.Time, lifespan time.Duration) *Flow {
	now = now.UTC().Truncate(time.Microsecond) // as the store gives it back
	return &Flow{
		ID:        uuid.New(),
		Kind:      Verification,
		Type:      t,
		State:     SentEmail,
		Active:    "code",
		Form:      Form{Values: map[string]any{"email": address}},
		IssuedAt:  now,
		ExpiresAt: now.Add(lifespan),
	}
}
