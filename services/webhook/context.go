package webhook

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/identity"
)

// bodyContext is the argument ctx of a body template.
type bodyContext struct {
	Flow           Flow              `json:"flow"`
	Identity       *identityView     `json:"identity,omitempty"`
	RequestHeaders http.Header       `json:"request_headers"`
	RequestMethod  string            `json:"request_method"`
	RequestURL     string            `json:"request_url"`
	RequestCookies map[string]string `json:"request_cookies"`
}

func (c *Client) bodyContext(call *Call) bodyContext {
	ctx := bodyContext{
		Flow:           call.Flow,
		RequestHeaders: call.Request.Header,
		RequestMethod:  call.Request.Method,
		RequestURL:     call.Request.URL,
		RequestCookies: call.Request.Cookies,
	}
	if ctx.RequestHeaders == nil {
		ctx.RequestHeaders = http.Header{}
	}
	if ctx.RequestCookies == nil {
		ctx.RequestCookies = map[string]string{}
	}
	if call.Identity != nil {
		ctx.Identity = c.view(call.Identity)
	}
	return ctx
}

// identityView is the contract's identity JSON with metadata_admin, without
// credentials.
type identityView struct {
	ID             uuid.UUID       `json:"id"`
	ExternalID     string          `json:"external_id,omitempty"`
	SchemaID       string          `json:"schema_id"`
	SchemaURL      string          `json:"schema_url"`
	State          identity.State  `json:"state"`
	StateChangedAt time.Time       `json:"state_changed_at"`
	Traits         json.RawMessage `json:"traits"`
	Verifiable     []addressView   `json:"verifiable_addresses,omitempty"`
	Recovery       []addressView   `json:"recovery_addresses,omitempty"`
	MetadataPublic json.RawMessage `json:"metadata_public"`
	MetadataAdmin  json.RawMessage `json:"metadata_admin"`
	CreatedAt      time.Time       `json:"created_at"`
	UpdatedAt      time.Time       `json:"updated_at"`
	OrganizationID *string         `json:"organization_id"`
}

type addressView struct {
	ID    uuid.UUID `json:"id"`
	Value string    `json:"value"`
	Via   string    `json:"via"`
	// The next three are for verifiable addresses.
	Verified   *bool                  `json:"verified,omitempty"`
	Status     identity.AddressStatus `json:"status,omitempty"`
	VerifiedAt time.Time              `json:"verified_at,omitzero"`
	CreatedAt  time.Time              `json:"created_at"`
	UpdatedAt  time.Time              `json:"updated_at"`
}

func (c *Client) view(i *identity.Identity) *identityView {
	v := &identityView{
		ID:             i.ID,
		ExternalID:     i.ExternalID,
		SchemaID:       i.SchemaID,
		State:          i.State,
		StateChangedAt: i.StateChangedAt,
		Traits:         orNull(i.Traits),
		MetadataPublic: orNull(i.MetadataPublic),
		MetadataAdmin:  orNull(i.MetadataAdmin),
		CreatedAt:      i.CreatedAt,
		UpdatedAt:      i.UpdatedAt,
	}
	if c.schemaURL != nil {
		v.SchemaURL = c.schemaURL(i.SchemaID)
	}
	for _, a := range i.Addresses {
		shown := addressView{ID: a.ID, Value: a.Value, Via: a.Via, CreatedAt: a.CreatedAt, UpdatedAt: a.UpdatedAt}
		if a.Recovery {
			v.Recovery = append(v.Recovery, shown)
		}
		if a.Verifiable {
			shown.Verified, shown.Status, shown.VerifiedAt = &a.Verified, a.Status, a.VerifiedAt
			v.Verifiable = append(v.Verifiable, shown)
		}
	}
	return v
}

// orNull makes empty JSON encodable.
func orNull(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("null")
	}
	return raw
}
