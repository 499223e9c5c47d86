package workers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

type created = workers.Event[events.IdentityCreated]

func names(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("p%03d", i)
	}
	return all
}

func TestEachEventIsHandledOnce(t *testing.T) {
	t.Parallel()
	for name, option := range map[string]workers.Option{"ack": workers.Concurrency(3), "double": workers.DoubleAck()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			b.durable("welcome", time.Minute)
			sent := b.publish(names(40)...)
			var mu sync.Mutex
			seen := map[string]string{}
			j := b.run("welcome", func(ctx context.Context, e created) error {
				mu.Lock()
				defer mu.Unlock()
				seen[e.ID] = e.Data.IdentityID
				if got, want := workers.IdempotencyKey(ctx), "welcome:"+e.ID; got != want || workers.EventID(ctx) != e.ID || e.Attempt != 1 {
					t.Errorf("key %q, id %q, attempt %d, want %q, %q, 1", got, workers.EventID(ctx), e.Attempt, want, e.ID)
				}
				return nil
			}, option)
			for _, a := range j.next(40) {
				if a.Outcome != workers.Done || a.Err != nil || a.Worker != "welcome" || a.Number != 1 {
					t.Errorf("attempt = %+v, want done", a)
				}
			}
			j.mustStop()
			for _, e := range sent {
				if seen[e.ID] != e.Subject {
					t.Errorf("event %s was seen as %q, want %q", e.ID, seen[e.ID], e.Subject)
				}
			}
			b.settled("welcome")
		})
	}
}

func TestWhatAHandlerReturnsDecides(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	sent := b.publish("customer") // each durable gets it
	broken := errors.New("broken")
	again := []workers.Outcome{workers.Retry, workers.Done}
	done := []workers.Outcome{workers.Done}
	for name, tc := range map[string]struct {
		handle func(created) error // of the first attempt
		want   []workers.Outcome
		shown  string
		report events.HookFailed
		least  time.Duration
	}{
		"nil":      {func(created) error { return nil }, done, "", events.HookFailed{}, 0},
		"an error": {func(created) error { return broken }, again, "broken", events.HookFailed{Reason: "error: broken"}, 0},
		"a panic":  {func(created) error { panic("at the disco") }, again, "at the disco", events.HookFailed{Reason: "panic: at the disco"}, 0},
		"retry in": {func(created) error {
			return fmt.Errorf("wrapped: %w", workers.RetryIn(200*time.Millisecond, broken))
		}, again, "broken", events.HookFailed{Reason: "error: wrapped: broken", After: 0.2}, 150 * time.Millisecond},
		"retry at once": {func(created) error { return workers.RetryIn(0, broken) }, again, "broken", events.HookFailed{Reason: "error: broken"}, 0},
		"retry without": {func(created) error { return workers.RetryIn(time.Hour, nil) }, done, "", events.HookFailed{}, 0},
		"permanent": {func(created) error {
			return fmt.Errorf("wrapped: %w", workers.Permanent(broken))
		}, []workers.Outcome{workers.Dead}, "broken", events.HookFailed{Reason: "permanent: wrapped: broken", Permanent: true}, 0},
		"permanent later": {func(created) error {
			return workers.Permanent(workers.RetryIn(time.Hour, broken))
		}, []workers.Outcome{workers.Dead}, "broken", events.HookFailed{Reason: "permanent: broken", Permanent: true}, 0},
		"a cancel":        {func(created) error { return context.Canceled }, again, "canceled", events.HookFailed{Reason: "error: context canceled"}, 0},
		"permanent of no": {func(created) error { return workers.Permanent(nil) }, done, "", events.HookFailed{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			durable := strings.ReplaceAll(name, " ", "-")
			b.durable(durable, time.Minute)
			j := b.run(durable, func(_ context.Context, e created) error {
				if e.Attempt == 1 {
					return tc.handle(e)
				}
				return nil
			}, workers.WithConn(b.worker(durable)))
			got := j.next(len(tc.want))
			j.mustStop()
			for n, a := range got {
				if a.Outcome != tc.want[n] || a.Number != n+1 || a.Deliveries != 1 || a.Event.ID != sent[0].ID {
					t.Errorf("attempt %d = %+v, want %s", n+1, a, tc.want[n])
				}
			}
			if err := got[0].Err; (err != nil) != (tc.shown != "") || err != nil && !strings.Contains(err.Error(), tc.shown) {
				t.Errorf("error = %v, want %q", err, tc.shown)
			}
			if tc.shown != "" {
				want := tc.report
				want.EventID, want.Attempt, want.StreamSeq = sent[0].ID, 1, 1
				if r := got[0].Report; r == nil || *r != want {
					t.Errorf("report = %+v, want %+v", r, want)
				}
			}
			if d := got[0].Next; d < tc.least {
				t.Errorf("next try in %s, want it after %s", d, tc.least)
			}
			if !strings.Contains(j.log.String(), tc.shown) || !strings.Contains(j.log.String(), sent[0].ID) {
				t.Errorf("log lacks %q or the event's id:\n%s", tc.shown, j.log)
			}
			if name == "a panic" && !strings.Contains(j.log.String(), "workers_test.go") {
				t.Errorf("log lacks the stack:\n%s", j.log)
			}
			b.settled(durable)
		})
	}
}

func TestUndecodableMessagesAreDeadLetters(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.durable("w", time.Minute)
	b.publishRaw("not json")
	b.publishRaw(`{"data":{}}`)
	b.publishRaw(`{"id":"1","type":"identity.created","data":{"identity_id":7}}`)
	b.publishRaw(`{"id":"2","type":"identity.unheard","data":[]}`)
	b.publishRaw(`{"id":"3","type":"identity.created","data":{"identity_id":"ada","new":1},"new":2}`)
	calls := atomic.Int32{}
	j := b.run("w", func(context.Context, created) error { calls.Add(1); return nil }, workers.Concurrency(1))
	var got []workers.Outcome
	for _, a := range j.next(5) {
		got = append(got, a.Outcome)
	}
	j.mustStop()
	want := []workers.Outcome{workers.Dead, workers.Dead, workers.Dead, workers.Skipped, workers.Done}
	if !slices.Equal(got, want) || calls.Load() != 1 {
		t.Errorf("outcomes = %v with %d calls, want %v with 1", got, calls.Load(), want)
	}
	b.settled("w")
}

func TestSlowEventIsNotDeliveredTwice(t *testing.T) {
	t.Parallel()
	const ackWait = time.Second // beats have to come in time on a busy machine
	b := newBus(t)
	b.durable("w", ackWait)
	b.publish("customer")
	j := b.run("w", func(ctx context.Context, _ created) error {
		<-time.After(5 * ackWait / 2)
		return nil
	})
	if a := j.next(1)[0]; a.Outcome != workers.Done || a.Took < 2*ackWait {
		t.Errorf("attempt = %+v, want done after more than %s", a, 2*ackWait)
	}
	j.mustStop()
	b.settled("w")
	if n := b.info("w").Delivered.Consumer; n != 1 {
		t.Errorf("delivered %d times, want 1", n)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	t.Parallel()
	const most, total = 4, 40
	b := newBus(t)
	b.durable("w", time.Minute)
	b.publish(names(total)...)
	var running, peak atomic.Int32
	full := make(chan struct{}, total)
	release := make(chan struct{})
	j := b.run("w", func(context.Context, created) error {
		n := running.Add(1)
		defer running.Add(-1)
		for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
		}
		full <- struct{}{}
		<-release
		return nil
	}, workers.Concurrency(most))
	for range most {
		receive(t, full, "handler")
	}
	if i := b.info("w"); i.NumAckPending != most {
		t.Errorf("%d messages were taken, want as many as there are slots: %d", i.NumAckPending, most)
	}
	close(release)
	j.next(total)
	j.mustStop()
	if got := peak.Load(); got != most {
		t.Errorf("%d handlers ran at the same time, want %d", got, most)
	}
}

func TestPoisonDoesNotBlockOthers(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.durable("w", time.Minute)
	b.publish("poison", "panics")
	b.publish(names(20)...)
	j := b.run("w", func(_ context.Context, e created) error {
		switch e.Data.SchemaID {
		case "poison":
			return workers.RetryIn(time.Millisecond, errors.New("never"))
		case "panics":
			panic("always")
		}
		return nil
	}, workers.Concurrency(1))
	for done := 0; done < 20; {
		if j.next(1)[0].Outcome == workers.Done {
			done++
		}
	}
	j.mustStop()
	for i := b.info("w"); i.NumAckPending > 1; i = b.info("w") { // a poison that was just delivered
		t.Fatalf("%d ack pending, want no poison to hold a place", i.NumAckPending)
	}
}
