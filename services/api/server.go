package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"

	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/verification"
)

// Schemas are the configured identity schemas.
type Schemas interface {
	// Schema gives the schema with an id, false if there is none.
	Schema(id string) (*identity.Schema, bool)
	// List gives all of them in the order of the configuration.
	List() []Schema
}

// Schema is an identity schema of the configuration.
type Schema struct {
	ID string
	// Raw is the document as it was written.
	Raw json.RawMessage
	// Selectable schemas may be named when a flow begins.
	Selectable bool
}

// Flows keeps self-service flows.
type Flows interface {
	CreateFlow(ctx context.Context, f *flow.Flow) error
	// Flow gives a flow, or [flow.ErrNotFound].
	Flow(ctx context.Context, id uuid.UUID) (*flow.Flow, error)
	// FlowAndGrant also tells whether the flow has made an identity. The flow is
	// nil when only the grant is left; [flow.ErrNotFound] when neither is.
	FlowAndGrant(ctx context.Context, id uuid.UUID) (f *flow.Flow, granted bool, err error)
	// SaveFlow keeps the state, the active method, the form and the CSRF digest of
	// f. [flow.ErrChanged] says that it is not what it was when it was read.
	SaveFlow(ctx context.Context, f *flow.Flow) error
	Attempts
}

// Registrar registers people, see [registration.Service].
type Registrar interface {
	Register(ctx context.Context, in registration.Submit) (*registration.Result, error)
	Repeat(ctx context.Context, in registration.Submit) (*registration.Result, error)
	// Judge judges the traits of the first of two steps.
	Judge(in registration.Submit) error
}

// Authenticator signs people in, see [login.Service].
type Authenticator interface {
	Login(ctx context.Context, in login.Submit) (*login.Result, error)
	// LoginProven signs in whom a provider has named, or gives [identity.ErrNotFound]
	// or [identity.ErrOtherIssuer].
	LoginProven(ctx context.Context, in login.Submit, a identity.Account) (*login.Result, error)
	// LoginLinking signs in whose verified address l.Duplicate is and links the
	// account to theirs, or gives [identity.ErrNotFound].
	LoginLinking(ctx context.Context, in login.Submit, l flow.Link) (*login.Result, error)
}

// Verifier verifies addresses, see [verification.Service]. Where it succeeds the
// submitted flow is in its new state, and stored.
type Verifier interface {
	// Send asks for a code to be sent.
	Send(ctx context.Context, in verification.Submit) error
	// Check holds a code against the flow's.
	Check(ctx context.Context, in verification.Submit) error
	// Holds tells whether a code is the flow's, and verifies nothing. A wrong one
	// counts as a try.
	Holds(ctx context.Context, flowID uuid.UUID, p flow.Purpose, code string) (bool, error)
}

// Recognizer knows whose a token is.
type Recognizer interface {
	// Whoami gives the valid session with a token of this digest, or
	// [session.ErrNotFound]. It may give the same *Who to many callers.
	Whoami(ctx context.Context, d session.Digest) (*Who, error)
}

// Sessions knows whose a token is and can be told that this has changed, see [Cache].
type Sessions interface {
	Recognizer
	// Changed forgets what is known of a session, or of all sessions of an identity.
	Changed(id uuid.UUID)
}

// OwnSessions lists the sessions of a person and ends them, see [session.Service].
type OwnSessions interface {
	// Others gives the live sessions of the person of current but that one,
	// newest first, from the offset on, and how many there are in all.
	Others(ctx context.Context, current *session.Session, offset, limit int) ([]session.Session, int, error)
	// Revoke ends a session of an identity, or gives [session.ErrNotFound].
	Revoke(ctx context.Context, by session.By, identityID, id uuid.UUID, reason string) error
	// RevokeOthers ends all live sessions of the person of current but that one,
	// and tells how many.
	RevokeOthers(ctx context.Context, by session.By, current *session.Session) (int, error)
}

// Finder finds sessions, see [session.Store].
type Finder interface {
	// SessionByDigest gives a session, whatever its state, and its identity, or
	// [session.ErrNotFound].
	SessionByDigest(ctx context.Context, d session.Digest) (*session.Session, *identity.Identity, error)
}

// Identities reads identities, with their credentials.
type Identities interface {
	// Identity gives an identity, or [identity.ErrNotFound].
	Identity(ctx context.Context, id uuid.UUID) (*identity.Identity, error)
	// IdentityByExternalID gives the one that another system calls so, or [identity.ErrNotFound].
	IdentityByExternalID(ctx context.Context, id string) (*identity.Identity, error)
	// Identities gives those behind an id, by id.
	Identities(ctx context.Context, after uuid.UUID, limit int) ([]identity.Identity, error)
	// IdentitiesAt gives those from an offset on, by id, and how many there are in all.
	IdentitiesAt(ctx context.Context, offset, limit int) ([]identity.Identity, int, error)
	// IdentitiesByID gives those with the given ids that there are, by id.
	IdentitiesByID(ctx context.Context, ids []uuid.UUID) ([]identity.Identity, error)
	// IdentitiesByIdentifier gives the one with a canonical sign-in identifier, or with
	// the handle of another, or none.
	IdentitiesByIdentifier(ctx context.Context, identifier string) ([]identity.Identity, error)
	// IdentitiesLike gives those behind an id of whom an identifier holds the text, by id.
	IdentitiesLike(ctx context.Context, text string, after uuid.UUID, limit int) ([]identity.Identity, error)
}

// Errors keeps the errors that browsers are sent to a page for.
type Errors interface {
	SaveError(ctx context.Context, id uuid.UUID, body json.RawMessage) error
	// SavedError gives an error and when it was saved, or [flow.ErrNotFound].
	SavedError(ctx context.Context, id uuid.UUID) (json.RawMessage, time.Time, error)
}

// Events reads the event log.
type Events interface {
	Events(ctx context.Context, q audit.Query) ([]audit.Record, error)
	// EventHead gives the sequence and hash of the newest event, zero if there is none.
	EventHead(ctx context.Context) (seq int64, hash audit.Hash, err error)
}

// Tokens knows the tokens of administrators by their SHA-256.
type Tokens interface {
	// AdminToken gives a token's name and scope: "admin", "events:read" or "metrics".
	AdminToken(ctx context.Context, digest [32]byte) (name, scope string, ok bool, err error)
}

// Check is one thing that must work for this process to be ready.
type Check struct {
	Name string
	Run  func(ctx context.Context) error
	// Optional tells whether the process is ready although the check fails; nil
	// means that it is not.
	Optional func() bool
	// Own is true for a check of this process alone, which nothing beside it can fail. It
	// is run for each who asks, the others for all who ask within half a second.
	Own bool
}

// Server answers the requests of both listeners. It is safe for concurrent use.
type Server struct {
	Options
	csrf    csrfKey
	submits turns
	logEnd  logEnd
	looks   looks
	watches *otter.Cache[watch, struct{}]
}

// New makes a server.
func New(o Options) *Server {
	return &Server{Options: o, csrf: csrfKey(o.CSRFKey), watches: newWatches(), looks: looks{failing: map[string]bool{}}}
}

// Mount mounts the pages and the console of a server, as [Options] has them, which ask
// its own handlers. It comes before the handlers that are served.
func (s *Server) Mount(ui, console http.Handler) { s.Pages, s.Console = ui, console }

// Routes that are named elsewhere too.
const (
	routeLogout        = "/self-service/logout"
	routeCallback      = "/self-service/methods/oidc/callback"
	routeSessions      = "/sessions"
	routeSchemas       = "/schemas"
	routeIdentities    = "/admin/identities"
	routeExternal      = routeIdentities + "/by/external/"
	routeAdminSessions = "/admin/sessions"
	routeMessages      = "/admin/courier/messages"
	routeEvents        = "/admin/events"
	routeAudit         = "/admin/audit"
	routeExport        = routeAudit + "/export"
	routeHooks         = "/admin/hooks"
	routeLetters       = "/admin/dead-letters"
	routeWebhooks      = "/admin/webhooks"
	routeOverrides     = "/admin/settings"
	routeAdminRecovery = "/admin/recovery"

	routeSessionWorkers = "/admin/session-workers"
)

// Public is the handler of the listener that everybody may reach.
func (s *Server) Public() http.Handler {
	rt := router{server: s, mux: http.NewServeMux()}
	rt.addFlow(flow.Registration, s.initRegistration, s.submitRegistration, s.link(flow.Registration, s.submitRegistration))
	rt.addFlow(flow.Login, s.initLogin, s.submitLogin, s.link(flow.Login, s.submitLogin))
	rt.addFlow(flow.Verification, s.initVerification, s.submitVerification, s.linkVerification)
	rt.addFlow(flow.Recovery, s.initRecovery, s.submitRecovery, s.linkRecovery)
	rt.addFlow(flow.Settings, s.initSettings, s.submitSettings, s.openSettings)
	rt.add(routeCallback+"/{provider}", methods{http.MethodGet: s.callback, http.MethodPost: s.postedCallback}, public|acts)
	rt.add(routeSessions+"/token-exchange", get(s.exchangeToken), public|acts)
	rt.add(routeLogout+"/browser", get(s.initLogout), public|withCSRF)
	rt.add(routeLogout, get(s.logout), public|acts)
	rt.add(routeLogout+"/api", methods{http.MethodDelete: s.logoutNative}, public)
	rt.add(routeSessions, methods{http.MethodGet: s.otherSessions, http.MethodDelete: s.revokeOthers}, public)
	rt.add(routeSessions+"/{id}", methods{http.MethodDelete: s.revokeOwn}, public)
	rt.add("/self-service/errors", get(s.savedError), public|withCSRF)
	rt.add("/.well-known/change-password", get(s.leadToSettings), public|quiet)
	rt.add("/sessions/whoami", every(s.whoami), public|quiet)
	rt.add(routeSchemas, get(s.schemas), public|withCSRF)
	rt.add(routeSchemas+"/{id}", get(s.schema), public|withCSRF)
	rt.add("/health/alive", get(s.alive), public|quiet|unwatched)
	rt.add("/health/ready", get(s.ready), public|quiet|unwatched)
	rt.add("/health/accepting", get(s.accepting), public|quiet|unwatched)
	rt.mount("/ui/", s.Pages, public)
	for route, m := range s.ledRoutes() {
		led := methods{}
		for method := range m {
			led[method] = s.leadToAdmin
		}
		rt.add(route, led, public)
	}
	return rt.done(public | withCSRF)
}

// Admin is the handler of the listener for administrators.
func (s *Server) Admin() http.Handler {
	rt := router{server: s, mux: http.NewServeMux()}
	for route, m := range s.ledRoutes() {
		rt.add(route, m, guarded|secretive)
	}
	rt.add(routeIdentities+"/{id}/grants", get(s.telling(readGrants, s.listGrants)), guarded)
	if s.Timelines != nil {
		rt.add(routeIdentities+"/{id}/timeline", get(s.showTimeline), guarded)
	}
	rt.add(routeAdminSessions, get(s.telling(listSessions, s.listSessions)), guarded)
	rt.add(routeAdminSessions+"/{id}", methods{http.MethodGet: s.telling(readSession, s.showSession), http.MethodDelete: s.revokeSession}, guarded)
	rt.add(routeAdminSessions+"/{id}/extend", methods{http.MethodPatch: s.telling(extendSession, s.extendSession)}, guarded)
	rt.add(routeAdminRecovery+"/code", methods{http.MethodPost: s.recoverByCode}, guarded)
	rt.add(routeAdminRecovery+"/link", methods{http.MethodPost: s.recoverByLink}, guarded)
	rt.add(routeMessages, get(s.telling(listMessages, s.listMessages)), guarded)
	rt.add(routeMessages+"/{id}", get(s.telling(readMessage, s.showMessage)), guarded)
	rt.add(routeEvents, get(s.events), guarded|readsEvents)
	if s.Hooks != nil {
		s.addHooks(&rt)
	}
	if s.SessionWorkers != nil {
		rt.add(routeSessionWorkers, get(s.listSessionWorkers), guarded)
	}
	s.addWebhookRoutes(&rt)
	if s.Overrides != nil {
		s.addOverrides(&rt)
	}
	if s.Stats != nil {
		rt.add("/admin/stats", get(s.showStats), guarded)
	}
	rt.add(routeSchemas, get(s.schemas), guarded)
	rt.add(routeSchemas+"/{id}", get(s.schema), guarded)
	rt.add(routeEvents+"/stream", get(s.streamEvents), guarded|readsEvents|acts)
	rt.add(routeEvents+"/{id}", get(s.showEvent), guarded|readsEvents)
	rt.add(routeAudit+"/checkpoints", get(s.listCheckpoints), guarded|readsEvents)
	rt.add(routeAudit+"/verify", methods{http.MethodGet: s.showAuditCheck, http.MethodPost: s.telling(verifyAudit, s.verifyAudit)}, guarded)
	rt.add(routeExport, get(s.telling(exportAudit, s.exportAudit)), guarded|readsEvents|acts)
	rt.add("/version", get(s.version), guarded)
	lead := s.leadToPublic
	rt.add(adminPrefix+routeSelfService, methods{http.MethodGet: lead, http.MethodPost: lead, http.MethodDelete: lead}, guarded)
	rt.add(adminPrefix+strings.TrimSuffix(routeSelfService, "/"), nil, guarded) // the mux would redirect
	for _, prefix := range []string{"", adminPrefix} {
		rt.add(prefix+"/health/alive", get(s.alive), quiet|unwatched)
		rt.add(prefix+"/health/ready", get(s.ready), quiet|unwatched)
	}
	rt.add("/health/accepting", get(s.accepting), quiet|unwatched)
	rt.mount("/console/", s.Console, operators|quiet)
	rt.mount("/admin/plan", s.Plan, guarded|quiet)
	rt.mount("/metrics", s.Metrics, guarded|readsMetrics|quiet|unwatched)
	if s.Profile != nil {
		rt.add("/debug/pprof/{profile}", get(s.profile), guarded|owned|acts|foreign|quiet)
	}
	return rt.done(guarded)
}

// ledRoutes are the admin listener's routes that the public one leads to, see
// [Server.leadToAdmin]: those of identities that clients of the contract know.
func (s *Server) ledRoutes() map[string]methods {
	one := routeIdentities + "/{id}"
	return map[string]methods{
		routeIdentities: {
			http.MethodGet: s.telling(listIdentities, s.listIdentities), http.MethodPost: s.createIdentity, http.MethodPatch: s.createIdentities,
		},
		one: {
			http.MethodGet: s.telling(readIdentity, s.showIdentity), http.MethodPut: s.replaceIdentity, http.MethodPatch: s.patchIdentity, http.MethodDelete: s.deleteIdentity,
		},
		one + "/credentials/{type}":    {http.MethodDelete: s.removeCredential},
		one + "/sessions":              {http.MethodGet: s.telling(listSessions, s.listSessionsOf), http.MethodDelete: s.deleteSessionsOf},
		routeExternal + "{externalID}": get(s.showIdentityByExternalID),
	}
}

// addHooks adds what declares hooks and looks after them.
func (s *Server) addHooks(rt *router) {
	one := routeHooks + "/{name}"
	rt.add(routeHooks, methods{http.MethodGet: s.listHooks, http.MethodPost: s.createHook}, guarded|owned)
	rt.add(one, methods{http.MethodGet: s.showHook, http.MethodDelete: s.removeHook}, guarded|owned)
	rt.add(one+"/pause", methods{http.MethodPost: s.pauseHook}, guarded)
	rt.add(one+"/resume", methods{http.MethodPost: s.resumeHook}, guarded)
	rt.add(one+"/rotate", methods{http.MethodPost: s.rotateHook}, guarded|owned)
	rt.add(one+"/replay", methods{http.MethodPost: s.replayHook}, guarded)
	rt.add(one+"/check", methods{http.MethodPost: s.checkHook}, guarded)
	rt.add(routeLetters, get(s.listLetters), guarded)
	rt.add(routeLetters+"/{hook}/{event}", get(s.showLetter), guarded)
	rt.add(routeLetters+"/redeliver", methods{http.MethodPost: s.redeliverLetters}, guarded)
	rt.add(routeLetters+"/discard", methods{http.MethodPost: s.discardLetters}, guarded)
}

func (s *Server) version(x *exchange) error {
	return x.encode(http.StatusOK, struct {
		Version string `json:"version"`
	}{s.Version})
}
