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
	// must verify before they sign in. It is said once per person: a session that
	// replaces this one, for a repeated submit, does not say it again.
	VerificationBypassed bool   `json:"verification_bypassed"`
	Network              string `json:"network,omitempty"`
}

// EventType is "session.issued".
func (SessionIssued) EventType() string { return "session.issued" }

// SessionRevoked says that a session ended before its time.
type SessionRevoked struct {
	SessionID  string `json:"session_id"`
	IdentityID string `json:"identity_id"`
	// Reason is "replaced", "logout", "login" (by another one), "user", "password"
	// (which was changed by another one), "admin", "deactivated", or "recovery".
	Reason string `json:"reason"`
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

// IdentityActivated says that an identity is more than a claim: outside
// protected mode, that its first address was verified.
type IdentityActivated struct {
	IdentityID string `json:"identity_id"`
}

// EventType is "identity.activated".
func (IdentityActivated) EventType() string { return "identity.activated" }

// IdentityUpdated says which parts of an identity have changed, by name.
type IdentityUpdated struct {
	IdentityID string   `json:"identity_id"`
	Changed    []string `json:"changed"` // "traits", "state", "credentials", "metadata_public", "metadata_admin", "schema_id", "external_id"
}

// EventType is "identity.updated".
func (IdentityUpdated) EventType() string { return "identity.updated" }

// IdentityDeleted says that an identity and all that was stored of it is gone.
type IdentityDeleted struct {
	IdentityID string `json:"identity_id"`
}

// EventType is "identity.deleted".
func (IdentityDeleted) EventType() string { return "identity.deleted" }

// IdentitiesImported says that identities were stored that another system had, in
// one commit. There is no identity.created of each.
type IdentitiesImported struct {
	Count int `json:"count"`
	// Batch counts the commits of one import, from 1.
	Batch int      `json:"batch"`
	IDs   []string `json:"ids"` // 1,000 at most
}

// EventType is "identities.imported".
func (IdentitiesImported) EventType() string { return "identities.imported" }

// AddressVerified says that an address was proven to be its identity's.
type AddressVerified struct {
	IdentityID string `json:"identity_id"`
	AddressID  string `json:"address_id"`
	Via        string `json:"via"` // "email"
	FlowID     string `json:"flow_id,omitempty"`
}

// EventType is "address.verified".
func (AddressVerified) EventType() string { return "address.verified" }

// VerificationRequested asks the courier to send the code or link of a verification
// flow. The event of a flow that a person began holds no identity: whether the
// address that was entered belongs to one, the courier finds out.
type VerificationRequested struct {
	FlowID     string `json:"flow_id"`
	Via        string `json:"via"` // "email"
	IdentityID string `json:"identity_id,omitempty"`
	AddressID  string `json:"address_id,omitempty"`
}

// EventType is "verification.requested".
func (VerificationRequested) EventType() string { return "verification.requested" }

// RecoveryRequested asks the courier to send the code or link of a recovery flow.
// Whether the address that was entered belongs to somebody, the courier finds out.
type RecoveryRequested struct {
	FlowID     string `json:"flow_id"`
	Via        string `json:"via"` // "email"
	IdentityID string `json:"identity_id,omitempty"`
	AddressID  string `json:"address_id,omitempty"`
}

// EventType is "recovery.requested".
func (RecoveryRequested) EventType() string { return "recovery.requested" }

// RecoveryCompleted says that somebody has recovered their account by a code or link.
// All their sessions have ended with it.
type RecoveryCompleted struct {
	IdentityID string `json:"identity_id"`
	FlowID     string `json:"flow_id"`
	Method     string `json:"method"` // "code", "link"
	// SessionsRevoked is how many sessions were alive.
	SessionsRevoked int    `json:"sessions_revoked"`
	Network         string `json:"network,omitempty"`
}

// EventType is "recovery.completed".
func (RecoveryCompleted) EventType() string { return "recovery.completed" }

// LoginSucceeded says that a person has signed in.
type LoginSucceeded struct {
	IdentityID string `json:"identity_id"`
	SessionID  string `json:"session_id"`
	Method     string `json:"method"`
	Provider   string `json:"provider,omitempty"`
	FlowID     string `json:"flow_id,omitempty"`
	// Refreshed says that the session is the one that the person had already.
	Refreshed bool   `json:"refreshed"`
	Network   string `json:"network,omitempty"`
}

// EventType is "login.succeeded".
func (LoginSucceeded) EventType() string { return "login.succeeded" }

// LoginFailed says that somebody could not sign in. Of many in a short time only
// the first are told: it is no measure of an attack.
type LoginFailed struct {
	// IdentityID is whose identifier was entered, empty if nobody's.
	IdentityID string `json:"identity_id,omitempty"`
	Method     string `json:"method"`
	Reason     string `json:"reason"` // "credentials", "inactive", "unverified", "refused"
	FlowID     string `json:"flow_id,omitempty"`
	Network    string `json:"network,omitempty"`
}

// EventType is "login.failed".
func (LoginFailed) EventType() string { return "login.failed" }

// MailSent says that a mail server has taken a message.
type MailSent struct {
	MessageID string `json:"message_id"`
	Template  string `json:"template"`
	Attempts  int    `json:"attempts"`
}

// EventType is "mail.sent".
func (MailSent) EventType() string { return "mail.sent" }

// MailAbandoned says that a message will not be sent.
type MailAbandoned struct {
	MessageID string `json:"message_id"`
	Template  string `json:"template"`
	Attempts  int    `json:"attempts"`
	Reason    string `json:"reason"` // "refused", "attempts", "expired", "superseded"
}

// EventType is "mail.abandoned".
func (MailAbandoned) EventType() string { return "mail.abandoned" }

// HookDead says that a hook will not get an event any more, unless somebody asks.
type HookDead struct {
	Hook     string `json:"hook"`
	EventID  string `json:"event_id"`
	Attempts int    `json:"attempts"`
	Reason   string `json:"reason"` // "permanent", "attempts", "crash", "gone"
}

// EventType is "hook.dead".
func (HookDead) EventType() string { return "hook.dead" }

// HookRedelivered says that a dead letter is delivered again.
type HookRedelivered struct {
	Hook    string `json:"hook"`
	EventID string `json:"event_id"`
}

// EventType is "hook.redelivered".
func (HookRedelivered) EventType() string { return "hook.redelivered" }

// HookDiscarded says that somebody has decided that a dead letter stays one.
type HookDiscarded struct {
	Hook    string `json:"hook"`
	EventID string `json:"event_id"`
	Reason  string `json:"reason"`
}

// EventType is "hook.discarded".
func (HookDiscarded) EventType() string { return "hook.discarded" }

// HookPaused says that a hook which fails all the time gets nothing for a while.
// Of the pauses that follow each other only the first is told.
type HookPaused struct {
	Hook     string `json:"hook"`
	Failures int    `json:"failures"` // in a row
}

// EventType is "hook.paused".
func (HookPaused) EventType() string { return "hook.paused" }

// HookDisabled says that a hook gets nothing until somebody enables it again.
type HookDisabled struct {
	Hook   string `json:"hook"`
	Reason string `json:"reason"` // "gone": the endpoint answered 410
}

// EventType is "hook.disabled".
func (HookDisabled) EventType() string { return "hook.disabled" }

// AuditCheckpoint signs the head of the event log (Ed25519), see package audit.
type AuditCheckpoint struct {
	Seq       int64  `json:"seq"`
	Head      string `json:"head"` // hash of the record with this seq, hexadecimal
	At        string `json:"at"`   // RFC 3339
	KeyID     string `json:"key_id"`
	Signature string `json:"signature"` // base64
}

// EventType is "audit.checkpoint".
func (AuditCheckpoint) EventType() string { return "audit.checkpoint" }

// SettingsChanged says that an operator has saved settings, which lie over the
// configuration file. Who stands in the event's actor.
type SettingsChanged struct {
	Action string `json:"action"` // "saved", "reverted"
	// Revision is what every instance follows from now on.
	Revision int64 `json:"revision"`
	// Changed are the settings that this revision has otherwise than the one before, by name.
	Changed []string `json:"changed"`
}

// EventType is "settings.changed".
func (SettingsChanged) EventType() string { return "settings.changed" }

// AdminActed says what an administrator did, or read of persons. Who stands in
// the event's actor.
type AdminActed struct {
	Action string `json:"action"` // "hook.create", "identity.read", "events.export", …
	Target string `json:"target,omitempty"`
}

// EventType is "admin.acted".
func (AdminActed) EventType() string { return "admin.acted" }
