package timeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/timeline"
)

var (
	start    = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	ann      = uuid.MustParse("00000000-0000-4000-8000-000000000001")
	flowID   = uuid.MustParse("00000000-0000-4000-8000-00000000000f")
	grantID  = uuid.MustParse("00000000-0000-4000-8000-0000000000aa")
	session  = uuid.MustParse("00000000-0000-4000-8000-0000000000cc")
	errAway  = errors.New("away")
	trace    = "4bf92f3577b34da6a3ce929d0e0e4736"
	parent   = "00-" + trace + "-00f067aa0ba902b7-01"
	planned  = events.IdentityCreated{IdentityID: ann.String(), Method: "password", FlowID: flowID.String(), SessionPlanned: true}
	withNone = events.IdentityCreated{IdentityID: ann.String(), Method: "password", FlowID: flowID.String()}
)

func ms(n int) time.Time { return start.Add(time.Duration(n) * time.Millisecond) }

// story is what is known of a registration at a time.
type story struct {
	grants     []registration.Grant
	records    []audit.Record
	outbox     map[uuid.UUID][]byte
	deliveries []timeline.Delivery
	failures   []delivery.Failure
	hooks      []timeline.Hook
	now        time.Time

	noLog, noHooks, noBus, noDeliveries bool
}

// registered is a registration with a password that planned a session and got it:
// received at 0, checked at 2, hashed at 20, requested at 25 and issued at 27 ms.
func registered() *story {
	s := &story{now: ms(500), outbox: map[uuid.UUID][]byte{}}
	made := s.log(planned, 20, "r1")
	s.grants = []registration.Grant{{
		ID: grantID, FlowID: flowID, IdentityID: ann, EventID: uuid.MustParse(made), FlowType: flow.API, Method: "password", SessionID: session,
		Steps:     registration.Steps{ReceivedAt: ms(0), CheckedAt: ms(2), HashedAt: ms(20), RequestedAt: ms(25), IssuedAt: ms(27)},
		CreatedAt: ms(20),
	}}
	s.log(issuedEvent(), 27, "r1")
	return s
}

func issuedEvent() events.SessionIssued {
	return events.SessionIssued{SessionID: session.String(), IdentityID: ann.String(), FlowID: flowID.String(), GrantID: grantID.String()}
}

// log logs an event 3 ms after it happened, as the next of the stream.
func (s *story) log(p events.Payload, at int, request string) (id string) {
	e := events.New(p, ms(at), events.About{Source: "/usher/test", Subject: ann.String(), Actor: "client", RequestID: request})
	if request == "r1" {
		e.TraceParent = parent
	}
	payload, _ := e.Encode()
	n := int64(len(s.records) + 1)
	s.records = append(s.records, audit.Record{
		Seq: n, EventID: e.ID, StreamSeq: uint64(n), Type: e.Type, Subject: ann.String(), Payload: payload, LoggedAt: ms(at + 3),
	})
	return e.ID
}

func (s *story) eventID(n int) string { return s.records[n].EventID }

func (s *story) hook(name string, change func(*timeline.Hook), types ...string) {
	h := timeline.Hook{Name: name, Kind: "worker", Types: types, Known: true}
	if change != nil {
		change(&h)
	}
	s.hooks = append(s.hooks, h)
}

func (s *story) acked(hook string, seq uint64, at int) {
	s.deliveries = append(s.deliveries, timeline.Delivery{Hook: hook, StreamSeq: seq, Deliveries: 1, AckedAt: ms(at), Took: 2 * time.Millisecond})
}

func (s *story) Grants(context.Context, uuid.UUID) ([]registration.Grant, error) {
	return s.grants, nil
}

func (s *story) Events(_ context.Context, q audit.Query) ([]audit.Record, error) {
	if s.noLog || q.Subject != ann.String() || q.Limit > 100 {
		return nil, errAway
	}
	return s.records, nil
}

func (s *story) EventPayload(_ context.Context, id uuid.UUID) ([]byte, string, error) {
	if payload, ok := s.outbox[id]; ok {
		return payload, "identity.created", nil
	}
	return nil, "", delivery.ErrNoEvent
}

func (s *story) TimelineHooks(context.Context) (all []timeline.Hook, bus, err error) {
	switch {
	case s.noHooks:
		return nil, nil, errAway
	case s.noBus:
		all = slices.Clone(s.hooks)
		for n := range all {
			all[n].Known, all[n].AckFloor = false, 0
		}
		return all, errAway, nil
	}
	return s.hooks, nil, nil
}

func (s *story) Deliveries(_ context.Context, seqs []uint64, ids []uuid.UUID) (found []timeline.Delivery, err error) {
	if s.noDeliveries {
		return nil, errAway
	}
	for _, d := range s.deliveries {
		if slices.Contains(seqs, d.StreamSeq) || d.EventID != "" && slices.Contains(ids, uuid.MustParse(d.EventID)) {
			found = append(found, d)
		}
	}
	return found, nil
}

func (s *story) FailuresAt(_ context.Context, ids []uuid.UUID) (found []delivery.Failure, err error) {
	if s.noDeliveries {
		return nil, errAway
	}
	for _, f := range s.failures {
		if slices.Contains(ids, uuid.MustParse(f.EventID)) {
			found = append(found, f)
		}
	}
	return found, nil
}

func (s *story) of(t *testing.T, flow uuid.UUID) *timeline.Timeline {
	t.Helper()
	got, err := (&timeline.Service{Grants: s, Log: s, Watched: s, Hooks: s, Now: func() time.Time { return s.now }}).Of(t.Context(), ann, flow)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// told is a timeline in short: "checks 0-2 done" and "identity.created crm: done [done 30-32]".
func told(tl *timeline.Timeline) (lines []string) {
	for _, s := range tl.Answer {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s-%s %s %s", s.Name, at(s.StartedAt), at(s.EndedAt), s.State, s.Detail)))
	}
	for _, e := range tl.Events {
		lines = append(lines, fmt.Sprintf("%s %s logged %s", e.Type, at(e.At), at(e.LoggedAt)))
		for _, r := range e.Hooks {
			line := fmt.Sprintf("  %s %s", r.Hook, r.State)
			for _, a := range r.Attempts {
				line += fmt.Sprintf(" [%s %s-%s]", a.State, at(a.DeliveredAt), at(a.EndedAt))
			}
			if !r.NextAt.IsZero() {
				line += " next " + at(r.NextAt)
			}
			if r.Reason != "" {
				line += " because " + r.Reason
			}
			lines = append(lines, line)
		}
	}
	end := "settled"
	if tl.Open {
		end = "open " + at(tl.NextAt)
	}
	return append(lines, end)
}

func at(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return fmt.Sprint(t.Sub(start).Milliseconds())
}

const (
	wellAnswered = "checks 0-2 done|hash 2-20 done|commit 20-25 done|session 25-27 done|answer 27-? done"
	wellLogged   = "|identity.created 20 logged 23|session.issued 27 logged 30|settled"
)

func TestTimeline(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*story)
		want   string // lines, by "|"
	}{
		"no hooks": {func(*story) {}, wellAnswered + wellLogged},
		"social, without a hash": {func(s *story) {
			s.grants[0].Method, s.grants[0].Provider, s.grants[0].Steps.HashedAt = "oidc", "acme", time.Time{}
		}, "checks 0-2 done|commit 2-25 done|session 25-27 done|answer 27-? done" + wellLogged},
		"no session planned": {func(s *story) {
			s.records = nil
			id := s.log(withNone, 20, "r1")
			s.grants[0].EventID, s.grants[0].SessionID = uuid.MustParse(id), uuid.Nil
			s.grants[0].Steps.RequestedAt, s.grants[0].Steps.IssuedAt = time.Time{}, time.Time{}
		}, "checks 0-2 done|hash 2-20 done|commit 20-? done|answer ?-? done|identity.created 20 logged 23|settled"},
		"degraded": {func(s *story) {
			s.records = s.records[:1]
			s.log(events.SessionRefused{IdentityID: ann.String(), FlowID: flowID.String(), Reason: "unavailable"}, 525, "r1")
			s.grants[0].Steps.RequestedAt, s.grants[0].Steps.IssuedAt = time.Time{}, time.Time{}
		}, "checks 0-2 done|hash 2-20 done|commit 20-? done|session ?-525 failed unavailable|answer 525-? done|" +
			"identity.created 20 logged 23|session.refused 525 logged 528|settled"},
		"degraded, and repeated later": {func(s *story) {
			s.records = s.records[:1]
			s.log(events.SessionRefused{IdentityID: ann.String(), FlowID: flowID.String(), Reason: "late"}, 525, "r1")
			s.log(issuedEvent(), 60_000, "r2")
			s.grants[0].Steps.RequestedAt, s.grants[0].Steps.IssuedAt = ms(59_990), ms(60_000)
		}, "checks 0-2 done|hash 2-20 done|commit 20-? done|session ?-525 failed late|answer 525-? done|" +
			"identity.created 20 logged 23|session.refused 525 logged 528|session.issued 60000 logged 60003|settled"},
		"issued, and replaced by a repeated submit": {func(s *story) {
			s.log(issuedEvent(), 60_000, "r2")
			s.grants[0].Steps.RequestedAt, s.grants[0].Steps.IssuedAt = ms(59_990), ms(60_000)
		}, "checks 0-2 done|hash 2-20 done|commit 20-? done|session ?-27 done|answer 27-? done|" +
			"identity.created 20 logged 23|session.issued 27 logged 30|session.issued 60000 logged 60003|settled"},
		"killed after the commit": {func(s *story) {
			s.records, s.now = s.records[:1], ms(60_000)
			s.grants[0].Steps.RequestedAt, s.grants[0].Steps.IssuedAt = time.Time{}, time.Time{}
		}, "checks 0-2 done|hash 2-20 done|commit 20-? done|session ?-? failed interrupted|answer ?-? done|identity.created 20 logged 23|settled"},
		"killed after the commit, and repeated": {func(s *story) {
			s.records, s.now = s.records[:1], ms(60_000)
			s.log(issuedEvent(), 40_000, "r2")
			s.grants[0].Steps.RequestedAt, s.grants[0].Steps.IssuedAt = ms(39_990), ms(40_000)
		}, "checks 0-2 done|hash 2-20 done|commit 20-? done|session ?-? failed repeated|answer ?-? done|" +
			"identity.created 20 logged 23|session.issued 40000 logged 40003|settled"},
		"on its way": {func(s *story) {
			s.records = s.records[:1]
			s.grants[0].Steps.RequestedAt, s.grants[0].Steps.IssuedAt = time.Time{}, time.Time{}
		}, "checks 0-2 done|hash 2-20 done|commit 20-? done|session ?-? pending|answer ?-? pending|identity.created 20 logged 23|open ?"},
		"in the outbox, the bus being down": {func(s *story) {
			s.hook("crm", nil, "identity.created")
			s.outbox[s.grants[0].EventID] = s.records[0].Payload
			s.records = nil
		}, wellAnswered + "|identity.created 20 logged ?|  crm pending|open ?"},
		"the log was pruned": {func(s *story) { s.records = nil }, wellAnswered + "|settled"},
		"an administrator made the person": {func(s *story) {
			s.grants, s.records = nil, nil
			s.log(events.IdentityCreated{IdentityID: ann.String(), Method: "admin"}, 5, "r9")
			s.log(events.IdentityUpdated{IdentityID: ann.String()}, 9, "r10")
		}, "identity.created 5 logged 8|settled"},
		"others' events are left out": {func(s *story) {
			s.log(events.LoginSucceeded{IdentityID: ann.String(), FlowID: uuid.NewString()}, 9_000, "r7")
			s.log(events.VerificationRequested{IdentityID: ann.String()}, 20, "r1")
			s.log(events.MailSent{MessageID: "m"}, 90, "r1")
		}, wellAnswered + "|identity.created 20 logged 23|session.issued 27 logged 30|verification.requested 20 logged 23|mail.sent 90 logged 93|settled"},
		"several hooks, of several types": {func(s *story) {
			s.hook("mail", nil, "verification.requested")
			s.hook("crm", nil, "identity.created", "session.issued")
			s.hook("stats", func(h *timeline.Hook) { h.AckFloor = 1 }, "identity.created")
			s.hook("late", func(h *timeline.Hook) { h.Since = ms(100) }, "identity.created")
			s.hook("slow", nil, "identity.created")
			s.hook("off", func(h *timeline.Hook) { h.Disabled = true }, "identity.created")
			s.hook("held", func(h *timeline.Hook) { h.PausedUntil = ms(90_000) }, "identity.created")
			s.acked("crm", 1, 40)
			s.acked("crm", 2, 41)
			s.acked("gone", 1, 50)
			s.acked("crm", 99, 50) // another's event
		}, wellAnswered + "|identity.created 20 logged 23|  crm done [done 38-40]|  gone done [done 48-50]|  held paused next 90000|  off disabled|  slow pending|  stats done|" +
			"session.issued 27 logged 30|  crm done [done 39-41]|open ?"},
		"a stream made anew": {func(s *story) {
			s.hook("crm", nil, "identity.created")
			s.acked("crm", 1, -90_000)
		}, wellAnswered + "|identity.created 20 logged 23|  crm pending|session.issued 27 logged 30|open ?"},
		"waits for its third attempt": {func(s *story) {
			s.hook("crm", nil, "identity.created")
			s.acked("crm", 1, 40)
			s.deliveries = append(s.deliveries, timeline.Delivery{Hook: "crm", StreamSeq: 9, EventID: s.eventID(0), Attempt: 2, PublishedAt: ms(1040), Deliveries: 1, AckedAt: ms(1050), Took: time.Millisecond})
			s.failures = []delivery.Failure{{Hook: "crm", EventID: s.eventID(0), State: delivery.Waiting, Attempts: 2, Reason: "503", FirstAt: ms(39), LastAt: ms(1049), NextAt: ms(61_000)}}
		}, wellAnswered + "|identity.created 20 logged 23|  crm waiting [failed 38-40] [failed 1049-1050] next 61000 because 503|session.issued 27 logged 30|open 61000"},
		"its retry is published": {func(s *story) {
			s.hook("crm", nil, "identity.created")
			s.acked("crm", 1, 40)
			s.deliveries = append(s.deliveries, timeline.Delivery{Hook: "crm", StreamSeq: 9, EventID: s.eventID(0), Attempt: 2, PublishedAt: ms(1040)})
			s.failures = []delivery.Failure{{Hook: "crm", EventID: s.eventID(0), State: delivery.Waiting, Attempts: 1, Reason: "503", FirstAt: ms(39), LastAt: ms(39)}}
		}, wellAnswered + "|identity.created 20 logged 23|  crm pending [failed 38-40] [pending 1040-?] because 503|session.issued 27 logged 30|open ?"},
		"its retry is acked, and the outcome not looked at yet": {func(s *story) {
			s.deliveries = append(s.deliveries, timeline.Delivery{Hook: "crm", StreamSeq: 9, EventID: s.eventID(0), Attempt: 2, PublishedAt: ms(1040), Deliveries: 1, AckedAt: ms(1050)})
			s.failures = []delivery.Failure{{Hook: "crm", EventID: s.eventID(0), State: delivery.Waiting, Attempts: 1, Reason: "503", FirstAt: ms(39), LastAt: ms(39)}}
		}, wellAnswered + "|identity.created 20 logged 23|  crm done [failed ?-39] [done 1050-1050] because 503|session.issued 27 logged 30|settled"},
		"done after all": {func(s *story) {
			s.hook("crm", nil, "identity.created")
			s.acked("crm", 1, 40)
			s.deliveries = append(s.deliveries, timeline.Delivery{Hook: "crm", StreamSeq: 9, EventID: s.eventID(0), Attempt: 2, PublishedAt: ms(1040), Deliveries: 1, AckedAt: ms(1050), Took: time.Millisecond})
			s.failures = []delivery.Failure{{Hook: "crm", EventID: s.eventID(0), State: delivery.Done, Attempts: 1, Reason: "503", FirstAt: ms(39), LastAt: ms(1051)}}
		}, wellAnswered + "|identity.created 20 logged 23|  crm done [failed 38-40] [done 1049-1050] because 503|session.issued 27 logged 30|settled"},
		"dead, of a hook that is gone": {func(s *story) {
			s.failures = []delivery.Failure{{Hook: "crm", EventID: s.eventID(0), State: delivery.Dead, Attempts: 1, Reason: "410", FirstAt: ms(39), LastAt: ms(39)}}
		}, wellAnswered + "|identity.created 20 logged 23|  crm dead [failed ?-39] because 410|session.issued 27 logged 30|settled"},
		"done once, and its replay failed": {func(s *story) {
			s.acked("crm", 1, 40)
			s.failures = []delivery.Failure{{Hook: "crm", EventID: s.eventID(0), State: delivery.Discarded, Attempts: 1, Reason: "410", FirstAt: ms(90_000), LastAt: ms(90_000)}}
		}, wellAnswered + "|identity.created 20 logged 23|  crm discarded [done 38-40] because 410|session.issued 27 logged 30|settled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := registered()
			c.change(s)
			got := s.of(t, uuid.Nil)
			if want := strings.Split(c.want, "|"); !slices.Equal(told(got), want) {
				t.Errorf("told\n%s\nwant\n%s", strings.Join(told(got), "\n"), strings.Join(want, "\n"))
			}
			if len(got.Lacks) > 0 {
				t.Errorf("it lacks %q, want nothing", got.Lacks)
			}
		})
	}
}

// TestWhatCannotBeHadIsSaid: and the rest is there.
func TestWhatCannotBeHadIsSaid(t *testing.T) {
	t.Parallel()
	for lack, c := range map[string]struct {
		change func(*story)
		want   string
	}{
		"events":     {func(s *story) { s.noLog = true }, wellAnswered + "|settled"},
		"hooks":      {func(s *story) { s.noHooks = true }, wellAnswered + "|identity.created 20 logged 23|  crm done [done 38-40]|session.issued 27 logged 30|settled"},
		"bus":        {func(s *story) { s.noBus = true }, wellAnswered + "|identity.created 20 logged 23|  crm done [done 38-40]|  slow unknown|session.issued 27 logged 30|settled"},
		"deliveries": {func(s *story) { s.noDeliveries = true }, wellAnswered + "|identity.created 20 logged 23|  crm done|  slow pending|session.issued 27 logged 30|open ?"},
	} {
		s := registered()
		s.hook("crm", func(h *timeline.Hook) { h.AckFloor = 1 }, "identity.created")
		s.hook("slow", nil, "identity.created")
		s.acked("crm", 1, 40)
		c.change(s)
		got := s.of(t, flowID)
		if want := strings.Split(c.want, "|"); !slices.Equal(told(got), want) || !slices.Equal(got.Lacks, []string{lack}) {
			t.Errorf("without the %s, told\n%s\nlacks %q, want\n%s", lack, strings.Join(told(got), "\n"), got.Lacks, strings.Join(want, "\n"))
		}
	}
}

func TestWhoseItIs(t *testing.T) {
	t.Parallel()
	s := registered()
	got := s.of(t, flowID)
	if got.TraceID != trace || got.RequestID != "r1" || got.SessionID != session.String() || got.Method != "password" || got.FlowType != "api" || !got.ReceivedAt.Equal(start) {
		t.Errorf("timeline = %+v", got)
	}
	_, err := (&timeline.Service{Grants: s, Log: s, Watched: s, Hooks: s, Now: time.Now}).Of(t.Context(), ann, uuid.New())
	if !errors.Is(err, timeline.ErrNoFlow) {
		t.Errorf("of another's flow: %v, want ErrNoFlow", err)
	}
}
