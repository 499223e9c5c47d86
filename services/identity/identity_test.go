package identity_test

import (
	"testing"

	"github.com/usher-auth/usher/services/identity"
)

// Only what was verified opens a gate: not that a code is on its way, nor what a
// status says.
func TestVerifiable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		addresses []identity.Address
		pending   string
		verified  bool
	}{
		"none":                        {},
		"verified":                    {addresses: []identity.Address{{Value: "a", Verifiable: true, Verified: true}}, verified: true},
		"pending":                     {addresses: []identity.Address{{Value: "a", Verifiable: true, Status: identity.AddressPending}}, pending: "a"},
		"a code was sent":             {addresses: []identity.Address{{Value: "a", Verifiable: true, Status: identity.AddressSent}}, pending: "a"},
		"only the status is complete": {addresses: []identity.Address{{Value: "a", Verifiable: true, Status: identity.AddressCompleted}}, pending: "a"},
		"cannot be verified":          {addresses: []identity.Address{{Value: "a", Verified: true}}},
		"the first of two":            {addresses: []identity.Address{{Value: "a", Verifiable: true}, {Value: "b", Verifiable: true}}, pending: "a"},
		"one of two":                  {addresses: []identity.Address{{Value: "a", Verifiable: true, Verified: true}, {Value: "b", Verifiable: true}}, pending: "b", verified: true},
	} {
		i := identity.Identity{Addresses: c.addresses}
		pending, verified := i.Verifiable()
		value := ""
		if pending != nil {
			value = pending.Value
		}
		if value != c.pending || verified != c.verified {
			t.Errorf("%s: Verifiable = %q, %t, want %q, %t", name, value, verified, c.pending, c.verified)
		}
	}
}
