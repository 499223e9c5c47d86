// Package hook compiles the configured hooks of registration into a plan: what
// runs before the commit, what the answer waits for, what runs from the event.
// The session step is last by construction.
//
//	configured lists ── Compile ──▶ Plan{Before, Waiting, Session, Background}
package hook

import "time"

// Kinds of hooks that can be configured.
const (
	KindSession = "session"
	KindWebHook = "web_hook"
	// KindWorker asks an answering worker on the bus.
	KindWorker = "worker"
	// KindShowVerification puts the verification flow that was opened into the answer.
	KindShowVerification = "show_verification_ui"
	// KindVerification opens a verification flow at a login.
	KindVerification = "verification"
	// KindRequireVerified gives no session to whom no address is verified.
	KindRequireVerified = "require_verified_address"
	// KindRevoke ends a person's other sessions at a login.
	KindRevoke = "revoke_active_sessions"
)

// Configured is one entry of a hook list, as far as its place in the plan depends on it.
type Configured struct {
	Kind string
	// Endpoint names the web_hook, see webhook.Endpoint, or the worker; empty for
	// others.
	Endpoint string
	Timing   Timing // of a web_hook; a worker is always Refusing
	Asked    Asked  // of a worker
	// Line is where the entry stands in the configuration file, 0 if it does not.
	Line int
}

// Timing says when a web_hook runs.
type Timing string

// When a web_hook runs.
const (
	// Refusing hooks run before the commit; they may refuse or change the identity.
	Refusing Timing = "refusing"
	// Waiting hooks run after the commit and before the answer.
	Waiting Timing = "waiting"
	// Background hooks run from the event.
	Background Timing = "background"
)

// Asked says how long a worker has, and what follows when it gives no usable answer.
type Asked struct {
	Timeout   time.Duration `json:"timeout_ns,omitempty"`
	OnMissing Outcome       `json:"on_missing,omitempty"`
}

// Outcome is what follows when an answering worker is missing, late or broken.
type Outcome string

// What follows when an answering worker is missing, late or broken.
const (
	// Refuse ends the registration or login with an error.
	Refuse Outcome = "refuse"
	// Continue goes on as if it had not been asked.
	Continue Outcome = "continue"
)

// Lists are the configured hooks of registration with one method.
type Lists struct {
	// Method is the list after.<method>.hooks, the only one that may hold session
	// and show_verification_ui.
	Method []Configured
	// Global is after.hooks. Its web_hooks run where Method holds no web_hook, its
	// workers where Method holds no worker.
	Global []Configured
	// Before is before.hooks. All of it runs before the commit; background
	// hooks have no place there, since there is no event yet.
	Before []Configured
	// AutoSession says that the method gets the session step also when nobody
	// configured it.
	AutoSession bool
	// ShowVerification says that the method gets show_verification_ui also when
	// nobody configured it.
	ShowVerification bool
	// Gated says that a login with the method needs a verified address.
	Gated bool
}
