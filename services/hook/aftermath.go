package hook

// LoginPlan says what runs for a login with one method, and when.
type LoginPlan struct {
	Method string `json:"method"`
	// Before run once the password was right, in order, and may refuse.
	Before []Step `json:"before"`
	// RequireVerified is the gate: no session without a verified address.
	RequireVerified bool `json:"require_verified_address"`
	// RevokeOthers ends the identity's other sessions once the new one is there.
	RevokeOthers bool `json:"revoke_active_sessions"`
	// Verification opens a verification flow for an address that is not verified,
	// ShowVerification also says so in the answer. Neither keeps anybody out.
	Verification     bool `json:"verification"`
	ShowVerification bool `json:"show_verification_ui"`
	// Waiting run before the session is issued, in order: the answer waits for them.
	Waiting []Step `json:"waiting"`
	// Background run from login.succeeded, each endpoint once.
	Background []Step `json:"background"`
}

// VerificationPlan says what runs when an address was verified.
type VerificationPlan struct {
	Waiting    []Step `json:"waiting"`
	Background []Step `json:"background"` // from address.verified
}
