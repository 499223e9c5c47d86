package delivery

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
)

// CheckCase is one thing that a worker is checked with.
type CheckCase string

// The cases of a check.
const (
	// CheckEvent is an event of a type that the worker takes. It must be done.
	CheckEvent CheckCase = "event"
	// CheckAgain is one event, delivered twice. It must be done both times.
	CheckAgain CheckCase = "again"
	// CheckBacklog is many events at once: each waits while the worker is at the
	// others. All must be done at their first delivery.
	CheckBacklog CheckCase = "backlog"
	// CheckUnknown is an event of a type that nobody has heard of. It is done.
	CheckUnknown CheckCase = "unknown"
	// CheckIncomplete is an event without data and subject. It is done or reported.
	CheckIncomplete CheckCase = "incomplete"
	// CheckNoJSON is a body that is no JSON. It must be reported.
	CheckNoJSON CheckCase = "no-json"
)

// CheckCases are all of them, the poisonous ones last.
func CheckCases() []CheckCase {
	return []CheckCase{CheckEvent, CheckAgain, CheckBacklog, CheckUnknown, CheckIncomplete, CheckNoJSON}
}

// Verdict is what a worker's doing is worth.
type Verdict string

// The verdicts.
const (
	CheckOK     Verdict = "ok"
	CheckFailed Verdict = "failed"
	// CheckTimeout says that the time was over before all was settled.
	CheckTimeout Verdict = "timeout"
	// CheckAbsent says that nobody takes the worker's events.
	CheckAbsent Verdict = "absent"
)

// MaxCheckBacklog is how many events a [CheckBacklog] has at most.
const MaxCheckBacklog = 500

const (
	// usualBacklog is how many it has where nobody says.
	usualBacklog = 20
	// checkLook is how often the consumer of a checked worker is looked at, absentLooks
	// how many times in a row nobody must pull until nobody runs.
	checkLook   = time.Second
	absentLooks = 5
)

// CheckOptions say what a worker is checked with. Hook and Case are needed.
type CheckOptions struct {
	Hook string
	Case CheckCase
	// Type is one of the worker's event types; none means its first.
	Type string
	// Count is how many events a [CheckBacklog] has; 0 means 20.
	Count int
	// By is who asks for it.
	By Author
}

// Checked is what a worker did.
type Checked struct {
	Case    CheckCase
	Type    string
	Verdict Verdict
	// Took is the time until all was settled, or given up.
	Took time.Duration
	// Events is how many there were, Settled how many of them the worker has
	// acked; Deliveries is the most that one of these needed.
	Events, Settled, Deliveries int
	// Reason is what the worker has reported, empty if nothing.
	Reason string
	// Note says in a sentence what is behind the verdict; it may be empty.
	Note string
}

// CheckBus is a check's way to the worker.
type CheckBus interface {
	Publisher
	// Consumers gives all that there are, by hook.
	Consumers(ctx context.Context) (map[string]Consumer, error)
	// Acks tells of each ack, of any hook, until it is stopped.
	Acks(acked func(hook string, streamSeq uint64, deliveries int)) (stop func(), err error)
}

// Reports keeps what was reported of checks.
type Reports interface {
	// SaveFailure is that of [Failures].
	SaveFailure(ctx context.Context, former *Failure, f Failure, e ...events.Event) (bool, error)
	// Failure gives one, or [ErrNoFailure].
	Failure(ctx context.Context, hook string, eventID uuid.UUID) (Failure, error)
	// DeleteFailure deletes one, if it is there.
	DeleteFailure(ctx context.Context, hook string, eventID uuid.UUID) error
}

// Checks see what a running worker does with events that nobody has meant. They
// reach that worker alone, and neither the event log nor a dead letter keeps
// them. All fields are needed; it is safe for concurrent use.
type Checks struct {
	Declared Declared
	Bus      CheckBus
	Reports  Reports
	Ledger   Ledger
	// Golden gives an event of a type, with every member.
	Golden func(eventType string) (events.Event, bool)
	Now    func() time.Time
}

// Check gives a worker the events of one case and tells what it did. It returns
// at the end of ctx, which needs a deadline, at the latest. Errors that callers
// tell apart are [ErrNoHook] and [*Invalid].
func (c *Checks) Check(ctx context.Context, o CheckOptions) (Checked, error) {
	until, ok := ctx.Deadline()
	if !ok {
		return Checked{}, errors.New("delivery: a check needs a time limit")
	}
	sets, err := c.prepare(ctx, &o)
	if err != nil {
		return Checked{}, err
	}
	if err := c.Ledger.Append(ctx, o.By.Acted("hook.check", o.Hook, c.Now())); err != nil {
		return Checked{}, fmt.Errorf("check: %w", err)
	}
	done := Checked{Case: o.Case, Type: o.Type}
	for n, set := range sets {
		t := trial{Checks: c, hook: o.Hook, sent: map[uint64]uuid.UUID{}, acked: map[uint64]int{}}
		if err := t.run(ctx, until, n, set); err != nil {
			return done, fmt.Errorf("check: %w", err)
		}
		t.judge(&done)
		if done.Verdict != CheckOK {
			break
		}
	}
	return done, nil
}

// prepare makes the events of a case: those of one set are published together,
// the next set once the former is settled.
func (c *Checks) prepare(ctx context.Context, o *CheckOptions) ([][]checkEvent, error) {
	h, err := c.Declared.Hook(ctx, o.Hook)
	if err != nil {
		return nil, fmt.Errorf("hook %q: %w", o.Hook, err)
	}
	if h.Kind != Worker || h.CreatedAt.IsZero() && !h.InFile {
		return nil, &Invalid{Text: fmt.Sprintf("%q is no worker of yours that takes events: only those are checked", h.Name)}
	}
	if o.Type == "" && len(h.Types) > 0 {
		o.Type = h.Types[0]
	}
	golden, ok := c.Golden(o.Type)
	if !ok || !slices.Contains(h.Types, o.Type) {
		return nil, &Invalid{Text: fmt.Sprintf("worker %q does not take %q", h.Name, o.Type)}
	}
	if o.Count < 0 || o.Count > MaxCheckBacklog {
		return nil, &Invalid{Text: fmt.Sprintf("count must be a number from 1 to %d", MaxCheckBacklog)}
	}
	consumers, err := c.Bus.Consumers(ctx)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	is, ok := consumers[h.Name]
	switch {
	case !ok:
		return nil, &Invalid{Text: fmt.Sprintf("worker %q has no durable consumer on the bus yet", h.Name)}
	case is.PausedUntil.After(c.Now()):
		return nil, &Invalid{Text: fmt.Sprintf("worker %q is paused and gets nothing: resume it first", h.Name)}
	}
	return eventsOf(o, golden)
}

// checkEvent is one event of a check as it is published.
type checkEvent struct {
	id   uuid.UUID
	body []byte
}

func eventsOf(o *CheckOptions, golden events.Event) ([][]checkEvent, error) {
	golden.Source = events.SourceCheck
	count := 1
	if o.Case == CheckBacklog {
		if count = o.Count; count == 0 {
			count = usualBacklog
		}
	}
	set := make([]checkEvent, count)
	for n := range set {
		id := newCheckID()
		e := golden
		e.ID = id.String()
		body, err := bodyOf(o.Case, e)
		if err != nil {
			return nil, err
		}
		set[n] = checkEvent{id, body}
	}
	if o.Case == CheckAgain {
		return [][]checkEvent{set, set}, nil
	}
	return [][]checkEvent{set}, nil
}

// bodyOf is the event as its case wants it.
func bodyOf(which CheckCase, e events.Event) ([]byte, error) {
	switch which {
	case CheckEvent, CheckAgain, CheckBacklog:
		return e.Encode()
	case CheckUnknown:
		e.Type, e.DataSchema = "check.unheard_of", "urn:usher:event:check.unheard_of:1"
		return e.Encode()
	case CheckIncomplete:
		return json.Marshal(map[string]string{"specversion": "1.0", "id": e.ID, "source": e.Source, "type": e.Type})
	case CheckNoJSON:
		return []byte(`{"id":"` + e.ID + `", this is no JSON`), nil
	default:
		return nil, &Invalid{Text: fmt.Sprintf("case must be one of %q", CheckCases())}
	}
}

// newCheckID is the id of an event of a check: a UUIDv7 of the first millisecond
// of 1970. So whoever takes the report of it, in another process, knows it.
func newCheckID() uuid.UUID {
	id := uuid.New()
	copy(id[:6], make([]byte, 6))
	id[6] = 0x70 | id[6]&0x0f
	return id
}

// ofCheck tells whether an event is one of a check.
func ofCheck(id uuid.UUID) bool {
	return id.Version() == 7 && [6]byte(id[:6]) == [6]byte{}
}

// How the reason of a check's report begins while it is stored.
const (
	reportedFinal = "check, permanent: "
	reportedAgain = "check: "
)

// expected is the row of a check's event that is on its way: until there is one,
// and behind the check, a report under such an id is one like any other.
func expected(hook string, id uuid.UUID, now time.Time) Failure {
	return Failure{Hook: hook, EventID: id.String(), State: Discarded, Round: 1, Reason: "check: nothing is reported yet", FirstAt: now, LastAt: now}
}

// isExpected tells whether a check waits for what its worker makes of an event.
func isExpected(f *Failure, id uuid.UUID) bool {
	return f != nil && f.State == Discarded && ofCheck(id)
}

// checked keeps the report of a check's event until the check has seen it. It is
// no failure: it does not come again, and nobody is told.
func (s *Service) checked(ctx context.Context, former Failure, r events.HookFailed) (events.HookFailedReply, error) {
	if former.Attempts == 0 {
		f := former
		began := reportedAgain
		if r.Permanent {
			began = reportedFinal
		}
		f.Attempts, f.Reason, f.StreamSeq, f.LastAt = 1, events.CleanReason(began+r.Reason), r.StreamSeq, s.Now()
		if _, err := s.Failures.SaveFailure(ctx, &former, f); err != nil {
			return events.HookFailedReply{}, fmt.Errorf("report of a check by %s: %w", former.Hook, err)
		}
	}
	s.noSuccess(message{former.Hook, r.StreamSeq})
	return events.HookFailedReply{State: string(Dead)}, nil
}

// splitReason is what was reported, and whether as permanent.
func splitReason(stored string) (reason string, permanent bool) {
	if reason, ok := strings.CutPrefix(stored, reportedFinal); ok {
		return reason, true
	}
	return strings.TrimPrefix(stored, reportedAgain), false
}
