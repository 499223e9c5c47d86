package identity_test

import (
	"slices"
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

// What is entered is canonical: none of it is the handle of a proof made elsewhere.
func TestHandlesOfProofsCannotBeEntered(t *testing.T) {
	t.Parallel()
	proven := identity.Handle(identity.MethodOIDC, "corp:seven")
	for _, entered := range []string{"corp:seven", proven, " " + proven, "oidc:corp:seven", "OIDC:corp:seven", "ＯＩＤＣ:corp:seven"} {
		if got := identity.Handle(identity.MethodPassword, identity.CanonicalIdentifier(entered)); got == proven {
			t.Errorf("the handle of %q is %q, as of the proof", entered, got)
		}
	}
	if got := identity.CanonicalIdentifier(identity.ExternalHandle("7")); got == identity.ExternalHandle("7") {
		t.Errorf("%q can be entered, and is the handle of an external id", got)
	}
	i := identity.Identity{
		ExternalID: "Seven",
		Addresses:  []identity.Address{{Value: "ann@example.org"}},
		Credentials: []identity.Credential{
			{Type: identity.MethodOIDC, Identifiers: []string{"corp:Seven", "ann@example.org"}},
			{Type: identity.MethodPassword, Identifiers: []string{"ann@example.org", "ann"}},
		},
	}
	if got, want := i.Handles(), []string{"EXTERNAL_ID:Seven", "OIDC:corp:Seven", "OIDC:ann@example.org", "ann"}; !slices.Equal(got, want) {
		t.Errorf("Handles() = %q, want %q", got, want)
	}
	if got := i.Credential(identity.MethodPassword); got != &i.Credentials[1] {
		t.Errorf("Credential(password) = %+v, want that of i", got)
	}
	if got := i.Credential("code"); got != nil {
		t.Errorf("Credential(code) = %+v, want none", got)
	}
}
