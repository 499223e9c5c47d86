package timeline

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/registration"
)

// Types of events that the answer is read from.
var (
	created = events.IdentityCreated{}.EventType()
	issued  = events.SessionIssued{}.EventType()
	refused = events.SessionRefused{}.EventType()
)

// inFlight is how long an answer may take: a session that is not there later will
// not come of this submit.
const inFlight = 30 * time.Second

// material is what is known of a registration.
type material struct {
	grant      *registration.Grant // nil: an administrator has made the person
	events     []logged
	hooks      []Hook
	deliveries []Delivery
	failures   []delivery.Failure
	now        time.Time
}

// places are where the events are in the stream, and who they are.
func (m *material) places() (ids []uuid.UUID, seqs []uint64) {
	for _, e := range m.events {
		if id, err := uuid.Parse(e.ID); err == nil {
			ids = append(ids, id)
		}
		if e.streamSeq > 0 {
			seqs = append(seqs, e.streamSeq)
		}
	}
	return ids, seqs
}

func (m *material) assemble(t *Timeline) {
	made, _ := m.find(func(l logged) bool { return l.isMade(m.grant) })
	t.RequestID, t.TraceID = made.RequestID, traceOf(made.TraceParent)
	t.Method, t.Provider, t.ReceivedAt = made.data.Method, made.data.Provider, made.Time
	if g := m.grant; g != nil {
		t.FlowID, t.FlowType = g.FlowID.String(), string(g.FlowType)
		t.Method, t.Provider = g.Method, g.Provider
		t.ReceivedAt = cmp.Or(g.Steps.ReceivedAt, g.CreatedAt)
		if g.SessionID != uuid.Nil {
			t.SessionID = g.SessionID.String()
		}
		t.Answer = m.answer(made)
	}
	for _, l := range m.events {
		t.Events = append(t.Events, Event{
			ID: l.ID, Type: l.Type, At: l.Time, LoggedAt: l.loggedAt, StreamSeq: l.streamSeq, Hooks: m.runs(l),
		})
	}
	t.Open, t.NextAt = openOf(t)
}

func (m *material) find(is func(logged) bool) (logged, bool) {
	at := slices.IndexFunc(m.events, is)
	if at < 0 {
		return logged{}, false
	}
	return m.events[at], true
}

// answer is what the client has waited for, by the grant and the events of the
// same request: a repeated submit writes its own times into the grant.
func (m *material) answer(made logged) []Span {
	s := m.grant.Steps
	at := m.grant.Steps.ReceivedAt
	var all []Span
	for _, step := range []struct {
		name string
		end  time.Time
	}{{StepChecks, s.CheckedAt}, {StepHash, s.HashedAt}} {
		if !step.end.IsZero() {
			all = append(all, Span{Name: step.name, State: Done, StartedAt: at, EndedAt: step.end})
			at = step.end
		}
	}
	commit := Span{Name: StepCommit, State: Done, StartedAt: at}
	session := m.session(made)
	commit.EndedAt = session.StartedAt
	all = append(all, commit)
	if session.Name != "" {
		all = append(all, session)
	}
	if session.State == Pending {
		return append(all, Span{Name: StepAnswer, State: Pending})
	}
	return append(all, Span{Name: StepAnswer, State: Done, StartedAt: cmp.Or(session.EndedAt, session.StartedAt)})
}

// session is the step that asks for the session; no name where none was to be.
func (m *material) session(made logged) Span {
	s := m.grant.Steps
	span := Span{Name: StepSession, State: Done}
	ofSubmit := func(eventType string) func(logged) bool {
		return func(l logged) bool {
			return l.Type == eventType && (made.RequestID == "" || l.RequestID == made.RequestID)
		}
	}
	_, any := m.find(func(l logged) bool { return l.Type == issued })
	first, byThis := m.find(ofSubmit(issued))
	no, refusedThis := m.find(ofSubmit(refused))
	switch {
	case byThis && !s.IssuedAt.Equal(first.Time): // a later submit has the grant's times
		span.EndedAt = first.Time
	case byThis, !any && !s.IssuedAt.IsZero():
		span.StartedAt, span.EndedAt = s.RequestedAt, s.IssuedAt
	case refusedThis:
		span.State, span.EndedAt, span.Detail = Failed, no.Time, no.data.Reason
	case any:
		span.State, span.Detail = Failed, "repeated" // the submit that came again has it
	case made.ID != "" && !made.data.SessionPlanned:
		return Span{}
	case m.now.Sub(s.ReceivedAt) < inFlight:
		span.State = Pending
	case made.ID == "":
		return Span{} // whether it was planned is not known
	default:
		span.State, span.Detail = Failed, "interrupted"
	}
	return span
}

// openOf tells whether something is still to come, and when the first of it is.
func openOf(t *Timeline) (open bool, next time.Time) {
	soon := false
	for _, span := range t.Answer {
		soon = soon || span.State == Pending
	}
	for _, e := range t.Events {
		soon = soon || e.LoggedAt.IsZero()
		for _, run := range e.Hooks {
			later := run.State == Waiting || run.State == Paused
			open = open || later
			soon = soon || run.State == Pending || later && run.NextAt.IsZero()
			if later && (next.IsZero() || run.NextAt.Before(next)) {
				next = run.NextAt
			}
		}
	}
	if soon {
		return true, time.Time{}
	}
	return open, next
}
