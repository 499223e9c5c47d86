package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
)

// stamp is a time as the contract writes it, always of the same length.
type stamp time.Time

const stampLayout = `"2006-01-02T15:04:05.000000Z"`

// MarshalJSON writes the time in UTC with microseconds.
func (s stamp) MarshalJSON() ([]byte, error) {
	return time.Time(s).UTC().AppendFormat(make([]byte, 0, len(stampLayout)), stampLayout), nil
}

// identityView is the public view of an identity: no credentials, no metadata
// of administrators. The order of the fields is the order of the answer.
type identityView struct {
	ID                  uuid.UUID         `json:"id"`
	ExternalID          string            `json:"external_id,omitempty"`
	SchemaID            string            `json:"schema_id"`
	SchemaURL           string            `json:"schema_url"`
	State               identity.State    `json:"state"`
	StateChangedAt      stamp             `json:"state_changed_at"`
	Traits              json.RawMessage   `json:"traits"`
	VerifiableAddresses []verifiableView  `json:"verifiable_addresses,omitempty"`
	RecoveryAddresses   []recoveryAddress `json:"recovery_addresses,omitempty"`
	MetadataPublic      json.RawMessage   `json:"metadata_public"`
	CreatedAt           stamp             `json:"created_at"`
	UpdatedAt           stamp             `json:"updated_at"`
	OrganizationID      *string           `json:"organization_id"`
}

type verifiableView struct {
	ID         uuid.UUID              `json:"id"`
	Value      string                 `json:"value"`
	Verified   bool                   `json:"verified"`
	Via        string                 `json:"via"`
	Status     identity.AddressStatus `json:"status"`
	VerifiedAt *stamp                 `json:"verified_at,omitempty"`
	CreatedAt  stamp                  `json:"created_at"`
	UpdatedAt  stamp                  `json:"updated_at"`
}

type recoveryAddress struct {
	ID        uuid.UUID `json:"id"`
	Value     string    `json:"value"`
	Via       string    `json:"via"`
	CreatedAt stamp     `json:"created_at"`
	UpdatedAt stamp     `json:"updated_at"`
}

func (c *Compiled) viewIdentity(i *identity.Identity) identityView {
	v := identityView{
		ID:             i.ID,
		ExternalID:     i.ExternalID,
		SchemaID:       i.SchemaID,
		SchemaURL:      c.SchemaURL(i.SchemaID),
		State:          i.State,
		StateChangedAt: stamp(i.StateChangedAt),
		Traits:         i.Traits,
		MetadataPublic: i.MetadataPublic,
		CreatedAt:      stamp(i.CreatedAt),
		UpdatedAt:      stamp(i.UpdatedAt),
	}
	for _, a := range i.Addresses {
		if a.Verifiable {
			address := verifiableView{a.ID, a.Value, a.Verified, a.Via, a.Status, nil, stamp(a.CreatedAt), stamp(a.UpdatedAt)}
			if a.Verified {
				at := stamp(a.VerifiedAt)
				address.VerifiedAt = &at
			}
			v.VerifiableAddresses = append(v.VerifiableAddresses, address)
		}
		if a.Recovery {
			v.RecoveryAddresses = append(v.RecoveryAddresses, recoveryAddress{a.ID, a.Value, a.Via, stamp(a.CreatedAt), stamp(a.UpdatedAt)})
		}
	}
	return v
}

// SchemaURL is where an identity schema can be read.
func (c *Compiled) SchemaURL(id string) string {
	return c.public + routeSchemas + "/" + base64.RawURLEncoding.EncodeToString([]byte(id))
}

// adminView adds what only administrators see.
type adminView struct {
	identityView
	Credentials   map[string]credentialView `json:"credentials,omitempty"`
	MetadataAdmin json.RawMessage           `json:"metadata_admin"`
}

type credentialView struct {
	Type        string          `json:"type"`
	Identifiers []string        `json:"identifiers"`
	Config      json.RawMessage `json:"config,omitempty"`
	Version     int             `json:"version"`
	CreatedAt   stamp           `json:"created_at"`
	UpdatedAt   stamp           `json:"updated_at"`
}

// viewCredentials shows credentials; the secret config only of the types that
// secret reports true for.
func viewCredentials(credentials []identity.Credential, secret func(kind string) bool) map[string]credentialView {
	views := make(map[string]credentialView, len(credentials))
	for _, c := range credentials {
		v := credentialView{Type: c.Type, Identifiers: c.Identifiers, CreatedAt: stamp(c.CreatedAt), UpdatedAt: stamp(c.UpdatedAt)}
		if secret(c.Type) {
			v.Config = c.Config
		}
		views[c.Type] = v
	}
	return views
}

// sessionView is a session with its identity.
type sessionView struct {
	ID              uuid.UUID    `json:"id"`
	Active          bool         `json:"active"`
	ExpiresAt       stamp        `json:"expires_at"`
	AuthenticatedAt stamp        `json:"authenticated_at"`
	AAL             string       `json:"authenticator_assurance_level"`
	Methods         []methodView `json:"authentication_methods"`
	IssuedAt        stamp        `json:"issued_at"`
	Identity        identityView `json:"identity"`
	Devices         []deviceView `json:"devices"`
}

type methodView struct {
	Method      string `json:"method"`
	AAL         string `json:"aal"`
	Provider    string `json:"provider,omitempty"`
	CompletedAt stamp  `json:"completed_at"`
}

type deviceView struct {
	ID        uuid.UUID `json:"id"`
	Address   string    `json:"ip_address"`
	UserAgent string    `json:"user_agent"`
	Location  string    `json:"location"`
}

func viewSession(s *session.Session, i identityView, now time.Time) sessionView {
	v := sessionView{
		ID:              s.ID,
		Active:          s.Active(now),
		ExpiresAt:       stamp(s.ExpiresAt),
		AuthenticatedAt: stamp(s.AuthenticatedAt),
		AAL:             s.AAL,
		Methods:         make([]methodView, len(s.Methods)),
		IssuedAt:        stamp(s.IssuedAt),
		Identity:        i,
		Devices:         make([]deviceView, len(s.Devices)),
	}
	for n, m := range s.Methods {
		v.Methods[n] = methodView{m.Method, m.AAL, m.Provider, stamp(m.CompletedAt)}
	}
	for n, d := range s.Devices {
		v.Devices[n] = deviceView(d)
	}
	return v
}

// withQuery adds a parameter to a configured URL.
func withQuery(raw, name, value string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw // configured URLs were checked
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

var errID = errors.New("not an id")

// parseID takes the contract's form of ids only: uuid.Parse knows others too.
func parseID(text string) (uuid.UUID, error) {
	if len(text) != 36 {
		return uuid.Nil, errID
	}
	return uuid.Parse(text)
}
