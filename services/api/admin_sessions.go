package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
)

// errNoSession is what an administrator is told who names a session; the public
// listener says 401 where nobody is signed in.
var errNoSession = &problem{status: http.StatusNotFound, reason: "There is no such session."}

// named makes the error of a session that was asked for by name.
func named(err error) error {
	if errors.Is(err, session.ErrNotFound) {
		return errNoSession
	}
	return err
}

// adminSession is a session with what the request expands; the rest is null.
type adminSession struct {
	sessionView
	Identity *identityView `json:"identity"`
	Devices  []deviceView  `json:"devices"`
}

// expansion says what is shown of sessions besides themselves.
type expansion struct{ identity, devices bool }

func (x *exchange) expansion() (e expansion, err error) {
	for _, name := range x.queryAll("expand") {
		switch name {
		case "identity":
			e.identity = true
		case "devices":
			e.devices = true
		default:
			return e, refuse("expand must be identity or devices")
		}
	}
	return e, nil
}

// viewSessions reads the identities of sessions, if they are to be shown, at once.
func (s *Server) viewSessions(x *exchange, all []session.Session, e expansion) ([]adminSession, error) {
	people := map[uuid.UUID]*identityView{}
	if e.identity {
		var ids []uuid.UUID
		for _, one := range all {
			ids = append(ids, one.IdentityID)
		}
		slices.SortFunc(ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
		found, err := s.Identities.IdentitiesByID(x.r.Context(), slices.Compact(ids))
		if err != nil {
			return nil, err
		}
		for n := range found {
			view := x.settings.viewIdentity(&found[n])
			people[found[n].ID] = &view
		}
	}
	views := make([]adminSession, len(all))
	for n := range all {
		view := viewSession(&all[n], identityView{}, x.at)
		views[n] = adminSession{sessionView: view, Identity: people[all[n].IdentityID]}
		if e.devices {
			views[n].Devices = view.Devices
		}
	}
	return views, nil
}

// listSessions gives a page of all sessions, by id.
func (s *Server) listSessions(x *exchange) error {
	size, after, err := x.keyPage()
	if err != nil {
		return err
	}
	active, err := x.choice("active")
	if err != nil {
		return err
	}
	expand, err := x.expansion()
	if err != nil {
		return err
	}
	found, err := s.Ledger.Sessions(x.r.Context(), after, size+1, active)
	if err != nil {
		return fmt.Errorf("list sessions: %w", err)
	}
	next := ""
	if len(found) > size {
		found = found[:size]
		next = keyToken(found[size-1].ID)
	}
	views, err := s.viewSessions(x, found, expand)
	if err != nil {
		return fmt.Errorf("list sessions: %w", err)
	}
	x.linkKeyPages(size, next, "active", "expand")
	return x.encode(http.StatusOK, views)
}

// listSessionsOf gives a page of the sessions of an identity, newest first. One
// that is not there has none.
func (s *Server) listSessionsOf(x *exchange) error {
	id, err := x.pathID(identity.ErrNotFound)
	if err != nil {
		return err
	}
	page, err := x.numberedPage()
	if err != nil {
		return err
	}
	active, err := x.choice("active")
	if err != nil {
		return err
	}
	found, total, err := s.Ledger.SessionsOf(x.r.Context(), id, active, page.offset(), page.size)
	if err != nil {
		return fmt.Errorf("sessions of an identity: %w", err)
	}
	views, err := s.viewSessions(x, found, expansion{identity: true, devices: true})
	if err != nil {
		return fmt.Errorf("sessions of an identity: %w", err)
	}
	x.linkNumberedPages(page, total, "active")
	return x.encode(http.StatusOK, views)
}

// deleteSessionsOf deletes the sessions of an identity.
func (s *Server) deleteSessionsOf(x *exchange) error {
	id, err := x.pathID(identity.ErrNotFound)
	if err != nil {
		return err
	}
	if err := x.Administrator.DeleteSessions(x.r.Context(), id, x.author()); err != nil {
		return fmt.Errorf("delete sessions: %w", named(err))
	}
	x.answer(http.StatusNoContent, nil)
	return nil
}

// showSession gives one session, whatever its state.
func (s *Server) showSession(x *exchange) error {
	id, err := x.pathID(errNoSession)
	if err != nil {
		return err
	}
	expand, err := x.expansion()
	if err != nil {
		return err
	}
	found, err := s.Ledger.Session(x.r.Context(), id)
	if err != nil {
		return fmt.Errorf("show session: %w", named(err))
	}
	return s.answerSession(x, found, expand)
}

func (s *Server) answerSession(x *exchange, found *session.Session, e expansion) error {
	views, err := s.viewSessions(x, []session.Session{*found}, e)
	if err != nil {
		return fmt.Errorf("show session: %w", err)
	}
	return x.encode(http.StatusOK, views[0])
}

// revokeSession ends a session.
func (s *Server) revokeSession(x *exchange) error {
	id, err := x.pathID(errNoSession)
	if err != nil {
		return err
	}
	if err := x.Administrator.RevokeSession(x.r.Context(), id, x.author()); err != nil {
		return fmt.Errorf("revoke session: %w", named(err))
	}
	x.answer(http.StatusNoContent, nil)
	return nil
}

// extendSession lets a session last longer, and gives it where that is not left out.
func (s *Server) extendSession(x *exchange) error {
	id, err := x.pathID(errNoSession)
	if err != nil {
		return err
	}
	extended, err := x.Administrator.ExtendSession(x.r.Context(), id)
	if err != nil {
		return fmt.Errorf("extend session: %w", named(err))
	}
	if x.settings.ExtendWithoutSession {
		x.answer(http.StatusNoContent, nil)
		return nil
	}
	return s.answerSession(x, extended, expansion{identity: true, devices: true})
}
