package delivery_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
)

func TestReportDecidesByTheLadder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		report     events.HookFailed
		state      delivery.State
		from, to   time.Duration
		wantReason string // of hook.dead
	}{
		{"the first", events.HookFailed{Attempt: 1}, delivery.Waiting, 4 * time.Second, 6 * time.Second, ""},
		{"without a number", events.HookFailed{}, delivery.Waiting, 4 * time.Second, 6 * time.Second, ""},
		{"the last but one", events.HookFailed{Attempt: 8}, delivery.Waiting, 9*time.Hour + 36*time.Minute, 14*time.Hour + 24*time.Minute, ""},
		{"the last", events.HookFailed{Attempt: 9}, delivery.Dead, 0, 0, "attempts"},
		{"permanent", events.HookFailed{Attempt: 1, Permanent: true, Reason: "no such list"}, delivery.Dead, 0, 0, "permanent"},
		{"crash", events.HookFailed{Attempt: 1, Permanent: true, Reason: "crash: delivered 6 times without an outcome"}, delivery.Dead, 0, 0, "crash"},
		{"asks for a time", events.HookFailed{Attempt: 1, After: 90.5}, delivery.Waiting, 90500 * time.Millisecond, 90500 * time.Millisecond, ""},
		{"asks for no pause", events.HookFailed{Attempt: 1, After: 0.001}, delivery.Waiting, time.Second, time.Second, ""},
		{"asks for a year", events.HookFailed{Attempt: 1, After: 3e7}, delivery.Waiting, 24 * time.Hour, 24 * time.Hour, ""},
		{"asks for what no number holds", events.HookFailed{Attempt: 1, After: 1e300}, delivery.Waiting, 24 * time.Hour, 24 * time.Hour, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				c.report.EventID = w.event(t)
				reply := w.report(t, "crm", c.report)
				f := w.table.row("crm", c.report.EventID)
				if f.State != c.state || reply.State != string(c.state) {
					t.Fatalf("state = %s, replied %s, want %s", f.State, reply.State, c.state)
				}
				if c.state == delivery.Waiting {
					if wait := time.Until(f.NextAt); wait < c.from || wait > c.to {
						t.Errorf("it waits %v, want %v to %v", wait, c.from, c.to)
					}
					if want := f.NextAt.UTC().Format(time.RFC3339); reply.Next != want {
						t.Errorf("Next = %q, want %q", reply.Next, want)
					}
					return
				}
				if types := w.table.types(t); len(types) != 1 || types[0] != "hook.dead" || !strings.Contains(string(w.table.said[0].Data), `"reason":"`+c.wantReason+`"`) {
					t.Errorf("events = %v, want hook.dead for %q", w.table.said, c.wantReason)
				}
				if !f.NextAt.IsZero() || reply.Next != "" {
					t.Errorf("a dead letter has a next time: %v, %q", f.NextAt, reply.Next)
				}
			})
		})
	}
}

// What a hook reports after it had the event again is one attempt more; what it
// reports again, late or of a former round changes nothing.
func TestReportCountsAnAttemptOnce(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Microsecond)
	waiting := delivery.Failure{State: delivery.Waiting, Attempts: 2, Round: 1, StreamSeq: 20, NextAt: now.Add(time.Minute)}
	with := func(change func(*delivery.Failure)) delivery.Failure {
		f := waiting
		change(&f)
		return f
	}
	published := with(func(f *delivery.Failure) { f.NextAt = time.Time{} })
	again := with(func(f *delivery.Failure) { f.Round, f.Attempts, f.NextAt = 2, 0, now })
	for _, c := range []struct {
		name         string
		former       delivery.Failure
		attempt      int
		seq          uint64
		wantAttempts int // 0: nothing changes
	}{
		{"the same again, by its place", waiting, 2, 20, 0},
		{"the same again, by its number", waiting, 2, 0, 0},
		{"an earlier one", waiting, 1, 3, 0},
		{"a copy of the event, which comes again anyway", waiting, 1, 30, 0},
		{"the retry, before it is stored that it is published", waiting, 3, 21, 3},
		{"the retry, by its number", waiting, 3, 0, 3},
		{"the published retry", published, 3, 20, 3},
		{"the published retry, of a hook that does not count", published, 1, 20, 3},
		{"an earlier one, while the retry is out", published, 2, 7, 0},
		{"the former round's last", again, 9, 20, 0},
		{"the former round's last, by its number", again, 9, 0, 0},
		{"the next round's first", again, 1, 21, 1},
		{"of a dead letter", with(func(f *delivery.Failure) { f.State, f.NextAt = delivery.Dead, time.Time{} }), 3, 40, 0},
		{"of a discarded one", with(func(f *delivery.Failure) { f.State, f.NextAt = delivery.Discarded, time.Time{} }), 3, 40, 0},
		{"of one that was done", with(func(f *delivery.Failure) { f.State, f.NextAt = delivery.Done, time.Time{} }), 1, 40, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			former := c.former
			former.N, former.Hook, former.EventID, former.Reason = 1, "crm", w.event(t), "former"
			w.table.given(former)
			reply := w.report(t, "crm", events.HookFailed{EventID: former.EventID, Attempt: c.attempt, StreamSeq: c.seq, Reason: "new"})
			got := w.table.row("crm", former.EventID)
			if c.wantAttempts == 0 {
				if diff := cmp.Diff(former, got); diff != "" {
					t.Errorf("it changed:\n%s", diff)
				}
				if reply.State != string(former.State) {
					t.Errorf("replied %s, want %s", reply.State, former.State)
				}
				return
			}
			if got.State != delivery.Waiting || got.Attempts != c.wantAttempts || got.Reason != "new" || got.NextAt.IsZero() {
				t.Errorf("failure = %+v, want it to wait after %d attempts", got, c.wantAttempts)
			}
			if former.State == delivery.Done && got.Round != former.Round+1 {
				t.Errorf("round = %d, want the next one after %d", got.Round, former.Round)
			}
		})
	}
}

func TestReportRefusesWhatItCannotUnderstand(t *testing.T) {
	t.Parallel()
	w := newWorld()
	id := w.event(t)
	var invalid *delivery.Invalid
	for _, r := range []events.HookFailed{{}, {EventID: "x"}, {EventID: id, Attempt: -1}, {EventID: id, Attempt: 1_000_001}, {EventID: id, Attempt: 1 << 40}, {EventID: id, After: -1}} {
		if _, err := w.Report(t.Context(), "crm", r); !errors.As(err, &invalid) {
			t.Errorf("Report(%+v) = %v, want an *Invalid", r, err)
		}
	}
	if _, err := w.Report(t.Context(), "nobody", events.HookFailed{EventID: id}); !errors.Is(err, delivery.ErrNoHook) {
		t.Errorf("Report of an unknown hook = %v, want ErrNoHook", err)
	}
	if len(w.table.rows) != 0 {
		t.Errorf("rows = %v, want none", w.table.rows)
	}
}

func TestReasonsAreOneCleanLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                          "no reason given",
		" a\n\tb ":                  "a b",
		"\x1b[31mred\x07":           "[31mred",
		"bad \xff byte":             "bad ? byte",
		"right\u202eleft":           "rightleft",
		strings.Repeat("ä", 200):    strings.Repeat("ä", 200),
		strings.Repeat("ä", 50_000): strings.Repeat("ä", 199) + "…",
	} {
		w := newWorld()
		id := w.event(t)
		w.report(t, "crm", events.HookFailed{EventID: id, Reason: in})
		if got := w.table.row("crm", id).Reason; got != want {
			t.Errorf("reason of %.20q… = %q, want %q", in, got, want)
		}
	}
}

// A hook that asks for another time, again and again, is not cut off by the
// number of attempts alone: an endpoint that says Retry-After would be dead in minutes.
func TestAskingForATimeEndsWithTheLadderAndItsSpan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		id := w.event(t)
		began, attempt := time.Now(), 0
		for state := "waiting"; state == "waiting"; time.Sleep(10 * time.Minute) {
			attempt++
			state = w.report(t, "crm", events.HookFailed{EventID: id, Attempt: attempt, After: 600}).State
		}
		if span, took := delivery.WorkerLadder().Span(), time.Since(began); took < span || took > span+time.Hour {
			t.Errorf("it was dead after %v and %d attempts, want about %v", took, attempt, span)
		}
	})
}

// A hook that gets hook.dead would fail at its own for ever, and two such hooks
// at each other's.
func TestDeadLettersOfDeadLettersAreNotTold(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for _, hook := range []string{"crm", "other"} {
		id := w.log.add(t, events.HookDead{Hook: hook, EventID: uuid.NewString(), Attempts: 1, Reason: "permanent"}, time.Now())
		if reply := w.report(t, "crm", events.HookFailed{EventID: id, Permanent: true}); reply.State != "dead" {
			t.Errorf("replied %+v, want dead", reply)
		}
		if len(w.table.said) != 0 {
			t.Errorf("events = %v, want none", w.table.said)
		}
	}
}

// A hook that makes events up fills neither the table nor the event log.
func TestReportsAboutNoEventAreFewAndNotTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		taken := func() (n int) {
			for i := range 150 {
				id := uuid.NewString()
				if i%2 == 0 { // as those of a check
					id = "00000000-0000-7" + id[15:]
				}
				if _, err := w.Report(t.Context(), "crm", events.HookFailed{EventID: id, Permanent: true}); err == nil {
					n++
				}
			}
			return n
		}
		if n := taken(); n != 100 || len(w.table.rows) != n {
			t.Errorf("of 150 reports %d were taken and %d stored, want 100", n, len(w.table.rows))
		}
		time.Sleep(time.Minute)
		if n := taken(); n != 6 {
			t.Errorf("a minute later %d were taken, want 6", n)
		}
		if len(w.table.said) != 0 {
			t.Errorf("%d events, want none", len(w.table.said))
		}
		w.report(t, "crm", events.HookFailed{EventID: w.event(t), Permanent: true})
		w.report(t, "other", events.HookFailed{EventID: uuid.NewString()})
		if types := w.table.types(t); len(types) != 1 {
			t.Errorf("events = %v, want the hook.dead of the event that there is", types)
		}
	})
}

// Reports of one attempt that come together are one.
func TestReportsRace(t *testing.T) {
	t.Parallel()
	w := newWorld()
	id := w.event(t)
	replies := make(chan events.HookFailedReply, 8)
	for range cap(replies) {
		go func() {
			reply, err := w.Report(t.Context(), "crm", events.HookFailed{EventID: id, Attempt: 1, StreamSeq: 5})
			if err != nil {
				t.Error(err)
			}
			replies <- reply
		}()
	}
	first := <-replies
	for range cap(replies) - 1 {
		if reply := <-replies; reply != first {
			t.Errorf("reply = %+v, and another %+v", reply, first)
		}
	}
	if f := w.table.row("crm", id); f.Attempts != 1 {
		t.Errorf("attempts = %d, want 1", f.Attempts)
	}
}
