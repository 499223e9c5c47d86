// Package session holds what a session is, its token, and the rules by which
// one is issued:
//
//	registration ── Request (digest only) ──▶ Service.Issue ──▶ store
package session

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/identity"
)

// Session says that an identity has signed in. It never holds the token, only
// the store and the request know its digest.
type Session struct {
	ID              uuid.UUID
	IdentityID      uuid.UUID
	AAL             string // [AAL1]
	Methods         []Method
	Devices         []Device
	Epoch           int64
	Revoked         bool
	AuthenticatedAt time.Time
	IssuedAt        time.Time
	ExpiresAt       time.Time
}

// Active tells whether s can be used at the given time. The epoch is compared
// by whoever has the identity at hand.
func (s *Session) Active(now time.Time) bool {
	return !s.Revoked && now.Before(s.ExpiresAt)
}

// Method is one authentication that led to a session.
type Method struct {
	Method      string    `json:"method"` // "password", "oidc"
	AAL         string    `json:"aal"`
	Provider    string    `json:"provider,omitempty"`
	CompletedAt time.Time `json:"completed_at"`
}

// Device is a client that used a session.
type Device struct {
	ID        uuid.UUID `json:"id"`
	Address   string    `json:"ip_address"`
	UserAgent string    `json:"user_agent"`
	Location  string    `json:"location"`
}

// Why a session is not issued. They survive the bus as codes.
var (
	// ErrGrantUsed says that the grant gave a session to another token already.
	ErrGrantUsed = errors.New("session: grant is used")
	// ErrIdentityGone says that the identity does not exist (any more).
	ErrIdentityGone = errors.New("session: identity is gone")
	// ErrIdentityInactive says that the identity is disabled, or its sessions were revoked meanwhile.
	ErrIdentityInactive = errors.New("session: identity is inactive")
	// ErrLate says that the request's deadline had passed; nothing was done.
	ErrLate = errors.New("session: request is late")
	// ErrInvalid says that the request does not make sense.
	ErrInvalid = errors.New("session: request is invalid")
	// ErrUnavailable says that no worker answered in time. Whether a session was
	// stored is unknown; its token reached nobody.
	ErrUnavailable = errors.New("session: no worker answered")
	// ErrNotFound says that no valid session has this token.
	ErrNotFound = errors.New("session: not found")
)

// AAL1 is the level of a session with one factor, and the only one there is.
const AAL1 = "aal1"

// RepeatWindow is how long after a registration the same flow may be submitted
// again for a new token, which replaces the former one.
const RepeatWindow = 10 * time.Minute

// Request asks for a session. The token itself stays with whoever asks.
type Request struct {
	// ID makes the request idempotent: the same ID with the same Digest gives
	// the same session.
	ID       string
	Deadline time.Time
	// GrantID names the registration that entitles to this session; zero for a login.
	GrantID    uuid.UUID
	FlowID     uuid.UUID
	IdentityID uuid.UUID
	Method     string
	Provider   string
	// Linked is the provider whose account the login has linked, or empty. The
	// session has this method too, behind the other.
	Linked     string
	AAL        string
	Digest     Digest
	Epoch      int64
	Lifespan   time.Duration
	ClientAddr string
	UserAgent  string
	// TraceParent is the W3C trace context of the HTTP request, HTTPRequest its id; or empty.
	TraceParent, HTTPRequest string
	// RequestedAt is when the session was asked for.
	RequestedAt time.Time
	// Sequence is that of the last event about the identity, as far as whoever asks
	// knows, or zero: it spares the store a question.
	Sequence int64
	// Verified says that the session is only for who has a verified address: it was
	// so when whoever asks looked.
	Verified bool
	// Bypass says that the grant lets a person in who must verify first.
	Bypass bool
	// Login is the id of login.succeeded, which the session is stored with; zero
	// for a registration.
	Login uuid.UUID
	// Refresh is the session that is to be kept and made fresh, with the digest of
	// its own token; zero for a new one.
	Refresh uuid.UUID
	// Again says that a request with this ID was sent before.
	Again bool
}

// Issue is what the store is asked to do in one durable commit: hold the
// grant and the identity against the request, store the session, and append
// the events.
//
// For a refresh (Request.Refresh) Session is what the stored one becomes in
// method and time; its id, life and devices stay.
type Issue struct {
	Request Request
	Session Session
	// Login makes login.succeeded, which is stored with the session; nil for a registration.
	Login func(sequence int64, sessionID uuid.UUID) events.Event
	// Event makes session.issued with the identity's next sequence; bypassed is the grant's.
	Event func(sequence int64, bypassed bool) events.Event
	// Replaced makes session.revoked for the grant's former session.
	Replaced func(former uuid.UUID, sequence int64) events.Event
}

// Store keeps sessions.
type Store interface {
	// IssueSession stores i.Session, or says why not:
	//
	//   - the grant has a session with the same request id and digest: that one, nothing stored;
	//   - the grant has another session and is younger than [RepeatWindow], and the digest is
	//     new: the former session is revoked, the new one stored in its place;
	//   - the request's deadline is over when its turn comes: [ErrLate], nothing stored;
	//   - otherwise [ErrGrantUsed], [ErrIdentityGone], [ErrIdentityInactive] (also when the
	//     epoch differs) or [ErrInvalid] (no such grant, or of another identity).
	IssueSession(ctx context.Context, i Issue) (*Session, error)
	// SessionByDigest gives a session, whatever its state, and its identity, or [ErrNotFound].
	SessionByDigest(ctx context.Context, d Digest) (*Session, *identity.Identity, error)
}

// Issuer asks for a session, over the bus or not.
type Issuer interface {
	// Issue answers or fails by r's deadline, but for the time of an answer's travel.
	Issue(ctx context.Context, r Request) (*Session, error)
}

// Which says which sessions of an identity are meant.
type Which struct {
	IdentityID uuid.UUID
	// ID is the only one that is meant; zero for all.
	ID uuid.UUID
	// But is one that is not meant; zero for none.
	But uuid.UUID
}

// Revocation makes session.revoked of a session, with the identity's next sequence.
type Revocation func(id uuid.UUID, sequence int64) events.Event

// Ledger lists sessions and ends them.
type Ledger interface {
	// RevokeSessions revokes the live sessions that w means, with an event for each,
	// in one durable commit, and gives how many there were.
	RevokeSessions(ctx context.Context, w Which, event Revocation) (int, error)
	// SessionsOf gives the sessions of an identity, newest first, from the offset
	// on, and how many there are in all. active nil means all of them.
	SessionsOf(ctx context.Context, identityID uuid.UUID, active *bool, offset, limit int) ([]Session, int, error)
	// Sessions gives at most limit sessions behind the given id, by id.
	Sessions(ctx context.Context, after uuid.UUID, limit int, active *bool) ([]Session, error)
	// Session gives a session, whatever its state, or [ErrNotFound].
	Session(ctx context.Context, id uuid.UUID) (*Session, error)
	// ExtendSession lets a live session last until the given time, if that is later,
	// and gives it; [ErrNotFound] if there is none that lives.
	ExtendSession(ctx context.Context, id uuid.UUID, until time.Time) (*Session, error)
	// DeleteSessions deletes all sessions of an identity, with an event for each that
	// was alive, and gives how many there were.
	DeleteSessions(ctx context.Context, identityID uuid.UUID, event Revocation) (int, error)
}
