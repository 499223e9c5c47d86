package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/oidc"
	"github.com/usher-auth/usher/services/override"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/recovery"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

// Errors of the edge itself.
var (
	errUnknownRoute   = errors.New("unknown route")
	errMethod         = errors.New("method is not allowed")
	errSignedIn       = errors.New("signed in already")
	errDisabled       = errors.New("flow is disabled")
	errNoFirstFactor  = errors.New("second factor without a first")
	errToken          = errors.New("token of no session")
	errInactive       = errors.New("no session to end")
	errNoSchema       = errors.New("unknown identity schema")
	errFlowID         = errors.New("flow id is missing or malformed")
	errNoToken        = errors.New("no admin token")
	errScope          = errors.New("admin token lacks the scope")
	errOwner          = errors.New("operator is no owner")
	errNoProvider     = errors.New("unknown provider")
	errNoExchange     = errors.New("no session to exchange a code for")
	errOnlyRegistered = errors.New("registered without a session")
	errNoCode         = errors.New("app without an exchange code")
	errNotTheirs      = errors.New("settings of another identity")
	errHost           = errors.New("wrong host for the admin listener")
)

// table says what the client is told about an error. What is not in it is a
// 500 and shows nothing of its text. The first entry that matches counts.
var table = []struct {
	err error
	problem
}{
	{errUnknownRoute, problem{status: 404, reason: "There is nothing at this path."}},
	{errMethod, problem{status: 405, reason: "This path does not know the method."}},
	{flow.ErrNotFound, problem{status: 404, reason: "There is no flow or error with this id."}},
	{identity.ErrNotFound, problem{status: 404, reason: "There is no identity with this id."}},
	{identity.ErrExists, problem{status: 409, reason: "An identifier, address or external id belongs to another identity."}},
	{admin.ErrInactive, problem{status: 400, reason: "The identity is deactivated: activate it first."}},
	{admin.ErrNoCredential, problem{status: 404, reason: "The identity has no such credential."}},
	{admin.ErrLastWay, problem{status: 400, reason: "This is the last way to sign in of the identity, so it stays: accounts at providers that are not configured do not count. Give it another one first, or deactivate it."}},
	{admin.ErrLifespan, problem{status: 400, reason: "expires_in must be more than nothing, and at most 720h."}},
	{override.ErrNoRevision, problem{status: 404, reason: "There is no such revision of the settings."}},
	{override.ErrDamaged, problem{status: 409, reason: "What was saved under this revision cannot be read."}},
	{delivery.ErrNoHook, problem{status: 404, reason: "There is no hook of this kind with this name."}},
	{delivery.ErrHookExists, problem{status: 409, reason: "A hook has this name already."}},
	{delivery.ErrUnready, problem{status: 409, reason: "The hook is declared, and the bus does not have it yet. Try again shortly."}},
	{delivery.ErrFixed, problem{status: 409, reason: "The hook is built in, or declared in the configuration file: only there it is changed."}},
	{delivery.ErrRotating, problem{status: 409, reason: "The webhook rotates its secret already: finish that first, with 'usher webhook rotate NAME --finish', once the endpoint has the newest one."}},
	{delivery.ErrNoFailure, problem{status: 404, reason: "The hook has not failed at this event."}},
	{delivery.ErrNoEvent, problem{status: 404, reason: "The event log holds no event with this id: not yet, or not any more."}},
	{audit.ErrChecking, problem{status: 409, reason: "The event log is being verified already: see how far it is with GET /admin/audit/verify."}},
	{errNoSchema, problem{status: 404, reason: "There is no identity schema with this id."}},
	{session.ErrNotFound, problem{status: 401, reason: "No active session was found in this request."}},
	{errNoProvider, problem{status: 404, reason: "There is no provider with this id to sign in with."}},
	{errNoExchange, problem{status: 404, reason: "There is no session for these codes, or it was handed out already."}},
	{errOnlyRegistered, problem{status: 404, reason: "The account exists now, but no session came with it. Begin a login."}},
	{errNoCode, problem{status: 400, reason: "The app has begun this flow without return_session_token_exchange_code=true, so the session could not reach it."}},
	{oidc.ErrState, problem{status: 400, reason: "This sign-in at the provider does not belong to this browser, is over, or has come back before. Begin again."}},
	{errInactive, problem{status: 401, id: "session_inactive", reason: "No active session was found in this request."}},
	{errNoFirstFactor, problem{status: 401, id: "session_aal1_required", reason: "A second factor needs somebody who is signed in with the first."}},
	{errToken, problem{status: 403, reason: "The token belongs to no session, or to another one."}},
	{errSignedIn, problem{status: 400, id: "session_already_available", reason: "A valid session was found, but this needs somebody who is not signed in."}},
	{errDisabled, problem{status: 400, id: "self_service_flow_disabled", reason: "This self-service flow is switched off."}},
	{errReturnTo, problem{status: 400, id: "self_service_flow_return_to_forbidden", reason: "return_to leads to where this server does not send people."}},
	{errFlowID, problem{status: 400, reason: "The query parameter flow is missing or is no id."}},
	{errCSRF, problem{status: 403, id: "security_csrf_violation", reason: "The request does not come from the page that this browser was given: the CSRF token or cookie is missing or wrong."}},
	{errNotTheirs, problem{status: 403, id: "security_identity_mismatch", reason: "These are the settings of somebody else than who is signed in."}},
	{errNoToken, problem{status: 401, reason: "This needs the token of an administrator: Authorization: Bearer " + AdminTokenPrefix + "…"}},
	{errOwner, problem{status: 403, reason: "Only an owner may do this."}},
	{errScope, problem{status: 403, reason: "The scope of the token does not cover this."}},
	{errHost, problem{status: 421, reason: "The admin listener does not answer under this host name, or not to other origins."}},
	{password.ErrBusy, problem{status: 503, retry: soon, reason: "Too many people sign up or in at this moment. Try again shortly."}},
	{registration.ErrNoSession, problem{status: 503, retry: soon, reason: "The account exists, but signing in did not work. Try it again: it gives the session."}},
	{login.ErrNoSession, problem{status: 503, retry: soon, reason: "It was the right person, but signing in did not work. Try it again."}},
	{recovery.ErrNoSession, problem{status: 503, retry: soon, reason: "The account is recovered, but signing in did not work. Send the same code again within ten minutes, or open the link again."}},
	{login.ErrNoAddress, problem{status: 500, reason: "Signing in needs a verified address, and this account has none that could be verified."}},
	{context.Canceled, problem{status: 503, retry: soon}},
	{context.DeadlineExceeded, problem{status: 503, retry: soon}},
}

// problem is an error as clients see it.
type problem struct {
	status   int
	code     int // in the envelope, where it is not the status
	id       string
	reason   string
	details  map[string]any
	retry    time.Duration // says Retry-After, 0 says nothing
	redirect string        // where the browser is to go, beside the error
	// What stands beside the error in the envelope of a flow that is over, if it is known.
	useFlow   uuid.UUID
	expiredAt time.Time
	since     time.Duration
}

func (p *problem) Error() string { return http.StatusText(p.status) + ": " + p.reason }

// soon is when what failed for now may work again.
const soon = time.Second

// classify finds what an error is to clients.
func classify(err error) *problem {
	var known *problem
	var bad *undecodable
	var hook *webhook.Failed
	var store interface{ Unavailable() bool }
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &bad):
		return &problem{status: http.StatusBadRequest, reason: bad.reason}
	case errors.As(err, &hook):
		status := http.StatusBadGateway
		var late interface{ Timeout() bool }
		if errors.As(hook.Err, &late) && late.Timeout() {
			status = http.StatusGatewayTimeout
		}
		return &problem{status: status, reason: "A service that takes part in this did not answer as it should."}
	case errors.As(err, &store) && store.Unavailable():
		return &problem{status: http.StatusServiceUnavailable, retry: soon}
	}
	for n := range table {
		if errors.Is(err, table[n].err) {
			return &table[n].problem
		}
	}
	return &problem{status: http.StatusInternalServerError}
}

// fail answers with an error: as the envelope, or for a person in a browser by
// leading to the error page.
func (s *Server) fail(x *exchange, err error) {
	p := classify(err)
	if x.page && x.settings.ErrorURL != "" {
		id, err := s.keep(x, p)
		if err != nil {
			id = unavailableError // it needs no store
		}
		x.redirect(http.StatusSeeOther, withQuery(x.settings.ErrorURL, "id", id))
		return
	}
	if p.retry > 0 {
		x.w.Header()["Retry-After"] = []string{retryAfter(p.retry)}
	}
	if p.status == http.StatusUnauthorized && errors.Is(err, errNoToken) {
		x.w.Header()["Www-Authenticate"] = []string{"Bearer"}
	}
	body, err := encode(p.envelope(x.id))
	if err != nil {
		body = []byte(`{"error":{"code":500,"message":"Internal Server Error"}}`)
	}
	x.answer(p.status, body)
}

// keep stores a problem for the error page and gives its id. What a rate limit
// refuses is not stored: a refusal must not cost what it saves.
func (s *Server) keep(x *exchange, p *problem) (string, error) {
	if p.status == http.StatusTooManyRequests {
		return limitedErrorFor(p.retry), nil
	}
	body, err := encode(p.envelope(x.id).Error)
	if err != nil {
		return "", err
	}
	id := uuid.New()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), 2*time.Second)
	defer cancel()
	return id.String(), s.Errors.SaveError(ctx, id, body)
}

type envelope struct {
	Error     envelopeError `json:"error"`
	UseFlowID string        `json:"use_flow_id,omitempty"`
	Redirect  string        `json:"redirect_browser_to,omitempty"`
	ExpiredAt *stamp        `json:"expired_at,omitempty"`
	Since     int64         `json:"since,omitempty"` // nanoseconds
}

type envelopeError struct {
	ID      string         `json:"id,omitempty"`
	Code    int            `json:"code"`
	Status  string         `json:"status"`
	Request string         `json:"request,omitempty"`
	Reason  string         `json:"reason,omitempty"`
	Details map[string]any `json:"details,omitempty"`
	Message string         `json:"message"`
}

func (p *problem) envelope(requestID string) envelope {
	code := cmp.Or(p.code, p.status)
	e := envelope{Error: envelopeError{
		ID:      p.id,
		Code:    code,
		Status:  http.StatusText(code),
		Request: requestID,
		Reason:  p.reason,
		Details: p.details,
		Message: messages[code],
	}}
	e.Redirect = p.redirect
	if p.useFlow != uuid.Nil {
		e.UseFlowID = p.useFlow.String()
	}
	if !p.expiredAt.IsZero() {
		at := stamp(p.expiredAt)
		e.ExpiredAt, e.Since = &at, p.since.Nanoseconds()
	}
	return e
}

// messages are what the envelope says of a status.
var messages = map[int]string{
	http.StatusBadRequest:          "The request was malformed or is not allowed now",
	http.StatusUnauthorized:        "The request could not be authorized",
	http.StatusForbidden:           "The requested action was forbidden",
	http.StatusNotFound:            "The requested resource could not be found",
	http.StatusMethodNotAllowed:    "The method is not allowed here",
	http.StatusRequestTimeout:      "The request did not come in time",
	http.StatusConflict:            "The resource could not be created due to a conflict",
	http.StatusGone:                "The flow is over",
	http.StatusUnprocessableEntity: "The browser has to go elsewhere",
	http.StatusTooManyRequests:     "The requests are too many",
	http.StatusMisdirectedRequest:  "The request came to the wrong place",
	http.StatusInternalServerError: "An internal error occurred",
	http.StatusBadGateway:          "A service behind this one failed",
	http.StatusServiceUnavailable:  "The service is not available at the moment",
	http.StatusGatewayTimeout:      "A service behind this one did not answer in time",
}

// Errors that need no store: what error pages are tested with, and what a browser
// is shown while nothing can be stored. Another is limitedError.
const (
	cannedError      = "stub:500"
	unavailableError = "stub:503"
)

var canned = map[string]*problem{
	cannedError:      {status: http.StatusInternalServerError, reason: "This is a stub error, for tests of error pages."},
	unavailableError: {status: http.StatusServiceUnavailable, reason: "This does not work at the moment. Try again in a minute."},
}

// savedError is what the error page asks for.
func (s *Server) savedError(x *exchange) error {
	type saved struct {
		ID        string          `json:"id"`
		Error     json.RawMessage `json:"error"`
		CreatedAt stamp           `json:"created_at"`
		UpdatedAt stamp           `json:"updated_at"`
	}
	name := x.query("id")
	p, ok := limitedFor(name)
	if !ok {
		p, ok = canned[name]
	}
	if ok {
		body, err := encode(p.envelope(x.id).Error)
		if err != nil {
			return err
		}
		return x.encode(http.StatusOK, saved{name, body, stamp(x.at), stamp(x.at)})
	}
	id, err := parseID(name)
	if err != nil {
		return flow.ErrNotFound
	}
	body, at, err := s.Errors.SavedError(x.r.Context(), id)
	if err != nil {
		return fmt.Errorf("saved error: %w", err)
	}
	return x.encode(http.StatusOK, saved{id.String(), body, stamp(at), stamp(at)})
}
