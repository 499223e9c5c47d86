package events

// IdentityCreated says that a person was registered.
type IdentityCreated struct {
	IdentityID string `json:"identity_id"`
	SchemaID   string `json:"schema_id"`
	State      string `json:"state"`  // "active"
	Method     string `json:"method"` // "password", "admin"
	Provider   string `json:"provider,omitempty"`
	FlowID     string `json:"flow_id,omitempty"`
	FlowType   string `json:"flow_type,omitempty"` // "api", "browser"
	// SessionPlanned says whether the answer was to carry a session.
	SessionPlanned bool `json:"session_planned"`
	// Network is the client's /24 or /48.
	Network string `json:"network,omitempty"`
}

// EventType is "identity.created".
func (IdentityCreated) EventType() string { return "identity.created" }

// SessionIssued says that a session was stored.
type SessionIssued struct {
	SessionID  string `json:"session_id"`
	IdentityID string `json:"identity_id"`
	Method     string `json:"method"`
	AAL        string `json:"aal"`
	FlowID     string `json:"flow_id,omitempty"`
	// GrantID names the registration's grant that the session used.
	GrantID string `json:"grant_id,omitempty"`
	// VerificationBypassed says that this session was given although people
	// must verify before they sign in: at most once per person.
	VerificationBypassed bool   `json:"verification_bypassed"`
	Network              string `json:"network,omitempty"`
}

// EventType is "session.issued".
func (SessionIssued) EventType() string { return "session.issued" }

// SessionRevoked says that a session ended before its time.
type SessionRevoked struct {
	SessionID  string `json:"session_id"`
	IdentityID string `json:"identity_id"`
	Reason     string `json:"reason"` // "replaced"
}

// EventType is "session.revoked".
func (SessionRevoked) EventType() string { return "session.revoked" }

// SessionRefused says that a registration was answered without the session that was planned.
type SessionRefused struct {
	IdentityID string `json:"identity_id"`
	FlowID     string `json:"flow_id"`
	Reason     string `json:"reason"` // "unavailable", "late", "grant_used", …
}

// EventType is "session.refused".
func (SessionRefused) EventType() string { return "session.refused" }
