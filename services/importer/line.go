package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
)

// Line is one identity as import takes it: the body that creates
// one at the admin API, with what that chooses itself. An identity of the admin API,
// with its credentials, is one too.
type Line struct {
	ID                  *uuid.UUID            `json:"id,omitempty"`
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
	ExternalID     string  `json:"external_id,omitempty"`
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

// parse reads a line. Its errors quote nothing of it but names of members.
func parse(text []byte) (*Line, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var l Line
	if err := d.Decode(&l); err != nil {
		return nil, broken(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one JSON value")
	}
	switch {
	case len(l.Traits) == 0 || l.Traits[0] != '{':
		return nil, errors.New("traits must be an object")
	case l.State != "" && l.State != identity.Active && l.State != identity.Inactive:
		return nil, errors.New("state must be active or inactive")
	case l.ExternalID != "" || l.OrganizationID != nil:
		return nil, errors.New("external_id and organization_id are not supported")
	case l.ID != nil && *l.ID == uuid.Nil:
		return nil, errors.New("id must not be zero")
	}
	return &l, nil
}

// broken says what is wrong with JSON without its values.
func broken(err error) error {
	var wrong *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &wrong):
		return fmt.Errorf("%s must not be a JSON %s", wrong.Field, kind(wrong.Value))
	case errors.As(err, &syntax):
		return fmt.Errorf("broken JSON at byte %d", syntax.Offset)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errors.New("broken JSON: it ends too early")
	case bytes.HasPrefix([]byte(err.Error()), []byte("json: unknown field ")):
		return errors.New("unknown member " + err.Error()[len("json: unknown field "):])
	}
	return errors.New("an id is no UUID, or a time is not of RFC 3339") // the error may quote it
}

// kind is the type of a value that encoding/json names, without the number.
func kind(value string) string {
	name, _, _ := bytes.Cut([]byte(value), []byte(" "))
	return string(name)
}

// creation is what the line asks for, but for its id and times.
func (l *Line) creation(defaultSchema string) (c admin.Creation, err error) {
	c = admin.Creation{
		SchemaID: l.SchemaID, Traits: l.Traits, State: l.State,
		MetadataPublic: unlessNull(l.MetadataPublic), MetadataAdmin: unlessNull(l.MetadataAdmin),
	}
	if c.SchemaID == "" {
		c.SchemaID = defaultSchema
	}
	for name, of := range l.Credentials {
		if err := l.credential(&c, name, of); err != nil {
			return c, err
		}
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

// credential refuses what would be lost: whoever had a second factor must not be
// without one unnoticed.
func (l *Line) credential(c *admin.Creation, name string, of Credential) error {
	switch name {
	case "code": // follows from the traits
		return nil
	case identity.MethodPassword:
	default:
		return fmt.Errorf("credentials of the type %q are not imported", name)
	}
	var config struct {
		Password string `json:"password"`
		Hashed   string `json:"hashed_password"`
	}
	if len(of.Config) > 0 {
		d := json.NewDecoder(bytes.NewReader(of.Config))
		d.DisallowUnknownFields()
		if err := d.Decode(&config); err != nil {
			return errors.New("config of the password must hold password or hashed_password, and nothing else")
		}
	}
	switch {
	case config.Password != "" && config.Hashed != "":
		return errors.New("give either password or hashed_password")
	case config.Password == "" && config.Hashed == "":
		return errors.New("a password has no config: list identities with include_credential=password")
	case config.Password != "":
		c.Password = password.New(config.Password)
	}
	c.HashedPassword = config.Hashed
	return nil
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
