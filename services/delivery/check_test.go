package delivery_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/workers"
	workerdelivery "github.com/usher-auth/usher/workers/delivery"
	"github.com/usher-auth/usher/workers/workertest"
)

// checks are those of another process than the one that takes reports.
func (r *real) checks() *delivery.Checks {
	r.t.Helper()
	bus, err := workerdelivery.NewBus(r.connect(events.UserDelivery))
	if err != nil {
		r.t.Fatal(err)
	}
	types := []string{"identity.created"}
	return &delivery.Checks{
		Declared: hooks{
			"crm":   {Kind: delivery.Worker, Types: types, CreatedAt: monday},
			"new":   {Kind: delivery.Worker, Types: types, CreatedAt: monday},
			"built": {Kind: delivery.Worker, Types: types},
			"shop":  {Kind: delivery.Webhook, Types: types, CreatedAt: monday},
			"gate":  {Kind: delivery.Answer, CreatedAt: monday},
		},
		Bus: bus, Reports: r.store, Ledger: &table{}, Now: time.Now,
		Golden: func(string) (events.Event, bool) { return workertest.Event[events.IdentityCreated](), true },
	}
}

// runWorker runs a worker of the kit until the test ends.
func (r *real) runWorker(handle func(ctx context.Context, e events.Event) error) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := workers.New("crm", workers.WithConn(r.hooks), workers.Logger(slog.New(slog.DiscardHandler)))
	workers.OnAny(w, handle)
	var working sync.WaitGroup
	working.Go(func() {
		if err := w.Run(ctx); err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(working.Wait)
	r.t.Cleanup(cancel)
}

func (r *real) check(c *delivery.Checks, o delivery.CheckOptions, limit time.Duration) delivery.Checked {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), limit)
	defer cancel()
	o.Hook = "crm"
	done, err := c.Check(ctx, o)
	if err != nil {
		r.t.Fatalf("Check(%+v) = %v", o, err)
	}
	return done
}

func TestCheckAGoodWorker(t *testing.T) {
	t.Parallel()
	r := newReal(t)
	defer r.serve()()
	c := r.checks()
	var mu sync.Mutex
	seen := map[string]int{}
	r.runWorker(func(ctx context.Context, e events.Event) error {
		mu.Lock()
		defer mu.Unlock()
		seen[e.ID]++
		if !workers.Checked(ctx) {
			t.Errorf("the worker cannot know that %+v is of a check", e)
		}
		return nil
	})
	for which, want := range map[delivery.CheckCase]struct{ events, ids int }{
		delivery.CheckEvent: {1, 1}, delivery.CheckAgain: {2, 1}, delivery.CheckBacklog: {30, 30},
		delivery.CheckUnknown: {1, 1}, delivery.CheckIncomplete: {1, 1}, delivery.CheckNoJSON: {1, 0},
	} {
		mu.Lock()
		clear(seen)
		mu.Unlock()
		got := r.check(c, delivery.CheckOptions{Case: which, Count: 30}, 20*time.Second)
		if got.Verdict != delivery.CheckOK || got.Events != want.events || got.Settled != want.events || got.Deliveries > 1 {
			t.Errorf("%s = %+v, want ok and %d events", which, got, want.events)
		}
		if n := len(seen); n != want.ids {
			t.Errorf("%s: the worker has seen %d events, want %d", which, n, want.ids)
		}
		if which == delivery.CheckNoJSON && !strings.Contains(got.Reason, "it is no event") {
			t.Errorf("%s: reported %q, want why", which, got.Reason)
		}
		t.Logf("%s took %s", which, got.Took.Round(time.Millisecond))
	}
	r.wantNoTrace()
}

// wantNoTrace: neither a failure nor an event of the check is left.
func (r *real) wantNoTrace() {
	r.t.Helper()
	if left, err := r.store.Failures(r.t.Context(), delivery.FailureQuery{}); err != nil || len(left) > 0 {
		r.t.Errorf("failures of the check: %+v, %v, want none", left, err)
	}
	if n, _, err := r.store.OutboxStats(r.t.Context()); err != nil || n > 0 {
		r.t.Errorf("%d events are told, %v, want none", n, err)
	}
}

func TestCheckAFailingWorker(t *testing.T) {
	t.Parallel()
	r := newReal(t)
	defer r.serve()()
	c := r.checks()
	r.runWorker(func(_ context.Context, e events.Event) error {
		if e.Type == "check.unheard_of" {
			return errors.New("what is that")
		}
		return workers.Permanent(errors.New("the CRM is closed"))
	})
	for which, want := range map[delivery.CheckCase]struct {
		verdict      delivery.Verdict
		reason, note string
	}{
		delivery.CheckEvent:      {delivery.CheckFailed, "the CRM is closed", "failed at 1 of 1"},
		delivery.CheckAgain:      {delivery.CheckFailed, "the CRM is closed", "failed at 1 of 1"},
		delivery.CheckBacklog:    {delivery.CheckFailed, "the CRM is closed", "failed at 20 of 20"},
		delivery.CheckUnknown:    {delivery.CheckFailed, "what is that", "is done"},
		delivery.CheckIncomplete: {delivery.CheckOK, "the CRM is closed", ""},
	} {
		got := r.check(c, delivery.CheckOptions{Case: which}, 20*time.Second)
		if got.Verdict != want.verdict || !strings.Contains(got.Reason, want.reason) || !strings.Contains(got.Note, want.note) {
			t.Errorf("%s = %+v, want %+v", which, got, want)
		}
	}
	r.wantNoTrace()
	if n := r.service.Paused(); n > 0 {
		t.Error("a check has paused the worker")
	}
}

func TestCheckWhoDoesNotAnswer(t *testing.T) {
	t.Parallel()
	r := newReal(t)
	defer r.serve()()
	c := r.checks()
	if got := r.check(c, delivery.CheckOptions{Case: delivery.CheckEvent}, time.Minute); got.Verdict != delivery.CheckAbsent || got.Took > 20*time.Second {
		t.Errorf("without a worker: %+v, want absent, soon", got)
	}

	// One that acks all, one that naks first, and one that never answers.
	js, err := jetstream.New(r.hooks)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.Consumer(t.Context(), events.Stream, "crm")
	if err != nil {
		t.Fatal(err)
	}
	todo := func(m jetstream.Msg) error { return m.Ack() }
	var mu sync.Mutex
	taking, err := consumer.Consume(func(m jetstream.Msg) {
		mu.Lock()
		defer mu.Unlock()
		_ = todo(m)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer taking.Stop()
	if got := r.check(c, delivery.CheckOptions{Case: delivery.CheckNoJSON}, 20*time.Second); got.Verdict != delivery.CheckFailed {
		t.Errorf("a poisonous event was acked: %+v, want failed", got)
	}
	mu.Lock()
	todo = func(m jetstream.Msg) error {
		if meta, err := m.Metadata(); err == nil && meta.NumDelivered < 3 {
			return m.Nak()
		}
		return m.Ack()
	}
	mu.Unlock()
	if got := r.check(c, delivery.CheckOptions{Case: delivery.CheckEvent}, 20*time.Second); got.Verdict != delivery.CheckFailed || got.Deliveries != 3 {
		t.Errorf("nak'ed: %+v, want failed with 3 deliveries", got)
	}
	mu.Lock()
	todo = func(jetstream.Msg) error { return nil }
	mu.Unlock()
	got := r.check(c, delivery.CheckOptions{Case: delivery.CheckEvent}, 2*time.Second)
	if got.Verdict != delivery.CheckTimeout || !strings.Contains(got.Note, "neither acked nor reported") {
		t.Errorf("no answer: %+v, want a timeout", got)
	}
}

// TestCheckIsOver: a worker that is started later does not run what nobody
// waits for any more.
func TestCheckIsOver(t *testing.T) {
	t.Parallel()
	r := newReal(t)
	defer r.serve()()
	c := r.checks()
	for _, which := range []delivery.CheckCase{delivery.CheckEvent, delivery.CheckNoJSON} {
		if got := r.check(c, delivery.CheckOptions{Case: which}, 500*time.Millisecond); got.Verdict != delivery.CheckTimeout {
			t.Fatalf("without a worker: %+v, want a timeout", got)
		}
	}
	id := r.event(0)
	seen := make(chan string, 10)
	r.runWorker(func(_ context.Context, e events.Event) error { seen <- e.ID; return nil })
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		all, err := c.Bus.Consumers(t.Context())
		if is := all["crm"]; err == nil && is.AckFloor == 3 {
			break
		} else if time.Now().After(until) {
			t.Fatalf("consumer = %+v, %v, want all three acked", is, err)
		}
	}
	if got := <-seen; got != id || len(seen) > 0 {
		t.Errorf("the worker has run %s and %d more, want only what was meant", got, len(seen))
	}
	r.wantNoTrace()
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	r := newReal(t)
	c := r.checks()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var invalid *delivery.Invalid
	for _, o := range []delivery.CheckOptions{
		{Hook: "built", Case: delivery.CheckEvent},
		{Hook: "shop", Case: delivery.CheckEvent},
		{Hook: "gate", Case: delivery.CheckEvent},
		{Hook: "new", Case: delivery.CheckEvent}, // has no durable
		{Hook: "crm", Case: "other"},
		{Hook: "crm"},
		{Hook: "crm", Case: delivery.CheckEvent, Type: "session.issued"},
		{Hook: "crm", Case: delivery.CheckBacklog, Count: 501},
		{Hook: "crm", Case: delivery.CheckBacklog, Count: -1},
	} {
		if got, err := c.Check(ctx, o); !errors.As(err, &invalid) {
			t.Errorf("Check(%+v) = %+v, %v, want *Invalid", o, got, err)
		}
	}
	if _, err := c.Check(ctx, delivery.CheckOptions{Hook: "nobody", Case: delivery.CheckEvent}); !errors.Is(err, delivery.ErrNoHook) {
		t.Errorf("Check of none = %v, want ErrNoHook", err)
	}
	if err := c.Bus.(*workerdelivery.Bus).Pause(ctx, "crm", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Check(ctx, delivery.CheckOptions{Hook: "crm", Case: delivery.CheckEvent}); !errors.As(err, &invalid) {
		t.Errorf("Check of a paused worker = %v, want *Invalid", err)
	}
	if said := c.Ledger.(*table).said; len(said) > 0 {
		t.Errorf("told: %v, want nothing", said)
	}
}

// TestReportOfACheck: a failure that nobody is told of and that does not come
// again, while a check waits for it; without one it is like any other.
func TestReportOfACheck(t *testing.T) {
	t.Parallel()
	w := newWorld()
	const waited, other = "00000000-0000-7abc-8def-000000000001", "00000000-0000-7abc-8def-000000000002"
	saved, err := w.table.SaveFailure(t.Context(), nil, delivery.Failure{Hook: "crm", EventID: waited, State: delivery.Discarded, Round: 1})
	if err != nil || !saved {
		t.Fatal(saved, err)
	}
	for range 2 {
		if reply := w.report(t, "crm", events.HookFailed{EventID: waited, Attempt: 1, Reason: "no", Permanent: true}); reply.State != "dead" || reply.Next != "" {
			t.Errorf("reply = %+v, want dead", reply)
		}
	}
	if f := w.table.row("crm", waited); f.State != delivery.Discarded || !f.NextAt.IsZero() || f.Attempts != 1 || !strings.HasSuffix(f.Reason, "no") {
		t.Errorf("failure = %+v, want one that is swept", f)
	}
	if said := w.table.types(t); len(said) > 0 {
		t.Errorf("told: %q, want nothing", said)
	}
	w.report(t, "crm", events.HookFailed{EventID: other, Attempt: 1, Reason: "no", Permanent: true})
	if f := w.table.row("crm", other); f.State != delivery.Dead {
		t.Errorf("failure that no check waits for = %+v, want a dead letter", f)
	}
}
