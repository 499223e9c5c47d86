package session

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/identity"
)

// MaxLifespan is the longest that a session may last.
const MaxLifespan = 30 * 24 * time.Hour

// maxShown is how many bytes of what a client says of itself are kept.
const maxShown = 512

// Service issues sessions, tells whose they are, and ends them. Store and Now
// are needed, Ledger for what lists and revokes; it is safe for concurrent use.
type Service struct {
	Store  Store
	Ledger Ledger
	Now    func() time.Time
}

// Issue stores a session as r asks, or gives one of this package's errors. The
// same request again gives the same session.
//
// A request that does not make sense or is late changes nothing: whoever asked
// has given up, and may ask again with another token.
func (s *Service) Issue(ctx context.Context, r Request) (*Session, error) {
	if reason := r.broken(); reason != "" {
		return nil, fmt.Errorf("%w: %s", ErrInvalid, reason)
	}
	now := s.Now().UTC().Truncate(time.Microsecond) // as the store gives it back
	if !now.Before(r.Deadline) {
		return nil, ErrLate
	}
	stored, err := s.Store.IssueSession(ctx, r.issue(now))
	if err != nil {
		return nil, fmt.Errorf("issue: %w", err)
	}
	return stored, nil
}

// Whoami gives the session with a digest and its identity, or [ErrNotFound]
// when there is none that may be used: expired, revoked, of a former epoch, of
// an identity that is not active.
func (s *Service) Whoami(ctx context.Context, d Digest) (*Session, *identity.Identity, error) {
	found, i, err := s.Store.SessionByDigest(ctx, d)
	if err != nil {
		return nil, nil, fmt.Errorf("whoami: %w", err)
	}
	if !found.Active(s.Now()) || found.Epoch != i.Epoch || i.State != identity.Active {
		return nil, nil, ErrNotFound
	}
	return found, i, nil
}

// issue is what the store is asked to do for r.
func (r Request) issue(now time.Time) Issue {
	issued := newSession(r, now)
	i := Issue{
		Request: r,
		Session: issued,
		Event: func(sequence int64, bypassed bool) events.Event {
			return r.event(now, sequence, events.SessionIssued{
				SessionID:            issued.ID.String(),
				IdentityID:           r.IdentityID.String(),
				Method:               r.Method,
				AAL:                  r.AAL,
				FlowID:               text(r.FlowID),
				GrantID:              text(r.GrantID),
				VerificationBypassed: bypassed,
				Network:              events.Network(r.ClientAddr),
			})
		},
		Replaced: func(former uuid.UUID, sequence int64) events.Event {
			return r.event(now, sequence, events.SessionRevoked{
				SessionID:  former.String(),
				IdentityID: r.IdentityID.String(),
				Reason:     "replaced",
			})
		},
	}
	if r.Login != uuid.Nil {
		i.Login = func(sequence int64, sessionID uuid.UUID) events.Event { return r.login(now, sequence, sessionID) }
	}
	return i
}

// login makes login.succeeded. Its id was chosen by whoever asked, so that the
// inputs of its background hooks could be kept before.
func (r Request) login(now time.Time, sequence int64, sessionID uuid.UUID) events.Event {
	e := r.event(now, sequence, events.LoginSucceeded{
		IdentityID: r.IdentityID.String(),
		SessionID:  sessionID.String(),
		Method:     r.Method,
		Provider:   r.Provider,
		FlowID:     text(r.FlowID),
		Refreshed:  r.Refresh != uuid.Nil,
		Network:    events.Network(r.ClientAddr),
	})
	e.ID, e.Source = r.Login.String(), "/usher/login"
	return e
}

// broken says what does not make sense about r, "" if all does.
func (r Request) broken() string {
	switch {
	case r.ID == "":
		return "no request id"
	case r.IdentityID == uuid.Nil:
		return "no identity"
	case r.Digest == Digest{}:
		return "no token digest"
	case r.Method == "":
		return "no method"
	case r.AAL != AAL1:
		return "no such assurance level"
	case r.Lifespan <= 0 || r.Lifespan > MaxLifespan:
		return "lifespan out of bounds"
	case (r.GrantID == uuid.Nil) == (r.Login == uuid.Nil):
		return "needs a grant or a login, and not both"
	case r.Bypass && r.GrantID == uuid.Nil:
		return "bypass without a grant"
	case r.Refresh != uuid.Nil && r.Login == uuid.Nil:
		return "refresh without a login"
	case r.Linked != "" && r.Login == uuid.Nil:
		return "linked without a login"
	}
	return ""
}

// newSession is the session that r asks for; for a refresh it says only what
// becomes of the one that is stored.
func newSession(r Request, now time.Time) Session {
	s := Session{
		ID:              uuid.New(),
		IdentityID:      r.IdentityID,
		AAL:             r.AAL,
		Methods:         []Method{{Method: r.Method, AAL: r.AAL, Provider: r.Provider, CompletedAt: now}},
		Devices:         []Device{{ID: uuid.New(), Address: shown(r.ClientAddr), UserAgent: shown(r.UserAgent)}},
		Epoch:           r.Epoch,
		AuthenticatedAt: now,
		IssuedAt:        now,
		ExpiresAt:       now.Add(r.Lifespan),
	}
	if r.Linked != "" {
		s.Methods = append(s.Methods, Method{Method: identity.MethodOIDC, AAL: AAL1, Provider: r.Linked, CompletedAt: now})
	}
	if r.Refresh != uuid.Nil {
		s.ID, s.Devices, s.IssuedAt, s.ExpiresAt = r.Refresh, nil, time.Time{}, time.Time{}
	}
	return s
}

// event makes one about r's identity.
func (r Request) event(now time.Time, sequence int64, p events.Payload) events.Event {
	e := events.New(p, now, events.About{
		Source:      "/usher/session",
		Subject:     r.IdentityID.String(),
		Actor:       "person:" + r.IdentityID.String(),
		RequestID:   r.HTTPRequest,
		TraceParent: r.TraceParent,
	})
	e.Sequence = strconv.FormatInt(sequence, 10)
	return e
}

// shown cuts what a client says of itself to what is kept, without breaking a
// character.
func shown(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxShown)], "")
}

// text is the zero id as "".
func text(id uuid.UUID) string {
	if id == uuid.Nil {
		return ""
	}
	return id.String()
}
