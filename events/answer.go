package events

import (
	"encoding/json"
	"time"
)

// HookQuestion is what an answering worker is asked before the commit, at
// [SubjectHookAnswer]: what the body template of a web_hook sees. Whoever reads
// it ignores members that it does not know.
type HookQuestion struct {
	Flow HookFlow `json:"flow"`
	// Identity is what would be stored, nil where there is none yet.
	Identity *HookIdentity `json:"identity,omitempty"`
	// RequestHeaders are those that a web_hook may see.
	RequestHeaders map[string][]string `json:"request_headers"`
	RequestMethod  string              `json:"request_method"`
	RequestURL     string              `json:"request_url"`
	RequestCookies map[string]string   `json:"request_cookies"`
}

// HookFlow is the flow that a person is in.
type HookFlow struct {
	ID               string          `json:"id"`
	Type             string          `json:"type"` // "api", "browser"
	RequestURL       string          `json:"request_url"`
	ReturnTo         string          `json:"return_to,omitempty"`
	IssuedAt         time.Time       `json:"issued_at"`
	ExpiresAt        time.Time       `json:"expires_at"`
	TransientPayload json.RawMessage `json:"transient_payload,omitempty"`
}

// HookIdentity is an identity as answering workers see it, without credentials.
type HookIdentity struct {
	ID             string          `json:"id"`
	ExternalID     string          `json:"external_id,omitempty"`
	SchemaID       string          `json:"schema_id"`
	SchemaURL      string          `json:"schema_url"`
	State          string          `json:"state"` // "active", "inactive"
	StateChangedAt time.Time       `json:"state_changed_at"`
	Traits         json.RawMessage `json:"traits"`
	Verifiable     []HookAddress   `json:"verifiable_addresses,omitempty"`
	Recovery       []HookAddress   `json:"recovery_addresses,omitempty"`
	MetadataPublic json.RawMessage `json:"metadata_public"`
	MetadataAdmin  json.RawMessage `json:"metadata_admin"`
}

// HookAddress is an address of a [HookIdentity] or of a [HookChange]. Those for
// recovery have no more than Value and Via.
type HookAddress struct {
	Value      string    `json:"value"`
	Via        string    `json:"via"`
	Verified   bool      `json:"verified"`
	VerifiedAt time.Time `json:"verified_at,omitzero"`
}

// HookAnswer is what an answering worker answers, as a web_hook whose response
// is parsed does over HTTP. The zero answer lets the flow go on.
type HookAnswer struct {
	// Status is as over HTTP: 400 and above refuses. 0 means 200 without, and 400
	// with Messages.
	Status int `json:"status,omitempty"`
	// Identity changes what it names; nil changes nothing.
	Identity *HookChange `json:"identity,omitempty"`
	// Messages refuse, and are shown to the person.
	Messages []HookMessages `json:"messages,omitempty"`
}

// HookChange is what an answer says of an identity. What is absent stays; the
// JSON null empties metadata.
type HookChange struct {
	// ExternalID is what another system calls the identity, unique over all identities.
	ExternalID     string          `json:"external_id,omitempty"`
	SchemaID       string          `json:"schema_id,omitempty"`
	State          string          `json:"state,omitempty"`
	Traits         json.RawMessage `json:"traits,omitempty"`
	MetadataPublic json.RawMessage `json:"metadata_public,omitempty"`
	MetadataAdmin  json.RawMessage `json:"metadata_admin,omitempty"`
	// Verifiable says which addresses are verified, and not which there are.
	Verifiable []HookAddress `json:"verifiable_addresses,omitempty"`
}

// HookMessages are messages at one place of the form.
type HookMessages struct {
	// Pointer is a JSON pointer, as in "#/traits/email"; empty for the whole form.
	Pointer  string        `json:"instance_ptr,omitempty"`
	Messages []HookMessage `json:"messages"`
}

// HookMessage is one message to a person.
type HookMessage struct {
	ID      int64           `json:"id,omitempty"`
	Text    string          `json:"text"`
	Type    string          `json:"type,omitempty"` // "error" without it
	Context json.RawMessage `json:"context,omitempty"`
}
