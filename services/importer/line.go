package importer

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/identity"
)

// Line is one identity as import takes it: the body that creates
// one at the admin API, with what that chooses itself. An identity of the admin API,
// with its credentials, is one too, and so is one of Kratos.
type Line struct {
	ID                  *uuid.UUID            `json:"id,omitempty"`
	ExternalID          string                `json:"external_id,omitempty"`
	SchemaID            string                `json:"schema_id,omitempty"`
	State               identity.State        `json:"state,omitempty"`
	StateChangedAt      *time.Time            `json:"state_changed_at,omitempty"`
	Traits              json.RawMessage       `json:"traits"`
	MetadataPublic      json.RawMessage       `json:"metadata_public,omitempty"`
	MetadataAdmin       json.RawMessage       `json:"metadata_admin,omitempty"`
	Credentials         map[string]Credential `json:"credentials,omitempty"`
	VerifiableAddresses []Address             `json:"verifiable_addresses,omitempty"`
	RecoveryAddresses   []Address             `json:"recovery_addresses,omitempty"`
	CreatedAt           *time.Time            `json:"created_at,omitempty"`
	UpdatedAt           *time.Time            `json:"updated_at,omitempty"`

	SchemaURL      string  `json:"schema_url,omitempty"` // not read
	OrganizationID *string `json:"organization_id,omitempty"`
}

// Credential is one of a [Line]. Only Config is read: what people sign in with
// follows from the traits.
type Credential struct {
	Type        string          `json:"type,omitempty"`
	Identifiers []string        `json:"identifiers,omitempty"`
	Config      json.RawMessage `json:"config,omitempty"`
	Version     int             `json:"version,omitempty"`
	CreatedAt   *time.Time      `json:"created_at,omitempty"`
	UpdatedAt   *time.Time      `json:"updated_at,omitempty"`
}

// Address is one of a [Line]. Which addresses there are follows from the traits.
type Address struct {
	ID         *uuid.UUID `json:"id,omitempty"`
	Value      string     `json:"value"`
	Via        string     `json:"via,omitempty"`
	Verified   bool       `json:"verified,omitempty"`
	VerifiedAt *time.Time `json:"verified_at,omitempty"`
	Status     string     `json:"status,omitempty"`
	CreatedAt  *time.Time `json:"created_at,omitempty"`
	UpdatedAt  *time.Time `json:"updated_at,omitempty"`
}

// maxPassedOver is how many different members of an identity may be passed over.
const maxPassedOver = 16

// parse reads a line, also with an error as far as it can. A member that it does not know
// may be there if it says nothing. Its errors quote nothing of it but names of members.
func parse(text []byte) (*Line, error) {
	l, unknown, err := decode(text)
	for n := 0; unknown != "" && n < maxPassedOver; n++ {
		var found bool
		if text, found = without(unknown, text); !found {
			break
		}
		l, unknown, err = decode(text)
	}
	if err != nil {
		return l, err
	}
	if l.OrganizationID != nil && *l.OrganizationID == "" {
		l.OrganizationID = nil
	}
	switch {
	case len(l.Traits) == 0 || l.Traits[0] != '{':
		return l, errors.New("traits must be an object")
	case l.OrganizationID != nil:
		return l, errors.New("organization_id is not supported")
	case l.ID != nil && *l.ID == uuid.Nil:
		return l, errors.New("id must not be zero")
	}
	// What is printed with spaces is the same as what is not.
	for _, raw := range []*json.RawMessage{&l.Traits, &l.MetadataPublic, &l.MetadataAdmin} {
		*raw = compact(*raw)
	}
	return l, nil
}

// creation is what the line asks for, but for its id and times.
func (l *Line) creation(defaultSchema string) (c admin.Creation, err error) {
	c = admin.Creation{
		ExternalID: l.ExternalID, SchemaID: l.SchemaID, Traits: l.Traits, State: l.State,
		MetadataPublic: unlessNull(l.MetadataPublic), MetadataAdmin: unlessNull(l.MetadataAdmin),
	}
	if c.SchemaID == "" {
		c.SchemaID = defaultSchema
	}
	if err := l.lost(); err != nil {
		return c, err
	}
	if err := l.password(&c); err != nil {
		return c, err
	}
	if c.Accounts, err = l.accounts(); err != nil {
		return c, err
	}
	for _, a := range l.VerifiableAddresses {
		if a.Verified {
			c.Verified = append(c.Verified, a.Value)
		}
	}
	for _, a := range l.RecoveryAddresses {
		c.Recovery = append(c.Recovery, a.Value)
	}
	for _, all := range [][]Address{l.VerifiableAddresses, l.RecoveryAddresses} {
		for _, a := range all {
			if a.Via != "" && a.Via != "email" {
				return c, errors.New("via must be email")
			}
		}
	}
	return c, nil
}

// keep puts in what the line gives of id and times.
func (l *Line) keep(i *identity.Identity, id uuid.UUID) {
	i.ID = id
	set := func(at *time.Time, to ...*time.Time) {
		if at == nil || at.IsZero() {
			return
		}
		for _, t := range to {
			*t = at.UTC().Truncate(time.Microsecond)
		}
	}
	set(l.CreatedAt, &i.CreatedAt, &i.UpdatedAt, &i.StateChangedAt)
	set(l.UpdatedAt, &i.UpdatedAt)
	set(l.StateChangedAt, &i.StateChangedAt)
	for n := range i.Credentials {
		if given, ok := l.Credentials[i.Credentials[n].Type]; ok {
			set(given.CreatedAt, &i.Credentials[n].CreatedAt, &i.Credentials[n].UpdatedAt)
			set(given.UpdatedAt, &i.Credentials[n].UpdatedAt)
		}
	}
	for _, given := range l.VerifiableAddresses {
		canonical, err := identity.Canonical(given.Value)
		for n := range i.Addresses {
			if a := &i.Addresses[n]; err == nil && a.Value == canonical {
				set(given.CreatedAt, &a.CreatedAt, &a.UpdatedAt)
				set(given.UpdatedAt, &a.UpdatedAt)
				if a.Verified {
					set(given.VerifiedAt, &a.VerifiedAt)
				}
			}
		}
	}
}

func unlessNull(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}
