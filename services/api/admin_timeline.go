package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"

	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/timeline"
)

// Timelines tells what became of registrations, see [timeline.Service].
type Timelines interface {
	// Of gives the timeline of an identity's registration with a flow, or
	// [timeline.ErrNoFlow]; the zero flow is its first.
	Of(ctx context.Context, identityID, flowID uuid.UUID) (*timeline.Timeline, error)
}

const (
	// watchTime is how long whoever watches a timeline is told of once: it is asked
	// for again and again until all hooks are done.
	watchTime = 10 * time.Minute
	maxWatch  = 1000
)

// watch is an administrator who looks at an identity's timeline.
type watch struct {
	actor string
	of    uuid.UUID
}

// newWatches holds those who were told of lately, see watchTime.
func newWatches() *otter.Cache[watch, struct{}] {
	return otter.Must(&otter.Options[watch, struct{}]{
		MaximumSize: maxWatch, ExpiryCalculator: otter.ExpiryCreating[watch, struct{}](watchTime),
	})
}

// showTimeline tells what became of an identity's registration.
func (s *Server) showTimeline(x *exchange) error {
	id, err := x.pathID(identity.ErrNotFound)
	if err != nil {
		return err
	}
	if err := s.watched(x, id); err != nil {
		return err
	}
	var flow uuid.UUID
	if text := x.query("flow"); text != "" {
		if flow, err = parseID(text); err != nil {
			return refuse("flow is no id")
		}
	}
	i, err := s.Identities.Identity(x.r.Context(), id)
	if err != nil {
		return fmt.Errorf("timeline: %w", err)
	}
	t, err := s.Timelines.Of(x.r.Context(), id, flow)
	if errors.Is(err, timeline.ErrNoFlow) {
		return refuse("this identity has not registered with that flow")
	}
	if err != nil {
		return err
	}
	t.CreatedAt = i.CreatedAt
	return x.encode(http.StatusOK, t)
}

// watched tells that somebody looks at a timeline, unless that was told lately.
func (s *Server) watched(x *exchange, id uuid.UUID) error {
	w := watch{x.actor, id}
	if _, told := s.watches.GetIfPresent(w); told {
		return nil
	}
	if err := s.telling(readTimeline, func(*exchange) error { return nil })(x); err != nil {
		return err
	}
	s.watches.Set(w, struct{}{})
	return nil
}
