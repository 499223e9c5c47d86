package delivery_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
)

// What can go wrong with one step.
const (
	fine       = iota
	notDone    // it is not done, and fails
	notKnown   // it is done, and fails
	killBefore // the process dies before it
	killAfter  // and after it
	faultKinds
)

func fault(kind int) (done bool, err error) {
	switch kind {
	case notDone:
		return false, errDown
	case notKnown:
		return true, errDown
	case killBefore:
		return false, errKilled
	case killAfter:
		return true, errKilled
	}
	return true, nil
}

// scenario is what a hook does with events while things go wrong.
type scenario struct {
	fails   []int         // how often the hook fails at each event; 99 is permanently
	samples []bool        // whether the bus tells of an ack
	quiet   time.Duration // after which all must be settled
	faults  faults
}

// play runs the scenario with a hook that follows the protocol, and one process
// after another, until all is quiet. Then each event has reached the hook's end
// or is a dead letter that says so.
func (s scenario) play(t *testing.T, failf func(string, ...any)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.table.faults, w.bus.faults = s.faults, s.faults
		h := &hookOf{world: w, scenario: s, fails: map[string]int{}, done: map[string]int{}}
		for _, n := range s.fails {
			id := w.event(t)
			h.ids = append(h.ids, id)
			h.fails[id] = n
			w.bus.set(append(w.bus.messages, delivery.Retry{Hook: "crm", EventID: id, MessageID: id, Attempt: 1}))
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { h.processes(ctx) })
		synctest.Wait()
		all.Go(func() { h.run(ctx) })
		later(s.quiet)
		h.check(t, failf)
		cancel()
		all.Wait()
	})
}

// hookOf is a hook and the processes of the service, one at a time.
type hookOf struct {
	*world
	scenario
	ids []string

	mu      sync.Mutex
	fails   map[string]int // still to come
	done    map[string]int
	current *delivery.Service
	ctx     context.Context
}

// processes starts a process and another one whenever one was killed.
func (h *hookOf) processes(ctx context.Context) {
	for ctx.Err() == nil {
		alive, life := newLife(ctx)
		running, stop := context.WithCancel(alive)
		service := h.short()
		h.mu.Lock()
		h.current, h.ctx = service, alive
		h.mu.Unlock()
		ended := make(chan struct{})
		go func() { defer close(ended); _ = service.Run(running) }()
		select {
		case <-ctx.Done():
		case <-life.killed:
		}
		stop()
		<-ended
	}
}

// short is a process with a short ladder.
func (h *hookOf) short() *delivery.Service {
	return delivery.New(delivery.Options{
		Failures: h.table, EventLog: h.log, History: h.log, Publisher: h.bus, Consumers: h.bus, Ledger: h.table,
		Declared: hooks{"crm": {Kind: delivery.Worker, Types: []string{"identity.created"}}}, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Ladder: func(delivery.Hook) delivery.Ladder {
			return delivery.Ladder{time.Second, 2 * time.Second, 5 * time.Second}
		},
	})
}

// run takes one message after another: done is ack, failed is report then ack,
// no answer is the message again.
func (h *hookOf) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; {
		got := h.bus.retries("crm")
		if n == len(got) {
			sleep(ctx, 100*time.Millisecond)
			continue
		}
		m, seq := got[n], uint64(n+1)
		h.mu.Lock()
		service, alive := h.current, h.ctx
		left := h.fails[m.EventID]
		h.mu.Unlock()
		if left > 0 {
			_, err := service.Report(alive, "crm", events.HookFailed{
				EventID: m.EventID, Attempt: m.Attempt, StreamSeq: seq, Permanent: left == 99, Reason: "it failed",
			})
			if err != nil {
				sleep(ctx, 5*time.Second)
				continue
			}
		}
		h.mu.Lock()
		if left > 0 && left != 99 {
			h.fails[m.EventID]--
		} else if left == 0 {
			h.done[m.EventID]++
		}
		h.mu.Unlock()
		h.bus.ack("crm", seq)
		if len(h.samples) == 0 || h.samples[n%len(h.samples)] {
			service.Acked("crm", seq)
		}
		n++
	}
}

func (h *hookOf) check(t *testing.T, failf func(string, ...any)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	deaths := map[string]int{}
	h.table.types(t)
	for _, e := range h.table.said {
		if e.Type == "hook.dead" {
			var data events.HookDead
			if err := json.Unmarshal(e.Data, &data); err != nil {
				failf("hook.dead: %v", err)
			}
			deaths[data.EventID]++
		}
	}
	for n, id := range h.ids {
		f := h.table.row("crm", id)
		switch {
		case h.done[id] > 0 && (f.State == "" || f.State == delivery.Done) && deaths[id] == 0:
		case h.done[id] == 0 && f.State == delivery.Dead && f.Reason == "it failed" && deaths[id] == 1:
			if h.scenario.fails[n] < 4 {
				failf("event %d is dead after %d attempts, want 4", n, f.Attempts)
			}
		default:
			failf("event %d (fails %d times): done %d times, %d times said to be dead, failure %+v", n, h.scenario.fails[n], h.done[id], deaths[id], f)
		}
	}
}

// steps are all that a process does in a world.
var steps = []string{
	"Failure", "SaveFailure", "DueFailures", "NextDue", "RetryPublished", "RetriesLost", "RetriesDone", "FailedAt",
	"FailureCounts", "PublishRetry", "Consumers",
}

func TestNoEventIsLostWhereverAProcessIsKilled(t *testing.T) {
	t.Parallel()
	for _, step := range steps {
		for kind := notDone; kind < faultKinds; kind++ {
			for nth := 1; nth <= 2; nth++ {
				t.Run(fmt.Sprintf("%s %d %d", step, kind, nth), func(t *testing.T) {
					seen := 0
					var mu sync.Mutex
					s := scenario{fails: []int{0, 1, 99, 3, 4, 9}, samples: []bool{true, true, false}, quiet: 4 * time.Minute}
					s.faults = func(is string) (bool, error) {
						mu.Lock()
						defer mu.Unlock()
						if is == step {
							seen++
						}
						if is != step || seen != nth {
							return true, nil
						}
						return fault(kind)
					}
					s.play(t, t.Errorf)
				})
			}
		}
	}
}

func TestNoEventIsLostWhateverFails(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		script := rapid.SliceOfN(rapid.IntRange(0, faultKinds-1), 0, 30).Draw(rt, "faults")
		s := scenario{
			fails:   rapid.SliceOfN(rapid.SampledFrom([]int{0, 1, 2, 3, 4, 8, 99}), 1, 8).Draw(rt, "fails"),
			samples: rapid.SliceOfN(rapid.Bool(), 1, 7).Draw(rt, "samples"),
			quiet:   15 * time.Minute,
		}
		var mu sync.Mutex
		s.faults = func(string) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			if len(script) == 0 {
				return true, nil
			}
			kind := script[0]
			script = script[1:]
			return fault(kind)
		}
		s.play(t, rt.Errorf)
	})
}

// clock is one that an operator, or what sets the time of a machine, may set.
type clock struct{ off atomic.Int64 }

func (c *clock) Now() time.Time { return time.Now().Add(time.Duration(c.off.Load())) }

func (c *clock) jump(d time.Duration) { c.off.Add(int64(d)) }

// jumping runs test with a service whose clock may jump.
func jumping(t *testing.T, test func(t *testing.T, w *world, c *clock)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, c := newWorld(), &clock{}
		w.Now = c.Now
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		synctest.Wait()
		test(t, w, c)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// TestTheClockGoesForward: what waits for its time comes at once, each once, and
// the ladder goes on from there.
func TestTheClockGoesForward(t *testing.T) {
	jumping(t, func(t *testing.T, w *world, c *clock) {
		const failed = 250 // more than one batch
		for range failed {
			w.report(t, "crm", events.HookFailed{EventID: w.event(t), Attempt: 4, Reason: "no"}) // again in 10 minutes
		}
		later(time.Minute)
		if n := len(w.bus.retries("crm")); n != 0 {
			t.Fatalf("%d retries before their time", n)
		}
		c.jump(time.Hour)
		later(10 * time.Second)
		got := w.bus.retries("crm")
		if len(got) != failed {
			t.Errorf("%d retries after the jump, want each of %d once", len(got), failed)
		}
		for _, r := range got {
			w.report(t, "crm", events.HookFailed{EventID: r.EventID, Attempt: r.Attempt, StreamSeq: w.table.row("crm", r.EventID).StreamSeq})
		}
		later(20 * time.Minute) // the fifth wait is half an hour
		if n := len(w.bus.retries("crm")); n != failed {
			t.Errorf("%d retries 20 minutes later, want none more: the ladder goes on", n-failed)
		}
		later(20 * time.Minute)
		if n := len(w.bus.retries("crm")); n != 2*failed {
			t.Errorf("%d retries 40 minutes later, want each once more", n-failed)
		}
	})
}

// TestTheClockGoesBack: what waits for its time comes at that time of the clock,
// and what fails meanwhile by the clock as it is now.
func TestTheClockGoesBack(t *testing.T) {
	jumping(t, func(t *testing.T, w *world, c *clock) {
		before := w.event(t)
		w.report(t, "crm", events.HookFailed{EventID: before, Attempt: 1, Reason: "no"})
		c.jump(-time.Hour)
		after := w.event(t)
		w.report(t, "crm", events.HookFailed{EventID: after, Attempt: 1, Reason: "no"})
		later(10 * time.Second)
		if got := w.bus.retries("crm"); len(got) != 1 || got[0].EventID != after {
			t.Errorf("retries = %+v, want the one that failed after the jump", got)
		}
		seq := w.table.row("crm", after).StreamSeq
		w.bus.ack("crm", seq)
		w.Acked("crm", seq)
		synctest.Wait()
		if f := w.table.row("crm", after); f.State != delivery.Done {
			t.Errorf("what was acked = %+v, want done", f)
		}
		later(time.Hour)
		if got := w.bus.retries("crm"); len(got) != 2 || got[1].EventID != before {
			t.Errorf("retries = %+v an hour later, want both, each once", got)
		}
	})
}

// TestTheClockWasYearsAhead: what failed then does not wait for years.
func TestTheClockWasYearsAhead(t *testing.T) {
	jumping(t, func(t *testing.T, w *world, c *clock) {
		const years = 10 * 365 * 24 * time.Hour
		c.jump(years)
		id := w.event(t)
		w.report(t, "crm", events.HookFailed{EventID: id, Attempt: 1, Reason: "no"})
		c.jump(-years)
		later(2 * time.Hour)
		if got := w.bus.retries("crm"); len(got) != 1 {
			t.Errorf("retries = %+v, want the event within two hours", got)
		}
	})
}

// TestAPausedHookAndTheClock: a hook that fails all the time is neither paused
// for ever nor again and again when the clock jumps.
func TestAPausedHookAndTheClock(t *testing.T) {
	for name, jump := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			jumping(t, func(t *testing.T, w *world, c *clock) {
				seq := uint64(1000)
				fail := func(n int) {
					for range n {
						seq++
						w.report(t, "crm", events.HookFailed{EventID: w.event(t), Attempt: 1, StreamSeq: seq})
						w.Acked("crm", seq)
					}
					synctest.Wait()
				}
				fail(30)
				c.jump(jump)
				later(2 * time.Second)
				fail(30)
				for n, until := range w.bus.ordered() {
					if n > 1 || until.Sub(c.Now()) > time.Hour {
						t.Errorf("pause %d until %v, it is %v", n+1, until, c.Now())
					}
				}
				w.Acked("crm", seq+1)
				synctest.Wait()
				if n := w.Paused(); n != 0 {
					t.Errorf("%d hooks are paused after a success, want none", n)
				}
			})
		})
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
