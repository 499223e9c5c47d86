package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/strictjson"
)

const (
	logoutPrefix  = "ory_lo_"
	logoutLength  = 32
	logoutPurpose = "usher/logout/1"
)

// logoutToken is what a browser ends a session with. It is derived from the
// session, so nothing is stored for it, and is worth nothing without the cookie.
func (k csrfKey) logoutToken(sessionID uuid.UUID) string {
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte(logoutPurpose)) // and an id: of another length than what sign signs
	mac.Write(sessionID[:])
	digits := strings.Repeat("0", logoutLength) + new(big.Int).SetBytes(mac.Sum(nil)).Text(62)
	return logoutPrefix + digits[len(digits)-logoutLength:]
}

// initLogout tells a browser's page the link that ends its session.
func (s *Server) initLogout(x *exchange) error {
	x.page = !prefersJSON(x.r.Header["Accept"])
	who, err := s.leaving(x)
	if err != nil {
		return err
	}
	to, err := x.returnTo("return_to")
	if err != nil {
		return err
	}
	token := s.csrf.logoutToken(who.Session.ID)
	link := x.settings.public + routeLogout + "?token=" + token
	if to != "" {
		link += "&" + url.Values{"return_to": {to}}.Encode()
	}
	return x.encode(http.StatusOK, struct {
		URL   string `json:"logout_url"`
		Token string `json:"logout_token"`
	}{link, token})
}

// leaving is who, with the error that the contract has here for nobody.
func (s *Server) leaving(x *exchange) (*Who, error) {
	who, err := s.whoIfAny(x)
	if who == nil && err == nil {
		return nil, errInactive
	}
	return who, err
}

// logout ends the session of a browser that follows the link: first where it is
// known, then in the browser.
func (s *Server) logout(x *exchange) error {
	x.page = !prefersJSON(x.r.Header["Accept"])
	token := x.query("token")
	if token == "" {
		return &problem{status: http.StatusBadRequest, reason: "The query parameter token is missing."}
	}
	who, err := s.leaving(x)
	if err != nil {
		return err
	}
	if !hmac.Equal([]byte(token), []byte(s.csrf.logoutToken(who.Session.ID))) {
		return errToken
	}
	to, err := x.returnTo("return_to")
	if err != nil {
		return err
	}
	if err := s.end(x, who.Session, "logout"); err != nil {
		return err
	}
	x.clearSession()
	x.renewCSRF()
	if x.settings.secure && x.settings.Logout.ClearBrowserData {
		x.w.Header()["Clear-Site-Data"] = headerClear
	}
	if !x.page {
		x.answer(http.StatusNoContent, nil)
		return nil
	}
	for _, next := range []string{to, x.settings.Logout.ReturnURL, x.settings.DefaultReturnURL} {
		if next != "" {
			x.redirect(http.StatusSeeOther, next)
			break
		}
	}
	return nil
}

// headerClear leaves the cookies: the CSRF cookie of this answer is to stay.
var headerClear = []string{`"cache", "storage"`}

// logoutNative ends the session of an app. A token whose session has ended
// already is as good as any: the former answer may be lost.
func (s *Server) logoutNative(x *exchange) error {
	token, err := sentToken(x.r)
	if err != nil {
		return err
	}
	found, _, err := s.Finder.SessionByDigest(x.r.Context(), token.Digest())
	switch {
	case errors.Is(err, session.ErrNotFound):
		return errToken
	case err != nil:
		return fmt.Errorf("logout: %w", err)
	}
	if err := s.end(x, found, "logout"); err != nil {
		return err
	}
	x.answer(http.StatusNoContent, nil)
	return nil
}

// sentToken reads the token from a body. One that is no token at all belongs to
// no session, and is not looked up.
func sentToken(r *http.Request) (session.Token, error) {
	body, err := readBody(r)
	if err != nil {
		return session.Token{}, err
	}
	members, err := strictjson.Object(body)
	if err != nil {
		return session.Token{}, refuse("%v", err)
	}
	var text string
	if raw, ok := members["session_token"]; !ok || json.Unmarshal(raw, &text) != nil || text == "" {
		return session.Token{}, refuse("session_token must be a string")
	}
	token, err := session.ParseToken(text)
	if err != nil {
		return session.Token{}, errToken
	}
	return token, nil
}

// end revokes a session and forgets it here at once; other processes hear of it.
func (s *Server) end(x *exchange, ended *session.Session, reason string) error {
	err := s.OwnSessions.Revoke(x.r.Context(), x.by(ended.IdentityID), ended.IdentityID, ended.ID, reason)
	if err != nil && !errors.Is(err, session.ErrNotFound) { // it has ended already
		return fmt.Errorf("end session: %w", err)
	}
	s.Sessions.Changed(ended.ID)
	return nil
}

// by says that the person themself acts.
func (x *exchange) by(identityID uuid.UUID) session.By {
	return session.By{Actor: "person:" + identityID.String(), RequestID: x.id, TraceParent: x.traceParent(), Source: "/usher/api"}
}
