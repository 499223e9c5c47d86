package timeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/registration"
)

// maxEvents is how many events of a person are looked at, from the first: those of
// the registration are at the start.
const maxEvents = 100

// ErrNoFlow says that the person has not registered with that flow.
var ErrNoFlow = errors.New("timeline: this identity has not registered with that flow")

// Grants reads what registrations have left.
type Grants interface {
	Grants(ctx context.Context, identityID uuid.UUID) ([]registration.Grant, error)
}

// Log reads events, also those on their way into the log.
type Log interface {
	Events(ctx context.Context, q audit.Query) ([]audit.Record, error)
	// EventPayload gives [delivery.ErrNoEvent] for an event that is nowhere.
	EventPayload(ctx context.Context, id uuid.UUID) (payload []byte, eventType string, err error)
}

// Watched reads what was seen of hooks.
type Watched interface {
	Deliveries(ctx context.Context, streamSeqs []uint64, eventIDs []uuid.UUID) ([]Delivery, error)
	FailuresAt(ctx context.Context, eventIDs []uuid.UUID) ([]delivery.Failure, error)
}

// Hooks knows the hooks that are declared.
type Hooks interface {
	// TimelineHooks gives all. Where only the bus does not answer, bus is why and the
	// hooks lack what it knows.
	TimelineHooks(ctx context.Context) (all []Hook, bus, err error)
}

// Service puts timelines together. All fields are needed; it is safe for
// concurrent use.
type Service struct {
	Grants  Grants
	Log     Log
	Watched Watched
	Hooks   Hooks
	Now     func() time.Time
}

// Of gives the timeline of an identity's registration with a flow; the zero flow
// is its first. What cannot be had stands in Lacks, unless it is the grants. The
// error is [ErrNoFlow] for another's flow.
func (s *Service) Of(ctx context.Context, identityID, flowID uuid.UUID) (*Timeline, error) {
	grants, err := s.Grants.Grants(ctx, identityID)
	if err != nil {
		return nil, fmt.Errorf("timeline: %w", err)
	}
	grant, err := choose(grants, flowID)
	if err != nil {
		return nil, err
	}
	m := material{grant: grant, now: s.Now()}
	t := &Timeline{IdentityID: identityID, Flows: []string{}, Lacks: []string{}, Events: []Event{}, Answer: []Span{}}
	for _, g := range grants {
		t.Flows = append(t.Flows, g.FlowID.String())
	}
	lack := func(what string, err error) {
		if err != nil && !slices.Contains(t.Lacks, what) {
			t.Lacks = append(t.Lacks, what)
		}
	}
	m.events, err = s.eventsOf(ctx, identityID, grant)
	lack("events", err)
	var bus error
	m.hooks, bus, err = s.Hooks.TimelineHooks(ctx)
	lack("hooks", err)
	lack("bus", bus)
	ids, seqs := m.places()
	m.failures, err = s.Watched.FailuresAt(ctx, ids)
	lack("deliveries", err)
	m.deliveries, err = s.Watched.Deliveries(ctx, seqs, ids)
	lack("deliveries", err)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	m.assemble(t)
	return t, nil
}

// choose gives the grant of a flow, nil where nobody has registered.
func choose(grants []registration.Grant, flowID uuid.UUID) (*registration.Grant, error) {
	for n := range grants {
		if flowID == uuid.Nil || grants[n].FlowID == flowID {
			return &grants[n], nil
		}
	}
	if flowID != uuid.Nil {
		return nil, ErrNoFlow
	}
	return nil, nil //nolint:nilnil // an administrator has made the person
}

// eventsOf gives the events of a registration, in their order; what is known
// beside an error too.
func (s *Service) eventsOf(ctx context.Context, identityID uuid.UUID, g *registration.Grant) ([]logged, error) {
	records, err := s.Log.Events(ctx, audit.Query{Subject: identityID.String(), Limit: maxEvents})
	if err != nil {
		return nil, err
	}
	var all []logged
	for _, r := range records {
		e, err := events.Decode(r.Payload)
		if err != nil {
			continue // it is in the log, and no event
		}
		all = append(all, newLogged(e, r))
	}
	made := slices.IndexFunc(all, func(l logged) bool { return l.isMade(g) })
	if made < 0 && g != nil { // it waits in the outbox, or the log is pruned
		payload, _, err := s.Log.EventPayload(ctx, g.EventID)
		if errors.Is(err, delivery.ErrNoEvent) {
			err = nil
		} else if e, bad := events.Decode(payload); err == nil && bad == nil {
			all = slices.Insert(all, 0, newLogged(e, audit.Record{}))
			made = 0
		}
		if err != nil {
			return nil, err
		}
	}
	var first logged
	if made >= 0 {
		first = all[made]
	}
	return slices.DeleteFunc(all, func(l logged) bool { return !l.belongs(first, g) }), nil
}

// logged is an event with its place in the log and the stream.
type logged struct {
	events.Event
	loggedAt  time.Time
	streamSeq uint64
	data      said
}

// said is what events of a registration may say.
type said struct {
	FlowID         string `json:"flow_id"`
	GrantID        string `json:"grant_id"`
	SessionPlanned bool   `json:"session_planned"`
	Reason         string `json:"reason"`
	Method         string `json:"method"`
	Provider       string `json:"provider"`
}

func newLogged(e events.Event, r audit.Record) logged {
	l := logged{Event: e, loggedAt: r.LoggedAt, streamSeq: r.StreamSeq}
	_ = json.Unmarshal(e.Data, &l.data) // what is something else says nothing
	return l
}

// isMade tells whether this is what the registration has said first.
func (l logged) isMade(g *registration.Grant) bool {
	if g == nil {
		return l.Type == created
	}
	return l.ID == g.EventID.String()
}

// belongs tells whether an event is one of the registration: of the same request,
// trace or flow.
func (l logged) belongs(first logged, g *registration.Grant) bool {
	if l.ID == first.ID {
		return true
	}
	if g != nil && (l.data.GrantID == g.ID.String() || l.data.FlowID == g.FlowID.String() ||
		g.VerificationFlowID != uuid.Nil && l.data.FlowID == g.VerificationFlowID.String()) {
		return true
	}
	if first.RequestID != "" && l.RequestID == first.RequestID {
		return true
	}
	trace := traceOf(first.TraceParent)
	return trace != "" && trace == traceOf(l.TraceParent)
}

// traceOf is the trace id in a W3C traceparent, "" if there is none.
func traceOf(traceParent string) string {
	if parts := strings.Split(traceParent, "-"); len(parts) >= 4 {
		return parts[1]
	}
	return ""
}
