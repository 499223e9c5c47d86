package events

import "time"

// SessionIssue asks the session service for a session, at [SubjectSessionIssue].
// The request's id and deadline are those of [Ask]. It has no field for the
// token: that stays with whoever asks.
type SessionIssue struct {
	// GrantID names the registration that entitles to this session; empty for a login.
	GrantID    string `json:"grant_id,omitempty"`
	FlowID     string `json:"flow_id"`
	IdentityID string `json:"identity_id"`
	Method     string `json:"method"`
	Provider   string `json:"provider,omitempty"`
	// Linked is the provider whose account the login has linked, a second method
	// of the session; empty if none.
	Linked string `json:"linked,omitempty"`
	AAL    string `json:"aal"`
	// Digest is the SHA-256 of the token in hex.
	Digest string `json:"digest"`
	// Epoch is the identity's at the time of asking.
	Epoch int64 `json:"epoch"`
	// LifespanMS is how long the session is to live, in milliseconds.
	LifespanMS int64  `json:"lifespan_ms"`
	ClientAddr string `json:"client_addr,omitempty"`
	UserAgent  string `json:"user_agent,omitempty"`
	// HTTPRequest is the id of the HTTP request and TraceParent its W3C trace context.
	HTTPRequest string    `json:"http_request,omitempty"`
	TraceParent string    `json:"traceparent,omitempty"`
	RequestedAt time.Time `json:"requested_at"`
	// Sequence is that of the last event about the identity, as far as whoever asks
	// knows; it spares a question.
	Sequence int64 `json:"sequence,omitempty"`
	// Verified says that the session is only for who has a verified address.
	Verified bool `json:"verified,omitempty"`
	// Bypass says that the grant lets a person in who must verify first.
	Bypass bool `json:"bypass,omitempty"`
	// Login is the event id of login.succeeded, which is stored with the session;
	// empty for a registration.
	Login string `json:"login,omitempty"`
	// Refresh is the session that is to be kept and made fresh, with the digest of
	// its own token; empty for a new one.
	Refresh string `json:"refresh,omitempty"`
	// Again says that the same request, by its id, was sent before and may have
	// been answered.
	Again bool `json:"again,omitempty"`
}

// IssuedSession is the answer to [SessionIssue]: the session without its
// identity, which whoever asks has at hand.
type IssuedSession struct {
	ID              string          `json:"id"`
	IdentityID      string          `json:"identity_id"`
	AAL             string          `json:"aal"`
	Methods         []SessionMethod `json:"methods"`
	Devices         []SessionDevice `json:"devices"`
	AuthenticatedAt time.Time       `json:"authenticated_at"`
	IssuedAt        time.Time       `json:"issued_at"`
	ExpiresAt       time.Time       `json:"expires_at"`
}

// SessionMethod is one authentication that led to a session.
type SessionMethod struct {
	Method      string    `json:"method"`
	AAL         string    `json:"aal"`
	Provider    string    `json:"provider,omitempty"`
	CompletedAt time.Time `json:"completed_at"`
}

// SessionDevice is a client that used a session.
type SessionDevice struct {
	ID        string `json:"id"`
	Address   string `json:"ip_address,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	Location  string `json:"location,omitempty"`
}

// Codes by which the session service refuses, see [Refused].
const (
	CodeGrantUsed        = "grant_used"
	CodeIdentityGone     = "identity_gone"
	CodeIdentityInactive = "identity_inactive"
)
