package delivery_test

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
)

// due puts failures of crm in that are due now, and gives their events' ids.
func (w *world) due(t *testing.T, n int) (ids []string) {
	t.Helper()
	for range n {
		id := w.event(t)
		ids = append(ids, id)
		w.table.given(delivery.Failure{Hook: "crm", EventID: id, State: delivery.Waiting, Attempts: 1, Round: 1, FirstAt: time.Now(), LastAt: time.Now(), NextAt: time.Now()})
	}
	return ids
}

// fault lets a table fail, or watch its steps.
func (d *table) fault(f faults) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = f
}

// change changes a row behind everybody's back.
func (d *table) change(hook, eventID string, change func(*delivery.Failure)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d.find(hook, eventID))
}

// What the stream has stored is known although the service ends meanwhile: it
// would be published again.
func TestARetryThatIsPublishedAtTheEndIsStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		id := w.due(t, 1)[0]
		ctx, cancel := context.WithCancel(t.Context())
		w.bus.faults = func(string) (bool, error) { cancel(); return true, nil }
		w.table.faults = nil
		if err := w.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if f := w.table.row("crm", id); !f.NextAt.IsZero() || f.StreamSeq != 1 {
			t.Errorf("failure = %+v, want it published", f)
		}
	})
}

// An event that was made a day ago, and that the log does not hold, never comes.
func TestAnOldEventThatIsNotLoggedIsGoneAtOnce(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		id := uuid.Must(uuid.NewV7())
		var made [8]byte
		binary.BigEndian.PutUint64(made[:], uint64(time.Now().Add(-25*time.Hour).UnixMilli()))
		copy(id[:6], made[2:])
		w.report(t, "crm", events.HookFailed{EventID: id.String(), Attempt: 1})
		later(10 * time.Second)
		if f := w.table.row("crm", id.String()); f.State != delivery.Dead {
			t.Errorf("failure = %+v, want it dead", f)
		}
	})
}

func TestFullBatchesFollowAtOnce(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.due(t, 249)
		before := w.table.statements("NextDue")
		w.report(t, "crm", events.HookFailed{EventID: w.event(t), After: 60}) // wakes it
		later(time.Millisecond)
		if got := len(w.bus.retries("crm")); got != 249 {
			t.Errorf("%d retries, want 249", got)
		}
		if n := w.table.statements("NextDue") - before; n != 1 {
			t.Errorf("it was asked %d times when the next is due, want once, behind all", n)
		}
	})
}

// Behind an outage the first pause is a short one again.
func TestPausesOfAnOutageDoNotOutliveIt(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		var tries []time.Time
		failing := func(times int) {
			tries = nil
			w.table.fault(func(step string) (bool, error) {
				if step != "DueFailures" {
					return true, nil
				}
				tries = append(tries, time.Now())
				if times--; times >= 0 {
					return false, errDown
				}
				return true, nil
			})
		}
		failing(20)
		later(5 * time.Minute)
		failing(1)
		later(20 * time.Second)
		w.table.fault(nil)
		if len(tries) < 2 || tries[1].Sub(tries[0]) > time.Second {
			t.Errorf("tries at %v, want the second within a second", tries)
		}
	})
}

// What was acked says nothing about a row that somebody has changed meanwhile.
func TestAnAckEndsOnlyItsOwnAttempt(t *testing.T) {
	for name, change := range map[string]func(*delivery.Failure){
		"redelivered": func(f *delivery.Failure) { f.Round++ },
		"dead":        func(f *delivery.Failure) { f.State = delivery.Dead },
		"discarded":   func(f *delivery.Failure) { f.State = delivery.Discarded },
		"reported":    func(f *delivery.Failure) { f.Attempts++ },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				id := w.event(t)
				w.report(t, "crm", events.HookFailed{EventID: id, Attempt: 1})
				later(7 * time.Second)
				w.table.change("crm", id, change)
				want := w.table.row("crm", id)
				w.Acked("crm", want.StreamSeq)
				synctest.Wait()
				if got := w.table.row("crm", id); got != want {
					t.Errorf("failure = %+v, want %+v", got, want)
				}
			})
		})
	}
}

// A consumer is looked at soon, then more and more seldom, and no more once all
// that was published has an outcome.
func TestConsumersAreLookedAtAsLongAsThereIsSomethingToSee(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		looks := 0
		w.bus.mu.Lock()
		w.bus.faults = func(step string) (bool, error) {
			if step == "Consumers" {
				looks++
			}
			return true, nil
		}
		w.bus.mu.Unlock()
		id := w.due(t, 1)[0]
		later(6 * time.Second)
		if n := w.table.statements("RetriesDone"); looks == 0 || n != 0 {
			t.Errorf("%d looks, %d statements, want none before anything is acked", looks, n)
		}
		w.bus.ack("crm", w.table.row("crm", id).StreamSeq)
		later(8 * time.Second)
		if f := w.table.row("crm", id); f.State != delivery.Done {
			t.Errorf("failure = %+v, want it done within the next of the short looks", f)
		}
		looks = 0
		later(10 * time.Minute)
		if looks != 0 {
			t.Errorf("%d looks at a consumer without retries, want none", looks)
		}
	})
}

func TestTheLastRetriesOfVeryManyAreFoundALittleLater(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		ids := w.due(t, 10_001)
		later(6 * time.Second)
		first, last := w.table.row("crm", ids[0]), w.table.row("crm", ids[10_000])
		for _, f := range []delivery.Failure{first, last} {
			w.bus.ack("crm", f.StreamSeq)
			w.Acked("crm", f.StreamSeq)
		}
		synctest.Wait()
		if state := w.table.row("crm", first.EventID).State; state != delivery.Done {
			t.Errorf("the first is %s, want done", state)
		}
		if state := w.table.row("crm", last.EventID).State; state != delivery.Waiting {
			t.Errorf("what is behind the 10,000 that a process remembers is %s, want waiting", state)
		}
	})
}

// The ack of a message that this process was told to have failed costs nothing.
func TestAcksOfReportedMessagesAskNobody(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		for seq := range uint64(100) {
			w.report(t, "crm", events.HookFailed{EventID: w.event(t), Attempt: 1, StreamSeq: 1000 + seq})
		}
		for seq := range uint64(100) {
			w.Acked("crm", 1000+seq)
		}
		synctest.Wait()
		if n := w.table.statements("FailedAt"); n != 0 {
			t.Errorf("%d statements, want none", n)
		}
	})
}

// What is stale is found among more than a page of others, and is no retry that
// is still to come.
func TestOnlyPublishedRetriesAreStale(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		old := time.Now().Add(-140 * time.Hour)
		for range 600 {
			w.table.given(delivery.Failure{Hook: "other", EventID: w.event(t), State: delivery.Waiting, Attempts: 1, Round: 1, LastAt: old, NextAt: time.Now().Add(time.Hour)})
		}
		id := w.event(t)
		w.table.given(delivery.Failure{Hook: "crm", EventID: id, State: delivery.Waiting, Attempts: 1, Round: 1, LastAt: old, StreamSeq: 9})
		later(time.Minute)
		if crm, other := len(w.bus.retries("crm")), len(w.bus.retries("other")); crm != 1 || other != 0 {
			t.Errorf("%d retries, and %d of what is due later, want 1 and none", crm, other)
		}
	})
}

// A letter that somebody else takes first is not counted.
func TestALostRaceIsNoRedelivery(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.kill(t, "crm", 3)
	saves := 0
	w.table.fault(func(step string) (bool, error) {
		if step == "SaveFailure" {
			saves++
		}
		return step != "SaveFailure" || saves != 2, nil
	})
	if n, err := w.Redeliver(t.Context(), delivery.FailureQuery{}, anna); n != 2 || err != nil {
		t.Errorf("Redeliver = %d, %v, want 2 of 3", n, err)
	}
}

func TestTheReasonOfADiscardIsOneCleanLine(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.kill(t, "crm", 1)
	if n, err := w.Discard(t.Context(), delivery.FailureQuery{}, " not\n needed\x1b "+strings.Repeat("ä", 300), anna); n != 1 || err != nil {
		t.Fatalf("Discard = %d, %v", n, err)
	}
	want := `"reason":"not needed ` + strings.Repeat("ä", 188) + `…"`
	if got := string(w.table.said[0].Data); !strings.Contains(got, want) {
		t.Errorf("event = %s, want %s", got, want)
	}
	var invalid *delivery.Invalid
	if _, err := w.Discard(t.Context(), delivery.FailureQuery{}, " \n", anna); !errors.As(err, &invalid) {
		t.Errorf("Discard without a reason = %v, want *Invalid", err)
	}
}

// A hook that does not say which message failed does not make the former one unknown.
func TestAReportWithoutItsMessageKeepsTheFormer(t *testing.T) {
	t.Parallel()
	w := newWorld()
	id := w.event(t)
	w.report(t, "crm", events.HookFailed{EventID: id, Attempt: 1, StreamSeq: 20})
	w.report(t, "crm", events.HookFailed{EventID: id, Attempt: 2})
	if f := w.table.row("crm", id); f.Attempts != 2 || f.StreamSeq != 20 {
		t.Errorf("failure = %+v, want two attempts at message 20", f)
	}
	if slices.Contains(w.table.types(t), "hook.dead") {
		t.Error("it is said to be dead")
	}
}
