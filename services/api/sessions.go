package api

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/usher-auth/usher/services/session"
)

const (
	usualSessions = 250
	maxSessions   = 1000
	lastPage      = 1_000_000
)

// otherSessions lists the sessions of a person but the one that asks.
func (s *Server) otherSessions(x *exchange) error {
	who, err := s.who(x)
	if err != nil {
		return err
	}
	offset, size, err := x.place()
	if err != nil {
		return err
	}
	others, total, err := s.OwnSessions.Others(x.r.Context(), who.Session, offset, size)
	if err != nil {
		return fmt.Errorf("other sessions: %w", err)
	}
	views := make([]sessionView, len(others))
	i := x.settings.viewIdentity(who.Identity)
	for n := range others {
		views[n] = viewSession(&others[n], i, x.at)
	}
	h := x.w.Header()
	h["X-Total-Count"] = []string{strconv.Itoa(total)}
	h["Link"] = []string{pageLinks(offset, size, total)}
	return x.encode(http.StatusOK, views)
}

// place reads which page is asked for: by the token of a link, else by number
// from 1 on.
func (x *exchange) place() (offset, size int, err error) {
	if size, err = x.limit("per_page", usualSessions, maxSessions); err != nil {
		return 0, 0, err
	}
	if size, err = x.limit("page_size", size, maxSessions); err != nil {
		return 0, 0, err
	}
	if token := x.query("page_token"); token != "" {
		offset, err = parsePlace(token)
		return offset, size, err
	}
	if x.query("page") == "0" { // some clients count from there
		return 0, size, nil
	}
	page, err := x.limit("page", 1, lastPage)
	if err != nil {
		return 0, 0, err
	}
	return (page - 1) * size, size, nil
}

// pageLinks is the header that leads to the first page and, if there is one, the next.
func pageLinks(offset, size, total int) string {
	link := func(at int, rel string) string {
		q := url.Values{"page_size": {strconv.Itoa(size)}, "page_token": {formatPlace(at)}}
		return "<" + routeSessions + "?" + q.Encode() + `>; rel="` + rel + `"`
	}
	links := link(0, "first")
	if offset+size < total {
		links += "," + link(offset+size, "next")
	}
	return links
}

const placePrefix = "offset:"

func formatPlace(offset int) string {
	return base64.RawURLEncoding.EncodeToString([]byte(placePrefix + strconv.Itoa(offset)))
}

func parsePlace(token string) (int, error) {
	plain, err := base64.RawURLEncoding.DecodeString(token)
	digits, ok := strings.CutPrefix(string(plain), placePrefix)
	offset, notNumber := strconv.Atoi(digits)
	if err != nil || !ok || notNumber != nil || offset < 0 || offset > lastPage*maxSessions {
		return 0, refuse("page_token is none of this server")
	}
	return offset, nil
}

// revokeOthers ends all sessions of a person but the one that asks.
func (s *Server) revokeOthers(x *exchange) error {
	who, err := s.revoking(x)
	if err != nil {
		return err
	}
	count, err := s.OwnSessions.RevokeOthers(x.r.Context(), x.by(who.Identity.ID), who.Session)
	if err != nil {
		return fmt.Errorf("revoke others: %w", err)
	}
	s.Sessions.Changed(who.Identity.ID)
	return x.encode(http.StatusOK, struct {
		Count int `json:"count"`
	}{count})
}

// revokeOwn ends another session of the person who asks. Whether an id is
// unknown or somebody else's makes no difference: nothing happens.
func (s *Server) revokeOwn(x *exchange) error {
	who, err := s.revoking(x)
	if err != nil {
		return err
	}
	id, err := parseID(x.r.PathValue("id"))
	switch {
	case err != nil:
		return &problem{status: http.StatusBadRequest, reason: "The id of the session is malformed."}
	case id == who.Session.ID:
		return &problem{status: http.StatusBadRequest, reason: "This session is the one that asks. Log out instead."}
	}
	err = s.OwnSessions.Revoke(x.r.Context(), x.by(who.Identity.ID), who.Identity.ID, id, "user")
	switch {
	case err == nil:
		s.Sessions.Changed(id)
	case !errors.Is(err, session.ErrNotFound):
		return fmt.Errorf("revoke session: %w", err)
	}
	x.answer(http.StatusNoContent, nil)
	return nil
}

// revoking is who, but for other people's pages: no token protects these routes.
func (s *Server) revoking(x *exchange) (*Who, error) {
	if !x.fromOurPages() {
		return nil, errCSRF
	}
	return s.who(x)
}
