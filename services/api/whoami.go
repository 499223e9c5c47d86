package api

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
)

const (
	headerSessionToken = "X-Session-Token"
	headerIdentityID   = "X-Kratos-Authenticated-Identity-Id"
)

// Who is a valid session and its identity. Neither may change: a Who can be
// kept and given to many callers, and then its JSON is made only once.
type Who struct {
	Session  *session.Session
	Identity *identity.Identity
	answer   atomic.Pointer[whoAnswer]
}

// whoAnswer is what whoami answers, under the settings that it was made with.
type whoAnswer struct {
	settings *Compiled
	body     []byte
	length   []string
	identity []string
}

func (w *Who) encode(x *exchange) (*whoAnswer, error) {
	if a := w.answer.Load(); a != nil && a.settings == x.settings {
		return a, nil
	}
	body, err := encode(viewSession(w.Session, x.settings.viewIdentity(w.Identity), x.at))
	if err != nil {
		return nil, err
	}
	a := &whoAnswer{x.settings, body, []string{strconv.Itoa(len(body))}, []string{w.Identity.ID.String()}}
	w.answer.Store(a)
	return a, nil
}

// whoami tells whose session this is.
func (s *Server) whoami(x *exchange) error {
	who, err := s.who(x)
	if err != nil {
		return err
	}
	a, err := who.encode(x)
	if err != nil {
		return err
	}
	h := x.w.Header()
	h[headerIdentityID] = a.identity
	h["Content-Length"] = a.length
	x.status = http.StatusOK
	x.w.WriteHeader(http.StatusOK)
	_, _ = x.w.Write(a.body) // whoever asked may be gone
	return nil
}

// who gives the valid session of a request, or [session.ErrNotFound].
func (s *Server) who(x *exchange) (*Who, error) {
	token, err := x.credential()
	if err != nil {
		return nil, err
	}
	who, err := s.Sessions.Whoami(x.r.Context(), token.Digest())
	if err != nil {
		return nil, fmt.Errorf("whoami: %w", err)
	}
	if !who.Session.Active(x.at) {
		return nil, session.ErrNotFound
	}
	return who, nil
}

// credential gives the session token of a request. The first place that holds
// one counts, even if it is invalid: header, cookie, bearer.
func (x *exchange) credential() (session.Token, error) {
	if text := x.r.Header.Get(headerSessionToken); text != "" {
		return session.ParseToken(text)
	}
	if c, err := x.r.Cookie(x.settings.SessionCookie.Name); err == nil && c.Value != "" {
		return x.settings.Cookies.open(c.Value, x.at)
	}
	if text, ok := bearer(x.r.Header); ok {
		return session.ParseToken(text)
	}
	return session.Token{}, session.ErrNotFound
}

// whoIfAny is who, but nobody is no error.
func (s *Server) whoIfAny(x *exchange) (*Who, error) {
	who, err := s.who(x)
	if err != nil && classify(err).status == http.StatusUnauthorized {
		return nil, nil
	}
	return who, err
}

// signedIn gives errSignedIn when the request has a valid session.
func (s *Server) signedIn(x *exchange) error {
	who, err := s.whoIfAny(x)
	if who != nil {
		return errSignedIn
	}
	return err
}

// bearer gives the token of an Authorization header.
func bearer(h http.Header) (string, bool) {
	scheme, token, ok := strings.Cut(h.Get("Authorization"), " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "bearer")
}
