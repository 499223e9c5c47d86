package workers_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

func TestNothingIsLostWhileNobodyTakesReports(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.durable("w", time.Minute)
	b.publish("customer")
	b.failed.End()
	j := b.run("w", func(_ context.Context, e created) error {
		if e.Attempt == 1 {
			return errors.New("broken")
		}
		return nil
	}, workers.NakDelay(50*time.Millisecond))
	// More often than what kills a program comes: this one does not.
	for n := range 8 {
		a := j.next(1)[0]
		if a.Outcome != workers.Unreported || a.Number != 1 || a.Deliveries != n+1 || a.Next < 40*time.Millisecond || a.Next > 60*time.Millisecond {
			t.Errorf("attempt = %+v, want the first, delivered %d times, unreported, again in 40 to 60 ms", a, n+1)
		}
	}
	if err := b.startHooks(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := j.next(1)[0]
	for a.Outcome == workers.Unreported {
		a = j.next(1)[0]
	}
	if a.Outcome != workers.Retry {
		t.Errorf("attempt = %+v, want a retry once somebody takes the report", a)
	}
	if a := j.next(1)[0]; a.Outcome != workers.Done || a.Number != 2 {
		t.Errorf("attempt = %+v, want the second, done", a)
	}
	j.mustStop()
	b.settled("w")
}

// TestAMessageWithoutAnEventIDIsNoEvent: whoever got it into the stream, there is
// nothing that could be sent again, or shown to an operator.
func TestAMessageWithoutAnEventIDIsNoEvent(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.durable("w", time.Minute)
	for _, body := range []string{`{"type":"io.nats.jetstream.api.v1.consumer_info_response"}`, string(encode(t, newEvent("customer")))} {
		if _, err := b.api.Publish(t.Context(), events.Subject("identity.created"), []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	want := b.publish("customer")
	registry := prometheus.NewRegistry()
	j := b.run("w", func(context.Context, created) error { return nil }, workers.Metrics(registry), workers.Concurrency(1))
	if a := j.next(1)[0]; a.Outcome != workers.Done || a.Event.ID != want[0].ID {
		t.Errorf("attempt = %+v, want the event behind the two messages, done", a)
	}
	j.mustStop()
	b.settled("w")
	if reports := b.failed.Reports(); len(reports) > 0 || len(j.attempts) > 0 {
		t.Errorf("%d reports and %d more attempts, want none", len(reports), len(j.attempts))
	}
	for _, seq := range []string{"1", "2"} {
		line := `"subject":"usher.evt.v1.identity.created","stream_seq":` + seq + `}`
		if n := strings.Count(j.log.String(), line); n != 1 || !strings.Contains(j.log.String(), `"level":"WARN"`) {
			t.Errorf("log has %d lines with %s, want one warning:\n%s", n, line, j.log)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "usher_worker_no_event_total" && f.GetMetric()[0].GetCounter().GetValue() == 2 {
			return
		}
	}
	t.Errorf("metrics are %v, want two messages in usher_worker_no_event_total", families)
}

func TestUnreportedEventWaitsHalfAMinute(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.durable("w", time.Minute)
	b.publish("customer")
	b.failed.End()
	j := b.run("w", func(context.Context, created) error { return errors.New("broken") })
	if a := j.next(1)[0]; a.Outcome != workers.Unreported || a.Next < 24*time.Second || a.Next > 36*time.Second {
		t.Errorf("attempt = %+v, want it unreported, again in 24 to 36 s", a)
	}
	j.mustStop()
	if i := b.info("w"); i.NumAckPending != 1 {
		t.Errorf("%d messages wait, want 1", i.NumAckPending)
	}
}

// fetch takes a message as a program does that dies of it.
func (b *bus) fetch(durable string) jetstream.Msg {
	b.t.Helper()
	js, err := jetstream.New(b.hooks)
	if err != nil {
		b.t.Fatal(err)
	}
	c, err := js.Consumer(b.t.Context(), events.Stream, durable)
	if err != nil {
		b.t.Fatal(err)
	}
	m, err := c.Next(jetstream.FetchMaxWait(10 * time.Second))
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

func TestWhatKillsTheProgramIsRunFiveTimes(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.publish("customer")
	for deliveries, want := range map[int]workers.Outcome{4: workers.Done, 5: workers.Dead} {
		durable := fmt.Sprintf("w%d", deliveries)
		b.durable(durable, time.Minute)
		for range deliveries {
			if err := b.fetch(durable).Nak(); err != nil {
				t.Fatal(err)
			}
		}
		calls := 0
		j := b.run(durable, func(context.Context, created) error { calls++; return nil }, workers.Concurrency(1))
		a := j.next(1)[0]
		j.mustStop()
		if a.Outcome != want || a.Deliveries != deliveries+1 || a.Event.ID == "" {
			t.Errorf("attempt = %+v, want %s", a, want)
		}
		if want == workers.Dead && (calls != 0 || a.Report.Reason != "crash: delivered 6 times without an outcome" || !a.Report.Permanent) {
			t.Errorf("%d calls, report %+v, want none and a permanent crash", calls, a.Report)
		}
	}
}

func TestHandlerThatTakesTooLong(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.durable("w", time.Minute)
	b.publish("ends", "ignores", "fine")
	release := make(chan struct{})
	j := b.run("w", func(ctx context.Context, e created) error {
		switch {
		case e.Attempt > 1 || e.Data.SchemaID == "fine":
			return nil
		case e.Data.SchemaID == "ends":
			<-ctx.Done()
			return ctx.Err()
		}
		<-release
		return nil
	}, workers.Timeout(100*time.Millisecond), workers.Concurrency(3))
	outcomes := map[string]int{}
	for _, a := range j.next(5) {
		outcomes[string(a.Outcome)+" "+a.Event.ID[:0]]++
		if a.Outcome == workers.Retry && !strings.HasPrefix(a.Report.Reason, "timeout: no outcome within 100ms") {
			t.Errorf("reason = %q, want a timeout", a.Report.Reason)
		}
	}
	if outcomes["retry "] != 2 || outcomes["done "] != 3 {
		t.Errorf("outcomes = %v, want two retries and three done", outcomes)
	}
	close(release)
	waitFor(t, "the end of the handler", func() bool { return strings.Contains(j.log.String(), "a handler that was given up has ended") })
	j.mustStop()
	b.settled("w")
}

// A handler that was given up and has ended takes no place any more.
func TestAHandlerThatEndsLateIsNoneThatIsStuck(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.durable("w", time.Minute)
	release := map[string]chan struct{}{"a": make(chan struct{}), "b": make(chan struct{})}
	j := b.run("w", func(_ context.Context, e created) error {
		if wait := release[e.Data.SchemaID]; e.Attempt == 1 && wait != nil {
			<-wait
		}
		return nil
	}, workers.Timeout(50*time.Millisecond), workers.Concurrency(2))
	for n, schema := range []string{"a", "b"} {
		b.publish(schema)
		for _, want := range []workers.Outcome{workers.Retry, workers.Done} {
			if a := j.next(1)[0]; a.Outcome != want {
				t.Errorf("attempt at %s = %+v, want %s", schema, a, want)
			}
		}
		close(release[schema])
		waitFor(t, "the end of the handler", func() bool {
			return strings.Count(j.log.String(), "a handler that was given up has ended") == n+1
		})
	}
	b.publish("fine")
	if a := j.next(1)[0]; a.Outcome != workers.Done {
		t.Errorf("attempt = %+v, want it done: one place was taken at a time", a)
	}
	j.mustStop()
}

func TestAnAttemptIsCountedFromOne(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.durable("w", time.Minute)
	j := b.run("w", func(context.Context, created) error { return nil })
	for header, want := range map[string]int{"0": 1, "-3": 1, "x": 1, "4": 4} {
		m := nats.NewMsg(events.Subject("identity.created"))
		m.Data = encode(t, newEvent("customer"))
		m.Header.Set(nats.MsgIdHdr, "of header "+header)
		m.Header.Set(events.HeaderAttempt, header)
		if _, err := b.api.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if a := j.next(1)[0]; a.Number != want || a.Outcome != workers.Done {
			t.Errorf("attempt of header %s = %+v, want number %d", header, a, want)
		}
	}
	j.mustStop()
}

func TestRunEndsWhenNoHandlerEnds(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.durable("w", time.Minute)
	b.publish("a", "b", "c")
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	j := b.run("w", func(context.Context, created) error { <-release; return nil },
		workers.Timeout(50*time.Millisecond), workers.Concurrency(2))
	for _, a := range j.next(2) {
		if a.Outcome != workers.Retry {
			t.Errorf("attempt = %+v, want a retry", a)
		}
	}
	if err := receive(t, j.done, "end of Run"); err == nil || !strings.Contains(err.Error(), "every place is taken") {
		t.Errorf("Run = %v, want an error about the handlers", err)
	}
}

func encode(t testing.TB, e events.Event) []byte {
	t.Helper()
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestReasonsShowNoMoreThanTheyMust(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"plain":     {errors.New("the CRM answers 503"), "error: the CRM answers 503"},
		"address":   {errors.New(`550 <ada.l@example.com>: no mailbox, call +49 170 1234567 or "b@c.de"`), `error: 550 <[address]>: no mailbox, call [address] or "[address]"`},
		"lines":     {errors.New("a\nb\x00c"), "error: a b c"},
		"long":      {errors.New(strings.Repeat("ä", 300)), "error: " + strings.Repeat("ä", 192) + "…"},
		"permanent": {workers.Permanent(errors.New("no such customer")), "permanent: no such customer"},
		"retry":     {workers.RetryIn(time.Hour, errors.New("busy")), "error: busy"},
		"deadline":  {fmt.Errorf("call: %w", context.DeadlineExceeded), "timeout: call: context deadline exceeded"},
	} {
		w := workers.New("w", workers.Logger(discard))
		workers.On(w, func(context.Context, created) error { return tc.err })
		a := w.Try(t.Context(), workers.Delivery{Message: encode(t, newEvent("customer"))})
		if a.Report.Reason != tc.want {
			t.Errorf("%s: reason = %q, want %q", name, a.Report.Reason, tc.want)
		}
	}
	w := workers.New("w", workers.Logger(discard))
	workers.On(w, func(context.Context, created) error { return nil })
	for message, want := range map[string]string{
		`{"id":"1","type":"identity.created","data":{"identity_id":4917012}}`: "decode: its data is not that of identity.created",
		`"ada@example.com`: "decode: it is no event",
	} {
		a := w.Try(t.Context(), workers.Delivery{Message: []byte(message)})
		if a.Report.Reason != want || !a.Report.Permanent {
			t.Errorf("report = %+v, want it permanent, %q", a.Report, want)
		}
	}
}

func TestWhatAHandlerKnowsOfItsEvent(t *testing.T) {
	t.Parallel()
	e := newEvent("customer")
	e.Sequence = "7"
	w := workers.New("w", workers.Logger(discard))
	var got string
	workers.On(w, func(ctx context.Context, e created) error {
		_, deadline := ctx.Deadline()
		got = fmt.Sprint(workers.EventID(ctx), workers.IdempotencyKey(ctx), workers.Sequence(ctx), e.Attempt, deadline)
		return nil
	})
	if a := w.Try(t.Context(), workers.Delivery{Message: encode(t, e), Attempt: 3}); a.Outcome != workers.Done || a.Number != 3 {
		t.Errorf("attempt = %+v, want the third, done", a)
	}
	if want := fmt.Sprint(e.ID, "w:"+e.ID, 7, 3, true); got != want {
		t.Errorf("the handler saw %s, want %s", got, want)
	}
	if id, key, n := workers.EventID(t.Context()), workers.IdempotencyKey(t.Context()), workers.Sequence(t.Context()); id != "" || key != "" || n != 0 {
		t.Errorf("outside of a handler: %q, %q, %d, want nothing", id, key, n)
	}
	if _, err := workers.Identity(t.Context()); !errors.Is(err, workers.ErrUnavailable) {
		t.Errorf("Identity outside of a handler = %v, want %v", err, workers.ErrUnavailable)
	}
}

func TestTryGivesUpWhatIgnoresItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := workers.New("w", workers.Logger(discard))
		release := make(chan struct{})
		workers.On(w, func(context.Context, created) error { <-release; return nil })
		a := w.Try(t.Context(), workers.Delivery{Message: encode(t, newEvent("customer"))})
		if a.Outcome != workers.Retry || a.Report.Reason != "timeout: no outcome within 1m0s" || a.Took != time.Minute+2*time.Second {
			t.Errorf("attempt = %+v, want it given up after a minute and two seconds", a)
		}
		close(release)
	})
}
