package api

import (
	"context"
	"fmt"

	"github.com/usher-auth/usher/events"
)

// Journal keeps what administrators did that nothing else tells of.
type Journal interface {
	// AppendSoon stores an event without waiting for the disk.
	AppendSoon(ctx context.Context, e events.Event) error
}

// What administrators do that has no event but admin.acted: they read of persons,
// one event for each request, let sessions last longer, and verify the log.
const (
	readIdentity   = "identity.read"
	listIdentities = "identity.list"
	readSession    = "session.read"
	listSessions   = "session.list"
	extendSession  = "session.extend"
	readMessage    = "message.read"
	listMessages   = "message.list"
	readGrants     = "grant.list"
	readTimeline   = "timeline.read"
	exportAudit    = "audit.export"
	verifyAudit    = "audit.verify"
)

// telling tells what an administrator is about to do before it is done: what
// cannot be told is not done.
func (s *Server) telling(what string, a action) action {
	return func(x *exchange) error {
		target := "" // only an id: nothing else that stands in a path belongs into an event
		if id, err := parseID(x.r.PathValue("id")); err == nil {
			target = id.String()
		}
		if err := s.acted(x, what, target); err != nil {
			return err
		}
		return a(x)
	}
}

// acted tells what an administrator does to the target, an id or nothing.
func (s *Server) acted(x *exchange, what, target string) error {
	if err := s.Journal.AppendSoon(x.r.Context(), x.author().Acted(what, target, s.Now())); err != nil {
		return fmt.Errorf("tell of %s: %w", what, err)
	}
	return nil
}
