package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
)

var anna = delivery.Author{Actor: "admin:anna", RequestID: "request-1"}

// kill makes dead letters of a hook and gives their events' ids.
func (w *world) kill(t *testing.T, hook string, n int) (ids []string) {
	t.Helper()
	for range n {
		id := w.event(t)
		ids = append(ids, id)
		w.report(t, hook, events.HookFailed{EventID: id, Attempt: 1, StreamSeq: 50, Permanent: true, Reason: "no"})
	}
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	w.table.said = nil
	return ids
}

func TestRedeliverBeginsTheLadderAnewForOneHook(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		id := w.kill(t, "crm", 1)[0]
		w.report(t, "other", events.HookFailed{EventID: id, Attempt: 1, Permanent: true})
		n, err := w.Redeliver(t.Context(), delivery.FailureQuery{Hook: "crm", EventID: id}, anna)
		if n != 1 || err != nil {
			t.Fatalf("Redeliver = %d, %v, want 1", n, err)
		}
		synctest.Wait()
		got := w.bus.retries("crm")
		if len(got) != 1 || got[0].EventID != id || got[0].Attempt != 1 || got[0].MessageID != "crm/"+id+"/2.1" {
			t.Fatalf("retries = %+v, want attempt 1 of round 2, at once", got)
		}
		if len(w.bus.retries("other")) != 0 || w.table.row("other", id).State != delivery.Dead {
			t.Errorf("the other hook's letter was touched: %+v", w.table.row("other", id))
		}
		said := w.table.said[len(w.table.said)-1]
		if said.Type != "hook.redelivered" || said.Actor != "admin:anna" || said.RequestID != "request-1" {
			t.Errorf("event = %+v, want hook.redelivered by anna", said)
		}
		w.table.types(t)
		for attempt := range 2 { // it fails again
			w.report(t, "crm", events.HookFailed{EventID: id, Attempt: attempt + 1, StreamSeq: w.table.row("crm", id).StreamSeq})
			later(40 * time.Second)
		}
		if f := w.table.row("crm", id); f.State != delivery.Waiting || f.Round != 2 || f.Attempts != 2 {
			t.Errorf("failure = %+v, want it waiting after 2 attempts of round 2", f)
		}
	})
}

func TestRedeliverAndDiscardTakeWhatTheQuerySelects(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		query func(ids []string) delivery.FailureQuery
		want  int
	}{
		{"all", func([]string) delivery.FailureQuery { return delivery.FailureQuery{} }, 530},
		{"of a hook", func([]string) delivery.FailureQuery { return delivery.FailureQuery{Hook: "crm"} }, 520},
		{"at most", func([]string) delivery.FailureQuery { return delivery.FailureQuery{Hook: "crm", Limit: 510} }, 510},
		{"behind", func([]string) delivery.FailureQuery { return delivery.FailureQuery{Hook: "crm", After: 510} }, 10},
		{"one", func(ids []string) delivery.FailureQuery { return delivery.FailureQuery{Hook: "crm", EventID: ids[3]} }, 1},
		{"none", func([]string) delivery.FailureQuery {
			return delivery.FailureQuery{Hook: "shop", State: delivery.Waiting}
		}, 0},
	} {
		for _, verb := range []string{"redeliver", "discard"} {
			t.Run(c.name+" "+verb, func(t *testing.T) {
				t.Parallel()
				w := newWorld()
				ids := w.kill(t, "crm", 520)
				w.kill(t, "other", 10)
				w.report(t, "shop", events.HookFailed{EventID: ids[0], Attempt: 1}) // waits
				state, eventType := delivery.Waiting, "hook.redelivered"
				var n int
				var err error
				if verb == "redeliver" {
					n, err = w.Redeliver(t.Context(), c.query(ids), anna)
				} else {
					state, eventType = delivery.Discarded, "hook.discarded"
					n, err = w.Discard(t.Context(), c.query(ids), "not needed", anna)
				}
				if n != c.want || err != nil {
					t.Fatalf("%s = %d, %v, want %d", verb, n, err, c.want)
				}
				changed := 0
				for _, f := range w.table.rows {
					if f.State == state && f.Hook != "shop" {
						changed++
					}
				}
				if types := w.table.types(t); changed != c.want || len(types) != c.want || slices.ContainsFunc(types, func(s string) bool { return s != eventType }) {
					t.Errorf("%d letters and %d events changed, want %d", changed, len(types), c.want)
				}
			})
		}
	}
}

func TestDiscardNeedsAReasonAndStays(t *testing.T) {
	t.Parallel()
	w := newWorld()
	id := w.kill(t, "crm", 1)[0]
	var invalid *delivery.Invalid
	if _, err := w.Discard(t.Context(), delivery.FailureQuery{}, " \n", anna); !errors.As(err, &invalid) {
		t.Errorf("Discard without a reason = %v, want an *Invalid", err)
	}
	if n, err := w.Discard(t.Context(), delivery.FailureQuery{}, "spam", anna); n != 1 || err != nil {
		t.Fatalf("Discard = %d, %v", n, err)
	}
	if reply := w.report(t, "crm", events.HookFailed{EventID: id, Attempt: 2, StreamSeq: 99}); reply.State != "discarded" {
		t.Errorf("a late report gave %+v, want discarded", reply)
	}
	if n, err := w.Redeliver(t.Context(), delivery.FailureQuery{}, anna); n != 0 || err != nil {
		t.Errorf("Redeliver = %d, %v, want none: a discarded one stays", n, err)
	}
}

func TestRedeliverThatFailsSaysHowFarItCame(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.kill(t, "crm", 10)
	n := 0
	w.table.faults = func(step string) (bool, error) {
		if step == "SaveFailure" {
			n++
		}
		if n > 4 {
			return false, errDown
		}
		return true, nil
	}
	if done, err := w.Redeliver(t.Context(), delivery.FailureQuery{}, anna); done != 4 || !errors.Is(err, errDown) {
		t.Errorf("Redeliver = %d, %v, want 4 and the error", done, err)
	}
	w.table.faults = nil
	if done, err := w.Redeliver(t.Context(), delivery.FailureQuery{}, anna); done != 6 || err != nil {
		t.Errorf("Redeliver again = %d, %v, want the other 6", done, err)
	}
}

func TestReplayReachesOneHookAtItsPaceAndIsResumed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		began := time.Now()
		var want []string
		for n := range 500 {
			at := began.Add(time.Duration(n) * time.Second)
			id := w.log.add(t, events.IdentityCreated{IdentityID: uuid.NewString()}, at)
			w.log.add(t, events.IdentityDeleted{IdentityID: uuid.NewString()}, at)
			if n >= 100 {
				want = append(want, id)
			}
		}
		later(time.Hour)
		o := delivery.ReplayOptions{Hook: "crm", Since: began.Add(100 * time.Second), PerSecond: 50}
		ctx, cancel := context.WithCancel(t.Context())
		started := time.Now()
		r, err := w.Replay(ctx, o, func(r delivery.Replayed) {
			if r.Count == 150 {
				cancel()
			}
			if r.Count == 10 { // what comes meanwhile is no part of it
				w.log.add(t, events.IdentityCreated{IdentityID: uuid.NewString()}, time.Now())
			}
		})
		if !errors.Is(err, context.Canceled) || r.Count != 150 {
			t.Fatalf("Replay that was ended = %+v, %v", r, err)
		}
		if took := time.Since(started); took < 2900*time.Millisecond || took > 3100*time.Millisecond {
			t.Errorf("150 events at 50 a second took %v, want 3 s", took)
		}
		o.ID, o.After = r.ID, r.After
		if r, err = w.Replay(t.Context(), o, nil); err != nil || r.Count < 250 {
			t.Fatalf("Replay again = %+v, %v, want the other 250", r, err)
		}
		var got []string
		for _, m := range w.bus.retries("crm") {
			if m.MessageID != fmt.Sprintf("crm/%s/replay.%s", m.EventID, r.ID) || m.Attempt != 1 {
				t.Errorf("message = %+v", m)
			}
			got = append(got, m.EventID)
		}
		if !slices.Equal(got[:400], want) || len(w.bus.retries("other")) != 0 {
			t.Errorf("replayed %d events, want those 400 since then in their order", len(got))
		}
	})
}

func TestReplayRefusesWhatTheHookDoesNotGet(t *testing.T) {
	t.Parallel()
	w := newWorld()
	var invalid *delivery.Invalid
	for _, o := range []delivery.ReplayOptions{{Hook: "crm", Types: []string{"session.issued"}}, {Hook: "gate"}} {
		if _, err := w.Replay(t.Context(), o, nil); !errors.As(err, &invalid) {
			t.Errorf("Replay(%+v) = %v, want an *Invalid", o, err)
		}
	}
	if _, err := w.Replay(t.Context(), delivery.ReplayOptions{Hook: "nobody"}, nil); !errors.Is(err, delivery.ErrNoHook) {
		t.Errorf("Replay of an unknown hook = %v, want ErrNoHook", err)
	}
}

// A hook that fails at a replayed event has a failure like any other, also where
// it had one before.
func TestAReplayedEventThatFailsIsNotLost(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		id := w.event(t)
		w.report(t, "crm", events.HookFailed{EventID: id, Attempt: 1})
		later(7 * time.Second)
		w.bus.ack("crm", 1)
		w.Acked("crm", 1)
		later(time.Second)
		if _, err := w.Replay(t.Context(), delivery.ReplayOptions{Hook: "crm"}, nil); err != nil {
			t.Fatal(err)
		}
		w.report(t, "crm", events.HookFailed{EventID: id, Attempt: 1, StreamSeq: 2})
		later(7 * time.Second)
		if got := w.bus.retries("crm"); len(got) != 3 || got[2].MessageID != "crm/"+id+"/2.2" {
			t.Errorf("retries = %+v, want the replayed one to come again", got)
		}
	})
}

// TestAReplayWhoseTimeIsUpGoesOn is for whoever asks for it step by step: the pace
// gave up before the deadline that it would have missed, with an error that looked
// like a failure, and each step had an end of its own.
func TestAReplayWhoseTimeIsUpGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for range 100 {
			w.log.add(t, events.IdentityCreated{IdentityID: uuid.NewString()}, time.Now())
		}
		later(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second+5*time.Millisecond)
		defer cancel()
		o := delivery.ReplayOptions{Hook: "crm", PerSecond: 50, By: anna}
		r, err := w.Replay(ctx, o, nil)
		if !errors.Is(err, context.DeadlineExceeded) || r.Count < 40 || r.Count > 60 {
			t.Fatalf("Replay = %+v, %v, want some and that the time is up", r, err)
		}
		w.log.add(t, events.IdentityCreated{IdentityID: uuid.NewString()}, time.Now()) // what comes meanwhile is no part of it
		later(time.Second)
		former := r.Count
		o.ID, o.After, o.Until = r.ID, r.After, r.Until
		if r, err = w.Replay(t.Context(), o, nil); err != nil || former+r.Count != 100 {
			t.Errorf("Replay again = %+v, %v after %d, want 100 in all", r, err, former)
		}
		if said := w.table.types(t); !slices.Equal(said, []string{"admin.acted"}) {
			t.Errorf("events %q, want one for the replay", said)
		}
	})
}
