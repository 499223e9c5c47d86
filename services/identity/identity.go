// Package identity holds what a registered person is: traits, addresses,
// credentials, and the JSON Schema that judges the traits.
package identity

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Errors that callers tell apart.
var (
	// ErrExists says that an identifier, address or external id belongs to another identity.
	ErrExists = errors.New("identity: identifier is taken")
	// ErrNotFound says that no such identity is stored.
	ErrNotFound = errors.New("identity: not found")
)

// State says whether an identity may be used.
type State string

// The states of an identity.
const (
	Active   State = "active"
	Inactive State = "inactive"
)

// Identity is a registered person.
type Identity struct {
	ID uuid.UUID
	// ExternalID is what another system calls the identity, empty for nothing. No two
	// have the same one. See [CheckExternalID].
	ExternalID     string
	SchemaID       string
	State          State
	StateChangedAt time.Time
	// Traits are stored as they were sent; the schema has judged them.
	Traits         json.RawMessage
	MetadataPublic json.RawMessage
	MetadataAdmin  json.RawMessage
	// Epoch is what a session's epoch must equal for the session to be valid:
	// raising it revokes all sessions with one write.
	Epoch int64
	// Sequence is that of the last event about the identity when it was read.
	Sequence    int64
	Addresses   []Address
	Credentials []Credential
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Address is an address of an identity. It may be verifiable, usable for
// recovery, a sign-in identifier, or several of these.
type Address struct {
	ID         uuid.UUID
	Via        string // "email"
	Value      string // canonical, see [Canonical]
	Verifiable bool
	Recovery   bool
	Identifier bool
	Verified   bool
	VerifiedAt time.Time     // zero unless Verified
	Status     AddressStatus // how far the verification is
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// AddressStatus says how far the verification of an address is.
type AddressStatus string

// The states of an address's verification.
const (
	AddressPending   AddressStatus = "pending"
	AddressSent      AddressStatus = "sent"
	AddressCompleted AddressStatus = "completed"
)

// The ways to sign in: types of credentials, and the methods of flows, plans and
// sessions that use them.
const (
	MethodPassword = "password"
	MethodOIDC     = "oidc"
)

// Credential is one way to sign in.
type Credential struct {
	Type string // [MethodPassword] or [MethodOIDC]
	// Identifiers of a password are canonical: lower-cased and trimmed, e-mail
	// addresses by [Canonical]. Those of other ways are never entered and stand as
	// they were proven, for OpenID Connect "<provider>:<subject>".
	Identifiers []string
	// Config is secret, for a password {"hashed_password": PHC string}, for OpenID
	// Connect see [OIDCConfig].
	Config    json.RawMessage
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Verifiable gives the first address of i that waits for its verification, nil
// if none does, and tells whether another one is verified. Neither is for who has
// no address to verify.
func (i *Identity) Verifiable() (pending *Address, verified bool) {
	for n := range i.Addresses {
		switch a := &i.Addresses[n]; {
		case !a.Verifiable:
		case a.Verified:
			verified = true
		case pending == nil:
			pending = a
		}
	}
	return pending, verified
}

// Handle is what an identifier of a credential is unique by and found by, over
// all identities. That of a password is the identifier; all others are apart from
// what can be entered, so that nobody signs up as another's "<provider>:<subject>".
func Handle(credential, identifier string) string {
	if credential == MethodPassword {
		return identifier
	}
	return strings.ToUpper(credential) + ":" + identifier // what is entered is lower-cased
}

// Handles are the handles of i's external id and of its credentials that are not
// addresses of i. They are unique over all identities, as addresses are.
func (i *Identity) Handles() []string {
	addresses := make(map[string]bool, len(i.Addresses))
	for _, a := range i.Addresses {
		addresses[a.Value] = true
	}
	var handles []string
	if i.ExternalID != "" {
		handles = append(handles, ExternalHandle(i.ExternalID))
	}
	for _, c := range i.Credentials {
		for _, id := range c.Identifiers {
			if h := Handle(c.Type, id); !addresses[h] {
				handles = append(handles, h)
			}
		}
	}
	return handles
}

// Unique are the handles and addresses of i, each as a text: no two identities may share
// one.
func (i *Identity) Unique() []string {
	all := i.Handles()
	for _, a := range i.Addresses {
		all = append(all, a.Via+"\x00"+a.Value) // no handle holds that character
	}
	return all
}

// Credential gives the credential of a type, or nil.
func (i *Identity) Credential(kind string) *Credential {
	at := slices.IndexFunc(i.Credentials, func(c Credential) bool { return c.Type == kind })
	if at < 0 {
		return nil
	}
	return &i.Credentials[at]
}
