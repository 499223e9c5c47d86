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
	// OrganizationID points to null where clients need the key.
	OrganizationID **string `json:"organization_id,omitempty"`
	IdentitySchema string   `json:"identity_schema,omitempty"`
	*LoginView
	*SettingsView
	// ContinueWith says what to do next, where something was done.
	ContinueWith any `json:"continue_with,omitempty"`
	// TransientPayload is shown only in the answer to the submit that carried it.
	TransientPayload json.RawMessage `json:"transient_payload,omitempty"`
	UI               UI              `json:"ui"`
	// ExchangeCode is an app's half of the code for its session, shown only when the
	// flow begins.
	ExchangeCode string `json:"session_token_exchange_code,omitempty"`
}

// LoginView is what the flow of a login has besides.
type LoginView struct {
	Refresh      bool      `json:"refresh"`
	RequestedAAL string    `json:"requested_aal"`
	CreatedAt    time.Time `json:"created_at"`
	UpdatedAt    time.Time `json:"updated_at"`
}

// SettingsView is what the flow of settings has besides.
type SettingsView struct {
	// Identity is whose settings these are, as the API shows it.
	Identity any `json:"identity"`
}

// NewView gives f as clients get it, showing ui.
func NewView(f *Flow, ui UI) View {
	v := View{
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
	if f.Kind != Verification && f.Kind != Recovery {
		v.OrganizationID = new(*string)
	}
	if f.State == ChooseCredential {
		v.State = ChooseMethod
	}
	if f.Kind == Login {
		v.LoginView = &LoginView{Refresh: f.Refresh, RequestedAAL: "aal1", CreatedAt: v.IssuedAt, UpdatedAt: v.IssuedAt}
	}
	return v
}
