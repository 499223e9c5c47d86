package delivery_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
)

func TestWhatIsDueIsPublishedToItsHookOnly(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		id := w.event(t)
		w.report(t, "crm", events.HookFailed{EventID: id, Attempt: 1, StreamSeq: 7, Reason: "no"})
		later(3 * time.Second)
		if got := w.bus.retries("crm"); len(got) != 0 {
			t.Fatalf("retries after 3 s = %v, want none: the ladder begins with 5 s", got)
		}
		later(4 * time.Second)
		got := w.bus.retries("crm")
		if len(got) != 1 || len(w.bus.retries("other")) != 0 {
			t.Fatalf("retries = %v and %v, want one of crm", got, w.bus.retries("other"))
		}
		payload, _, _ := w.log.EventPayload(t.Context(), uuid.MustParse(id))
		if r := got[0]; r.MessageID != "crm/"+id+"/1.2" || r.Attempt != 2 || r.EventID != id || string(r.Payload) != string(payload) {
			t.Errorf("retry = %+v, want attempt 2 of the event as it is in the log", r)
		}
		if f := w.table.row("crm", id); !f.NextAt.IsZero() || f.StreamSeq != 1 {
			t.Errorf("failure = %+v, want it published", f)
		}
	})
}

func TestARetryThatIsAckedIsDoneWithinASecond(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		told, found := w.event(t), w.event(t)
		for _, id := range []string{told, found} {
			w.report(t, "crm", events.HookFailed{EventID: id, Attempt: 1})
		}
		later(7 * time.Second)
		// The sample of the second is told, although the first is still pending.
		first, second := w.table.row("crm", told), w.table.row("crm", found)
		if first.StreamSeq > second.StreamSeq {
			told, found, first, second = found, told, second, first
		}
		w.bus.ack("crm", second.StreamSeq)
		w.Acked("crm", second.StreamSeq)
		synctest.Wait()
		if f := w.table.row("crm", found); f.State != delivery.Done {
			t.Errorf("what was acked = %+v, want done", f)
		}
		if f := w.table.row("crm", told); f.State != delivery.Waiting {
			t.Errorf("what was not acked = %+v, want waiting", f)
		}
		// That of the first is lost.
		w.bus.ack("crm", first.StreamSeq)
		later(seldom)
		if f := w.table.row("crm", told); f.State != delivery.Done {
			t.Errorf("what was acked without a sample = %+v, want done", f)
		}
	})
}

// seldom is longer than any pause between two looks at a consumer, but a minute.
const seldom = 31 * time.Second

func TestARetryThatIsReportedAndAckedIsNotDone(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		id := w.event(t)
		w.report(t, "crm", events.HookFailed{EventID: id, Attempt: 1})
		later(7 * time.Second)
		seq := w.table.row("crm", id).StreamSeq
		w.report(t, "crm", events.HookFailed{EventID: id, Attempt: 2, StreamSeq: seq})
		w.bus.ack("crm", seq)
		w.Acked("crm", seq)
		later(20 * time.Second) // the second wait is 30 s
		if f := w.table.row("crm", id); f.State != delivery.Waiting || f.Attempts != 2 {
			t.Errorf("failure = %+v, want it waiting after two attempts", f)
		}
	})
}

// A process that starts does not know what others have published.
func TestOutcomesOfOtherProcessesAreFound(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		id := w.event(t)
		w.bus.set([]delivery.Retry{{Hook: "crm"}})
		w.bus.ack("crm", 1)
		w.table.given(delivery.Failure{Hook: "crm", EventID: id, State: delivery.Waiting, Attempts: 1, Round: 1, StreamSeq: 1, LastAt: time.Now()})
		later(2 * time.Second)
		if f := w.table.row("crm", id); f.State != delivery.Done {
			t.Errorf("failure = %+v, want done", f)
		}
	})
}

func TestAnEventThatIsNotLoggedYetWaitsAndOneThatIsGoneIsDead(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		id := uuid.Must(uuid.NewV7()).String()
		w.report(t, "crm", events.HookFailed{EventID: id, Attempt: 1, Reason: "no"})
		later(20 * time.Hour)
		if f := w.table.row("crm", id); f.State != delivery.Waiting || f.NextAt.IsZero() {
			t.Errorf("failure after 20 h = %+v, want it waiting", f)
		}
		later(5 * time.Hour)
		if f := w.table.row("crm", id); f.State != delivery.Dead || f.Reason != "gone: the event log does not hold the event any more" {
			t.Errorf("failure after 25 h = %+v, want it dead, gone", f)
		}
		if types := w.table.types(t); len(types) != 0 {
			t.Errorf("events = %v, want none about what the log does not hold", types)
		}
	})
}

// A hook does not get an event that it does not declare by reporting it.
func TestAnEventThatIsNotTheHooksIsNotPublished(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		id := w.log.add(t, events.SessionRevoked{SessionID: uuid.NewString(), IdentityID: uuid.NewString(), Reason: "logout"}, time.Now())
		w.report(t, "other", events.HookFailed{EventID: id, Attempt: 1, After: 1})
		later(71 * time.Hour)
		if f := w.table.row("other", id); f.State != delivery.Waiting {
			t.Errorf("failure after 71 h = %+v, want it waiting for a newer file", f)
		}
		later(2 * time.Hour)
		if f := w.table.row("other", id); f.State != delivery.Dead || f.Reason != "gone: the hook does not get session.revoked" {
			t.Errorf("failure after 73 h = %+v, want it dead", f)
		}
		if got := w.bus.retries("other"); len(got) != 0 {
			t.Errorf("retries = %v, want none", got)
		}
	})
}

// Sequences of a stream that is no more say nothing about the next one.
func TestRetriesThatANewStreamLacksArePublishedAgain(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		id := w.event(t)
		w.report(t, "crm", events.HookFailed{EventID: id, Attempt: 1})
		later(7 * time.Second)
		w.bus.lose()
		w.bus.set([]delivery.Retry{{Hook: "crm"}, {Hook: "crm"}})
		w.bus.ack("crm", 1)
		w.bus.ack("crm", 2)
		later(lookAll)
		if f := w.table.row("crm", id); f.State != delivery.Waiting || !f.NextAt.IsZero() || f.StreamSeq != 3 {
			t.Fatalf("failure = %+v, want its retry in the new stream", f)
		}
		w.bus.ack("crm", 3)
		later(lookAll)
		if f := w.table.row("crm", id); f.State != delivery.Done {
			t.Errorf("failure = %+v, want done", f)
		}
		if got := w.bus.retries("crm"); len(got) != 3 {
			t.Errorf("the new stream has %d messages, want 3: one retry", len(got))
		}
	})
}

// lookAll is longer than it takes until all consumers are looked at.
const lookAll = 61 * time.Second

func TestTheWholeLadder(t *testing.T) {
	for _, hook := range []string{"crm", "shop"} {
		t.Run(hook, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				kind := map[string]delivery.Kind{"crm": delivery.Worker, "shop": delivery.Webhook}[hook]
				ladder := delivery.LadderOf(kind)
				id := w.event(t)
				for attempt, step := range ladder {
					w.report(t, hook, events.HookFailed{EventID: id, Attempt: attempt + 1, StreamSeq: w.table.row(hook, id).StreamSeq})
					later(step*6/5 + time.Second)
					if got := w.bus.retries(hook); len(got) != attempt+1 || got[attempt].Attempt != attempt+2 {
						t.Fatalf("retries after attempt %d and %v = %+v", attempt+1, step, got)
					}
				}
				reply := w.report(t, hook, events.HookFailed{EventID: id, Attempt: len(ladder) + 1, StreamSeq: w.table.row(hook, id).StreamSeq, Reason: "still no"})
				if f := w.table.row(hook, id); reply.State != "dead" || f.State != delivery.Dead || f.Reason != "still no" {
					t.Errorf("failure = %+v, want dead with its reason", f)
				}
			})
		})
	}
}

func TestAHookThatFailsAllTheTimeIsPausedForLongerAndLonger(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		seq := uint64(1000)
		fail := func(n int) {
			for range n {
				seq++
				w.report(t, "crm", events.HookFailed{EventID: w.event(t), Attempt: 1, StreamSeq: seq})
				w.Acked("crm", seq) // it reports, then acks
			}
			synctest.Wait()
		}
		fail(19)
		if got := w.bus.ordered(); len(got) != 0 {
			t.Fatalf("paused after 19 failures until %v", got)
		}
		for n, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
			fail(5) // those that were under way count once
			got := w.bus.ordered()
			if len(got) != n+1 {
				t.Fatalf("pauses = %v, want %d", got, n+1)
			}
			if pause := time.Until(got[n]); pause != want*time.Second {
				t.Errorf("pause %d is %v, want %v", n+1, pause, want*time.Second)
			}
			if w.Paused() != 1 {
				t.Errorf("Paused() = %d, want 1", w.Paused())
			}
			later(want*time.Second + time.Millisecond)
		}
		if types := w.table.types(t); !slices.Equal(types, []string{"hook.paused"}) {
			t.Errorf("events = %v, want the first pause only", types)
		}
		fail(1)
		w.Acked("crm", seq+1) // a message that was not reported
		synctest.Wait()
		if got := w.bus.ordered(); !got[len(got)-1].IsZero() || w.Paused() != 0 {
			t.Errorf("pauses = %v, want the last one ended by a success", got)
		}
		fail(19)
		if got := len(w.bus.ordered()); got != 13 {
			t.Errorf("%d pauses, want none before 20 failures after a success", got-12)
		}
	})
}

// A pause that cannot be told is not made; the next failure orders it again.
func TestAPauseIsTold(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.table.mu.Lock()
		w.table.faults = func(step string) (bool, error) {
			if step == "Append" {
				return false, errDown
			}
			return true, nil
		}
		w.table.mu.Unlock()
		for n := range 20 {
			w.report(t, "crm", events.HookFailed{EventID: w.event(t), Attempt: 1, StreamSeq: uint64(1000 + n)})
		}
		later(time.Millisecond)
		if got := w.bus.ordered(); len(got) > 0 {
			t.Errorf("pauses = %v without an event", got)
		}
		w.table.mu.Lock()
		w.table.faults = nil
		w.table.mu.Unlock()
		w.report(t, "crm", events.HookFailed{EventID: w.event(t), Attempt: 1, StreamSeq: 2000})
		later(time.Millisecond)
		if types := w.table.types(t); len(w.bus.ordered()) != 1 || !slices.Equal(types, []string{"hook.paused"}) {
			t.Errorf("pauses = %v, told %q, want one of each", w.bus.ordered(), types)
		}
	})
}

func TestSomebodysOwnPauseIsLeftAlone(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.bus.paused = map[string]time.Time{"crm": time.Now().Add(time.Hour)}
		for n := range 30 {
			w.report(t, "crm", events.HookFailed{EventID: w.event(t), Attempt: 1, StreamSeq: uint64(n + 1000)})
		}
		synctest.Wait()
		w.Acked("crm", 2000)
		synctest.Wait()
		if got := w.bus.ordered(); len(got) != 0 {
			t.Errorf("pauses = %v, want the operator's only", got)
		}
	})
}

// What is acked costs nothing unless its hook fails.
func TestAcksOfHealthyHooksAskNobody(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.report(t, "other", events.HookFailed{EventID: w.event(t), Attempt: 1, StreamSeq: 3})
		asked := func() int { return w.table.statements("FailedAt") + w.table.statements("Failure") }
		before := asked()
		for n := range 10_000 {
			w.Acked("crm", uint64(n))
		}
		synctest.Wait()
		if n := asked() - before; n != 0 {
			t.Errorf("10,000 acks cost %d statements, want none", n)
		}
	})
}

// A retry that nobody takes for days is published again before the stream drops
// it, or if the stream has lost it.
func TestRetriesOutliveTheStream(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		id := w.event(t)
		long, longer := time.Now().Add(-118*time.Hour), time.Now().Add(-121*time.Hour)
		waiting := delivery.Failure{EventID: id, State: delivery.Waiting, Attempts: 1, Round: 1, StreamSeq: 4, FirstAt: long, LastAt: long}
		for hook, last := range map[string]time.Time{"crm": long, "other": longer, "removed": longer} {
			f := waiting
			f.Hook, f.LastAt = hook, last
			w.table.given(f)
		}
		later(time.Minute)
		if got := len(w.bus.retries("crm")); got != 0 {
			t.Errorf("%d retries of what waits for less than five days, want none", got)
		}
		if got := len(w.bus.retries("other")); got != 1 {
			t.Errorf("%d retries of what waits for five days, want it again", got)
		}
		if f := w.table.row("removed", id); f.State != delivery.Dead || f.Reason != "gone: there is no such hook any more" {
			t.Errorf("failure of a removed hook = %+v, want it dead", f)
		}
		later(4 * time.Hour)
		if crm, other := len(w.bus.retries("crm")), len(w.bus.retries("other")); crm != 1 || other != 1 {
			t.Errorf("%d and %d retries after four hours more, want one of each", crm, other)
		}
	})
}

func TestProcessesShareWhatIsDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 3)
		for range cap(ended) {
			go func() { ended <- w.service().Run(ctx) }()
		}
		ids := map[string]bool{}
		for range 450 {
			id := w.event(t)
			ids[id] = true
			w.report(t, "crm", events.HookFailed{EventID: id, Attempt: 1})
		}
		later(12 * time.Second)
		for _, r := range w.bus.retries("crm") {
			if !ids[r.EventID] {
				t.Errorf("%s was published twice", r.EventID)
			}
			delete(ids, r.EventID)
		}
		if len(ids) != 0 {
			t.Errorf("%d of 450 were not published", len(ids))
		}
		cancel()
		for range cap(ended) {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestABusThatIsAwayIsWaitedFor(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.bus.mu.Lock()
		tries := 0
		w.bus.faults = func(step string) (bool, error) {
			if step != "PublishRetry" {
				return true, nil
			}
			tries++
			return false, fmt.Errorf("publish: %w", errDown)
		}
		w.bus.mu.Unlock()
		id := w.event(t)
		w.report(t, "crm", events.HookFailed{EventID: id, Attempt: 1})
		later(10 * time.Minute)
		w.bus.mu.Lock()
		w.bus.faults = nil
		w.bus.mu.Unlock()
		if tries < 2 || tries > 30 {
			t.Errorf("it was tried %d times in 10 minutes, want one for each lease", tries)
		}
		later(time.Minute)
		if got := w.bus.retries("crm"); len(got) != 1 {
			t.Errorf("retries = %v, want one once the bus is back", got)
		}
	})
}
