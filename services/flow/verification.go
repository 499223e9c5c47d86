package flow

import (
	"time"

	"github.com/google/uuid"
)

// NewVerification makes the verification flow that another flow leads to, in
// the state that follows the entering of an address: a code or link was asked for, as
// method says.
// Of that other flow it takes Type, RequestURL, ReturnTo, Languages and CSRF; what else is
// in it does not matter.
func NewVerification(from Flow, address, method string, now time.Time, lifespan time.Duration) *Flow {
	now = now.UTC().Truncate(time.Microsecond) // as the store gives it back
	return &Flow{
		ID:         uuid.New(),
		Kind:       Verification,
		Type:       from.Type,
		State:      SentEmail,
		Active:     method,
		RequestURL: from.RequestURL,
		ReturnTo:   from.ReturnTo,
		Languages:  from.Languages,
		CSRF:       from.CSRF,
		Form:       Form{Values: map[string]any{"email": address}},
		IssuedAt:   now,
		ExpiresAt:  now.Add(lifespan),
	}
}
