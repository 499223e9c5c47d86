package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/stats"
)

// Options are what a server is made of. All fields are needed but those that
// say otherwise.
//
// An error of a store that holds "for now" has a method Unavailable() bool; it
// is answered with 503.
type Options struct {
	// Current gives what is in force; a request goes by what it got first.
	Current func() InForce
	PublicOptions
	AdminOptions
	OperatorOptions
	Observers
	// Sessions and Identities are for both listeners.
	Sessions   Sessions
	Identities Identities
	// Checks make up /health/ready, those of the process alone /health/accepting; may be empty.
	Checks []Check
	// Draining is closed when this process is to end: answers that wait for events
	// end then. Nil is never.
	Draining <-chan struct{}
	Version  string
	Log      *slog.Logger
	Now      func() time.Time
}

// PublicOptions are for the listener that everybody may reach. All fields are needed but
// Pages.
type PublicOptions struct {
	Flows       Flows
	OwnSessions OwnSessions
	Finder      Finder
	Errors      Errors
	// CSRFKey is the same for all servers of an installation, 32 bytes or more.
	CSRFKey []byte
	// Pages is mounted under /ui/; nil leaves it out.
	Pages http.Handler
}

// AdminOptions are for the listener of administrators, and what they look at. All
// fields are needed but those that say otherwise.
type AdminOptions struct {
	// Guarded says that the listener can be reached from other machines: then every
	// route but health wants a bearer token.
	Guarded    bool
	Tokens     Tokens
	Ledger     session.Ledger
	Messages   Messages
	Grants     Grants
	Events     Events
	Audit      Audit
	AuditCheck AuditCheck
	Journal    Journal
	// ShowMails shows what mails say, which holds codes: in development.
	ShowMails bool
	// Heartbeat is how long a stream of events is silent at most; 0 means 15 s.
	Heartbeat time.Duration
	// Plan is mounted at /admin/plan and Metrics at /metrics; nil leaves them out.
	Plan, Metrics http.Handler
	// Profile gives what answers at /debug/pprof/NAME, for owners alone, or nil where
	// there is no such profile; a nil Profile leaves the route out.
	Profile func(name string) http.Handler
}

// OperatorOptions are for those who look after hooks, workers and settings, on the
// listener of administrators too. What is nil leaves its routes out, but for Webhooks,
// which is needed.
type OperatorOptions struct {
	Webhooks Webhooks
	// Hooks wants Failures, Redeliverer and Checker too. BusURL is where workers find the
	// bus.
	Hooks       Hooks
	Failures    Failures
	Redeliverer Redeliverer
	Checker     Checker
	BusURL      string
	// BusCA gives who signs the certificates of the bus, as PEM; nil or empty where
	// a program has to know none.
	BusCA func() string
	// Overrides are the settings that operators save.
	Overrides Overrides
	// Timelines tells what became of registrations.
	Timelines      Timelines
	SessionWorkers SessionWorkers
	// Stats gives the last hour of all processes.
	Stats func() stats.Hour
	// Console is mounted under /console/. It knows by itself who comes.
	Console http.Handler
}

// Observers are told what happens; each may be nil.
type Observers struct {
	// Tracer records a span for each request, but those for health and metrics.
	Tracer trace.Tracer
	// Observe is told of each answer, with the request's context. The route is a
	// pattern, never a path; a method that HTTP does not know is "other".
	Observe func(ctx context.Context, route, method string, status int, d time.Duration)
	// ObserveProvider is told what became of each attempt at a provider that began or
	// came back: "started", "proven", "denied", "unavailable", "refused", "stray",
	// which belongs to no attempt, or "error", which is this side's.
	ObserveProvider func(provider, result string)
	// ObserveLimit is told of each request that a limit has refused.
	ObserveLimit func(class string)
}

// InForce is all that one configuration decides: an answer never mixes two. All
// fields are needed but Providers, which nil leaves out.
type InForce struct {
	Settings     *Compiled
	Schemas      Schemas
	Registration Registrar
	Login        Authenticator
	Verification Verifier
	Recovery     Recoverer
	Changes      Changer
	// Providers are those that people may sign in with.
	Providers     Providers
	Administrator Administrator
}
