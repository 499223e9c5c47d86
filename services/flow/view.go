package flow

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// View is a flow as clients get it.
type View struct {
	ID         uuid.UUID `json:"id"`
	Type       Type      `json:"type"`
	State      string    `json:"state"`
	Active     string    `json:"active,omitempty"`
	IssuedAt   time.Time `json:"issued_at"`
	ExpiresAt  time.Time `json:"expires_at"`
	RequestURL string    `json:"request_url"`
	ReturnTo   string    `json:"return_to,omitempty"`
	// OrganizationID is always null: clients need the key.
	OrganizationID *string `json:"organization_id"`
	IdentitySchema string  `json:"identity_schema,omitempty"`
	// TransientPayload is shown only in the answer to the submit that carried it.
	TransientPayload json.RawMessage `json:"transient_payload,omitempty"`
	UI               UI              `json:"ui"`
}

// NewView gives f as clients get it, showing ui.
func NewView(f *Flow, ui UI) View {
	return View{
		ID:             f.ID,
		Type:           f.Type,
		State:          f.State,
		Active:         f.Active,
		IssuedAt:       f.IssuedAt.UTC(),
		ExpiresAt:      f.ExpiresAt.UTC(),
		RequestURL:     f.RequestURL,
		ReturnTo:       f.ReturnTo,
		IdentitySchema: f.SchemaID,
		UI:             ui,
	}
}
