package flow

import (
	"encoding/json"

	"github.com/usher-auth/usher/services/identity"
)

// Attempt is one sign-in at an identity provider, on its way. It ends when
// somebody comes back with it, whoever it is.
type Attempt struct {
	// Digest is the SHA-256 of what the client holds to prove that the attempt is its own.
	Digest   []byte `json:"digest"`
	Provider string `json:"provider"`
	// Traits and Transient were submitted with the start, and count when the person
	// is back: the traits over those that the provider gives.
	Traits    json.RawMessage `json:"traits,omitempty"`
	Transient json.RawMessage `json:"transient_payload,omitempty"`
}

// Link is an account at a provider that waits to be linked to one here, until
// its owner signs in to that.
type Link struct {
	identity.Account
	// Duplicate is the canonical identifier of the account here: only who signs in
	// to this one links it.
	Duplicate string `json:"duplicate_identifier"`
	// Methods and Providers are how people can sign in to that account.
	Methods   []string `json:"available_credential_types"`
	Providers []string `json:"available_providers"`
}

// Provider is an identity provider as forms show it.
type Provider struct {
	ID    string
	Label string // the id, if the configuration gives it no name
}
