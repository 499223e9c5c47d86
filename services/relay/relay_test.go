package relay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usher-auth/usher/events"
)

func nothing(*world) {}

func TestPublishesAndMovesInOrder(t *testing.T) {
	run(t, func(w *world) {
		for _, identity := range []string{"anna", "ben", "anna", "", "ben", ""} {
			w.outbox.add(identity)
		}
	}, func(w *world) {
		equal(t, "the stream", w.stream.ids(), []string{"e1", "e2", "e4", "e6", "e3", "e5"})
		equal(t, "the event log", w.outbox.logged(), []string{"e1", "e2", "e3", "e4", "e5", "e6"})
		for _, p := range w.outbox.log {
			if want := w.stream.seq[p.EventID]; p.StreamSeq != want {
				t.Errorf("stream sequence of %s in the log = %d, want %d", p.EventID, p.StreamSeq, want)
			}
		}
		m := w.stream.stored[0]
		if m.Type != "identity.created" || m.TraceParent != "trace of e1" || !strings.Contains(string(m.Payload), `"e1"`) {
			t.Errorf("published %+v, want the row's type, payload and trace", m)
		}
	})
}

func TestOneEventOfAnIdentityIsInFlight(t *testing.T) {
	run(t, func(w *world) {
		for _, identity := range []string{"anna", "anna", "ben", "anna", "ben"} {
			w.outbox.add(identity)
		}
	}, func(w *world) {
		want := [][]string{{"e1", "e3"}, {"e2", "e5"}, {"e4"}}
		if got := w.stream.tries(); !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("rounds = %v, want %v", got, want)
		}
		if w.outbox.windows() != 1 {
			t.Errorf("one window was moved %d times, want once", w.outbox.windows())
		}
	})
}

func TestManyEventsArePublishedTogetherInTheirOrder(t *testing.T) {
	run(t, func(w *world) {
		for range 8 {
			w.outbox.add("anna")
			w.outbox.add("ben")
		}
	}, func(w *world) {
		all := numbered(16)
		if got := w.stream.tries(); len(got) != 1 {
			t.Errorf("rounds = %v, want one", got)
		}
		equal(t, "the stream", w.stream.ids(), all)
		equal(t, "the event log", w.outbox.logged(), all)
	})
}

func TestWhatIsRefusedTogetherIsPublishedRoundByRound(t *testing.T) {
	run(t, func(w *world) {
		for range 16 {
			w.outbox.add("anna")
		}
		refused := false
		w.stream.fault = func(m events.Message) (bool, error) {
			if m.ID == "e16" && !refused {
				refused = true
				return false, errors.New("the batch is refused")
			}
			return true, nil
		}
	}, func(w *world) {
		if got := w.stream.tries(); len(got) != 16 {
			t.Errorf("rounds = %v, want one for each event", got)
		}
		equal(t, "the event log", w.outbox.logged(), numbered(16))
	})
}

// numbered are the ids of the first n events of an outbox.
func numbered(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprint("e", i+1))
	}
	return ids
}

func TestMoreLoadMakesFewerWindows(t *testing.T) {
	for events, gathered := range map[int]time.Duration{1: 17 * time.Millisecond, 4: 32 * time.Millisecond, 8: 80 * time.Millisecond, 100: 192 * time.Millisecond} {
		t.Run(gathered.String(), func(t *testing.T) {
			run(t, func(w *world) { w.Gather = 16 * time.Millisecond }, func(w *world) {
				later(time.Second / 2)
				for range events {
					w.outbox.add("")
				}
				w.wake()
				synctest.Wait()
				w.outbox.add("")
				w.wake()
				later(gathered - 1)
				if got := len(w.stream.ids()); got != events {
					t.Errorf("%d events are published before %v, want the first window's %d", got, gathered, events)
				}
				later(1)
				if got := len(w.stream.ids()); got != events+1 {
					t.Errorf("%d events are published after %v, want %d", got, gathered, events+1)
				}
			})
		})
	}
}

func TestKickWakesAtOnceAndThePollWithoutIt(t *testing.T) {
	run(t, nothing, func(w *world) {
		later(100 * time.Millisecond)
		w.outbox.add("anna")
		later(time.Millisecond)
		equal(t, "the stream before kick and poll", w.stream.ids(), nil)
		w.wake()
		synctest.Wait()
		equal(t, "the stream after the kick", w.stream.ids(), []string{"e1"})
		w.outbox.add("anna")
		later(time.Second)
		equal(t, "the stream after the poll", w.stream.ids(), []string{"e1", "e2"})
	})
}

func TestWithoutAnythingToDoItOnlyPolls(t *testing.T) {
	run(t, func(w *world) { w.Kick = nil }, func(w *world) {
		later(time.Minute)
		if got := w.outbox.reads(); got < 60 || got > 61 {
			t.Errorf("the outbox was read %d times in a minute, want once a second", got)
		}
		if got := w.stream.tries(); len(got) != 0 {
			t.Errorf("nothing was published %d times", len(got))
		}
	})
}

func TestManyKicksShareAWindow(t *testing.T) {
	run(t, func(w *world) { w.Gather = 5 * time.Millisecond }, func(w *world) {
		later(time.Second / 2)
		w.outbox.add("first")
		w.wake()
		synctest.Wait()
		equal(t, "the stream after a lone event", w.stream.ids(), []string{"e1"})
		before := w.outbox.reads()
		for range 50 { // one each 100 µs
			w.outbox.add("")
			w.wake()
			later(100 * time.Microsecond)
		}
		later(5 * time.Millisecond)
		if got := len(w.stream.ids()); got != 51 {
			t.Errorf("%d events are published, want 51", got)
		}
		if got := w.outbox.reads() - before; got > 3 {
			t.Errorf("50 events within 5 ms took %d windows, want them gathered in at most 3", got)
		}
	})
}

func TestEmptiesTheOutboxWithoutWaitingForTheNextPoll(t *testing.T) {
	run(t, func(w *world) {
		w.Window = 10
		for range 95 {
			w.outbox.add("")
		}
	}, func(w *world) {
		if got := w.outbox.waiting(); got != 0 {
			t.Errorf("%d events wait, want none", got)
		}
		if w.outbox.windows() != 10 {
			t.Errorf("95 events were moved in %d windows of 10, want 10", w.outbox.windows())
		}
	})
}

func TestLaterEventsWaitForTheFormerOfTheirIdentity(t *testing.T) {
	run(t, func(w *world) {
		for _, identity := range []string{"anna", "ben", "anna", "ben", "anna"} {
			w.outbox.add(identity)
		}
		w.stream.fault = func(m events.Message) (bool, error) {
			if m.ID == "e1" {
				return false, errors.New("payload is too large")
			}
			return true, nil
		}
	}, func(w *world) {
		equal(t, "the stream", w.stream.ids(), []string{"e2", "e4"})
		equal(t, "the event log", w.outbox.logged(), []string{"e2", "e4"})
		w.stream.setFault(nil)
		later(time.Second)
		equal(t, "the stream in the end", w.stream.ids(), []string{"e2", "e4", "e1", "e3", "e5"})
	})
}

func TestARefusedEventHoldsBackNobodyElse(t *testing.T) {
	run(t, func(w *world) {
		poison := w.outbox.add("mallory")
		w.stream.fault = func(m events.Message) (bool, error) {
			if m.ID == poison {
				return false, errors.New("payload is too large")
			}
			return true, nil
		}
		w.outbox.add("anna")
	}, func(w *world) {
		for range 100 {
			w.outbox.add("ben")
			w.wake()
			synctest.Wait()
		}
		if got := len(w.outbox.logged()); got != 101 {
			t.Errorf("%d events are logged, want all 101 that are not refused", got)
		}
		if got := w.log.with("refuses"); len(got) != 1 {
			t.Errorf("the refused event was logged %d times, want once:\n%s", len(got), w.log)
		}
		before := w.outbox.reads()
		later(time.Minute)
		if got := w.outbox.reads() - before; got > 61 {
			t.Errorf("the refused event was tried %d times in a minute, want once a second", got)
		}
		if got := w.observed(); got.Stalled != 0 || got.Waiting != 1 {
			t.Errorf("observed %+v, want one that waits and a stream that works", got)
		}
		w.outbox.add("carl")
		w.wake()
		synctest.Wait()
		if got := w.outbox.waiting(); got != 1 {
			t.Errorf("%d events wait after a kick, want only the refused one", got)
		}
		if got := w.outbox.waiting(); got != 1 {
			t.Errorf("%d events wait, want the refused one: a committed event is not dropped", got)
		}
	})
}

func TestBusOutage(t *testing.T) {
	run(t, func(w *world) {
		w.stream.fault = func(events.Message) (bool, error) { return false, errDown }
		for _, identity := range []string{"anna", "anna", "ben"} {
			w.outbox.add(identity)
		}
	}, func(w *world) {
		for range 600 { // a minute, with commits all the time
			w.outbox.add("carl")
			w.wake()
			later(100 * time.Millisecond)
		}
		if got := w.outbox.waiting(); got != 603 {
			t.Errorf("%d events wait, want all 603", got)
		}
		tries := w.stream.tries()
		if got := len(tries); got < 60 || got > 70 {
			t.Errorf("the bus was tried %d times in a minute, want growing pauses up to a second", got)
		}
		for _, round := range tries {
			if slices.Contains(round, "e2") {
				t.Fatalf("e2 was published before e1 was stored: %v", round)
			}
		}
		if got := w.log.with("level=WARN"); len(got) != 1 || !strings.Contains(got[0], errDown.Error()) {
			t.Errorf("the outage was logged %d times, want once with its cause:\n%s", len(got), w.log)
		}
		if got := w.observed(); got.Stalled < 58*time.Second || got.Waiting == 0 || !errors.Is(got.Err, errDown) {
			t.Errorf("observed %+v, want events that wait for a minute because the bus is down", got)
		}
		w.stream.setFault(nil)
		later(time.Second)
		if got := w.outbox.waiting(); got != 0 {
			t.Errorf("%d events wait a second after the bus came back, want none", got)
		}
		if got := w.log.with("published again"); len(got) != 1 {
			t.Errorf("the end of the outage was logged %d times, want once:\n%s", len(got), w.log)
		}
		if got := w.observed(); got.Stalled != 0 || got.Err != nil {
			t.Errorf("observed %+v, want no trouble", got)
		}
	})
}

func TestLostAckIsPublishedAgain(t *testing.T) {
	run(t, func(w *world) {
		w.outbox.add("anna")
		lost := false
		w.stream.fault = func(events.Message) (bool, error) {
			if !lost {
				lost = true
				return true, errors.New("no ack")
			}
			return true, nil
		}
	}, func(w *world) {
		later(time.Second)
		equal(t, "the stream", w.stream.ids(), []string{"e1"})
		equal(t, "the event log", w.outbox.logged(), []string{"e1"})
		if got := w.stream.tries(); len(got) != 2 {
			t.Errorf("published %d times, want twice", len(got))
		}
	})
}

func TestFailedMoveGivesTheLeadBackAndPublishesAgain(t *testing.T) {
	for name, committed := range map[string]bool{"before its commit": false, "after its commit": true} {
		t.Run(name, func(t *testing.T) {
			run(t, func(w *world) {
				w.outbox.add("anna")
				failed := false
				w.outbox.move = func() (bool, error) {
					if !failed {
						failed = true
						return committed, errDatabase
					}
					return true, nil
				}
			}, func(w *world) {
				later(time.Second)
				equal(t, "the stream", w.stream.ids(), []string{"e1"})
				equal(t, "the event log", w.outbox.logged(), []string{"e1"})
				if got := w.lead.times(); got != 2 {
					t.Errorf("led %d times, want twice", got)
				}
			})
		})
	}
}

func TestDatabaseOutage(t *testing.T) {
	run(t, func(w *world) {
		w.outbox.add("anna")
		w.outbox.pending = func() error { return errDatabase }
	}, func(w *world) {
		later(time.Minute)
		if got := w.outbox.reads(); got < 60 || got > 70 {
			t.Errorf("the database was tried %d times in a minute, want growing pauses up to a second", got)
		}
		if got := w.log.with("level=WARN"); len(got) != 1 || !strings.Contains(got[0], errDatabase.Error()) {
			t.Errorf("the outage was logged %d times, want once with its cause:\n%s", len(got), w.log)
		}
		w.outbox.set(func(o *outbox) { o.pending = nil })
		later(time.Second)
		equal(t, "the event log", w.outbox.logged(), []string{"e1"})
	})
}

func TestWithoutTheLeadNothingIsPublished(t *testing.T) {
	run(t, func(w *world) {
		w.outbox.add("anna")
		w.lead.err = errDatabase
	}, func(w *world) {
		later(time.Minute)
		if w.outbox.reads() != 0 {
			t.Errorf("the outbox was read %d times without the lead", w.outbox.reads())
		}
		w.lead.mu.Lock()
		w.lead.err = nil
		w.lead.mu.Unlock()
		later(time.Second)
		equal(t, "the event log", w.outbox.logged(), []string{"e1"})
	})
}

func TestLostLeadEndsTheWindowWithoutMoving(t *testing.T) {
	run(t, func(w *world) {
		w.outbox.add("anna")
		w.outbox.add("anna")
		w.stream.delay = 2 * time.Second
	}, func(w *world) {
		later(time.Second)
		close(w.lead.lost)
		later(1010 * time.Millisecond)
		equal(t, "the stream", w.stream.ids(), []string{"e1"})
		equal(t, "the event log after the loss", w.outbox.logged(), nil)
		later(10 * time.Second)
		equal(t, "the event log with the next lead", w.outbox.logged(), []string{"e1", "e2"})
		if got := w.lead.times(); got != 2 {
			t.Errorf("led %d times, want twice", got)
		}
	})
}

func TestEndFinishesTheWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.outbox.add("anna")
		w.outbox.add("anna")
		w.stream.delay = 2 * time.Second
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		if err := w.Run(ctx); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("Run ended after %v, want the 2 s that the running round takes", took)
		}
		equal(t, "the stream", w.stream.ids(), []string{"e1"})
		equal(t, "the event log", w.outbox.logged(), []string{"e1"})
	})
}

func TestEndDoesNotWaitForAStreamThatIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.outbox.add("anna")
		w.stream.delay = time.Hour
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		if err := w.Run(ctx); err != nil || time.Since(began) != 0 {
			t.Errorf("Run after its end = %v after %v, want nil at once", err, time.Since(began))
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := w.Run(ctx); err != nil || time.Since(began) > 11*time.Second {
			t.Errorf("Run = %v after %v, want nil within 10 s", err, time.Since(began))
		}
	})
}

func TestEndWhileWaitingForTheLead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.Lead = func(ctx context.Context) (func(), <-chan struct{}, error) {
			<-ctx.Done()
			return nil, nil, ctx.Err()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.Run(ctx); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if w.log.String() != "" {
			t.Errorf("the end was logged as trouble:\n%s", w.log)
		}
	})
}
