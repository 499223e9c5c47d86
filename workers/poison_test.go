package workers_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

// poisonedName makes this program a worker of that name, which some events are
// poison for.
const poisonedName = "USHER_TEST_POISONED"

// runPoisoned is the main function of the worker. What an event is for it is the
// schema of the event's identity.
func runPoisoned(name string) {
	w := workers.New(name, workers.Concurrency(1), workers.Timeout(300*time.Millisecond))
	workers.On(w, func(_ context.Context, e created) error {
		switch schema := e.Data.SchemaID; {
		case schema == "exit":
			os.Exit(3)
		case schema == "panic" && e.Attempt == 1:
			panic("always")
		case schema == "loop" && e.Attempt == 1:
			select {} // it ignores the end of its context, too
		default:
			fmt.Println("done " + schema)
		}
		return nil
	})
	fmt.Fprintln(os.Stderr, w.Run(context.Background()))
}

// poisoned runs the worker, and again whenever it ends, until the test does. It
// gives what the worker has printed.
func (b *bus) poisoned(name string) (printed func() string) {
	var out logs
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.t.Context()))
	env := append(os.Environ(), poisonedName+"="+name, "NATS_URL="+b.url, "NATS_CREDS="+b.credentials(name))
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			c := exec.CommandContext(ctx, os.Args[0])
			c.Env, c.Stdout = env, &out
			_ = c.Run()
		}
	})
	b.t.Cleanup(func() { cancel(); running.Wait() })
	return out.String
}

// A worker of its own process, which others start again when it ends: an event
// that makes it panic, loop or exit is a failure or a dead letter with its reason,
// and the others are done.
func TestPoisonInAProgram(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.durable("crm", 400*time.Millisecond)
	b.publish("panic", "exit", "loop")
	others := names(12)
	b.publish(others...)
	printed := b.poisoned("crm")
	waitFor(t, "the others to be done", func() bool {
		return !slices.ContainsFunc(append(others, "panic", "loop"), func(name string) bool {
			return !strings.Contains(printed(), "done "+name+"\n")
		})
	})
	reasons := func() (all []string) {
		for _, r := range b.failed.Reports() {
			all = append(all, fmt.Sprint(r.Reason, " ", r.Permanent))
		}
		return all
	}
	for _, want := range []string{
		"panic: always false", "timeout: no outcome within 300ms false", "crash: delivered 6 times without an outcome true",
	} {
		waitFor(t, "a report: "+want, func() bool { return slices.Contains(reasons(), want) })
	}
	waitFor(t, "nothing to be left", func() bool {
		i := b.info("crm")
		return i.NumAckPending == 0 && i.NumPending == 0
	})
	t.Logf("reports: %q", reasons())
}

// A worker that never acks gets its events again and again, holds back no other
// hook, and is seen. When it is replaced, nothing is lost.
func TestAWorkerThatNeverAcks(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.durable("deaf", 200*time.Millisecond)
	b.durable("well", time.Minute)
	sent := b.publish(names(5)...)
	for range 2 * len(sent) { // no ack
		b.fetch("deaf")
	}
	well := b.run("well", func(context.Context, created) error { return nil })
	well.next(len(sent))
	well.mustStop()
	b.settled("well")
	if i := b.info("deaf"); i.NumAckPending != len(sent) || i.NumRedelivered == 0 {
		t.Errorf("%d ack pending, %d redelivered, want all five and some", i.NumAckPending, i.NumRedelivered)
	}

	mended := b.run("deaf", func(context.Context, created) error { return nil })
	done := map[string]bool{}
	for len(done) < len(sent) {
		if a := mended.next(1)[0]; a.Outcome == workers.Done {
			done[a.Event.ID] = true
		} else {
			t.Fatalf("attempt = %+v, want done", a)
		}
	}
	mended.mustStop()
	b.settled("deaf")
}

// Events wait while their durable is paused for longer than the time for an ack,
// and what is in hand then is not delivered again.
func TestAPauseLongerThanTheTimeForAnAck(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	const ackWait = 300 * time.Millisecond
	b.durable("w", ackWait)
	b.publish("in hand")
	release, begun := make(chan struct{}), make(chan struct{}, 10)
	j := b.run("w", func(_ context.Context, e created) error {
		begun <- struct{}{}
		if e.Data.SchemaID == "in hand" {
			<-release
		}
		return nil
	})
	receive(t, begun, "handler")
	if _, err := b.provision.PauseConsumer(t.Context(), events.Stream, "w", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	b.publish("waits")
	select {
	case <-begun:
		t.Error("an event came although its durable is paused")
	case <-time.After(3 * ackWait):
	}
	close(release)
	if a := j.next(1)[0]; a.Deliveries != 1 || a.Outcome != workers.Done {
		t.Errorf("attempt = %+v, want done at the first delivery", a)
	}
	if _, err := b.provision.ResumeConsumer(t.Context(), events.Stream, "w"); err != nil {
		t.Fatal(err)
	}
	if a := j.next(1)[0]; a.Deliveries != 1 || a.Outcome != workers.Done || a.Event.ID == "" {
		t.Errorf("attempt = %+v, want the one that waited, done", a)
	}
	j.mustStop()
	b.settled("w")
}

// A worker that was frozen for longer than the time for an ack comes back: its
// late ack does no harm.
func TestALateAck(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.durable("w", 200*time.Millisecond)
	sent := b.publish("customer")
	frozen := b.fetch("w")
	j := b.run("w", func(context.Context, created) error { return nil })
	if a := j.next(1)[0]; a.Event.ID != sent[0].ID || a.Deliveries != 2 || a.Outcome != workers.Done {
		t.Errorf("attempt = %+v, want the event a second time, done", a)
	}
	if err := frozen.Ack(); err != nil {
		t.Errorf("late ack: %v", err)
	}
	b.publish("next")
	j.next(1)
	j.mustStop()
	b.settled("w")
}

// A removed worker that is still running, and waits for its durable to come back,
// asks for it every few seconds and not at full speed.
func TestARemovedWorkerDoesNotSpin(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.durable("w", time.Minute)
	b.publish("customer")
	j := b.run("w", func(context.Context, created) error { return nil }, workers.AwaitConsumer())
	j.next(1)
	if err := b.provision.DeleteConsumer(t.Context(), events.Stream, "w"); err != nil {
		t.Fatal(err)
	}
	const line = "wait for the durable consumer"
	waitFor(t, "a line that says so", func() bool { return strings.Contains(j.log.String(), line) })
	asked := b.requests(t)
	<-time.After(3 * time.Second)
	if n := asked(); n > 15 {
		t.Errorf("it asked %d times within 3 s", n)
	}
	j.mustStop()
}

// requests counts the messages that the connection of the workers sends.
func (b *bus) requests(t *testing.T) func() uint64 {
	t.Helper()
	before := b.hooks.Stats().OutMsgs
	return func() uint64 { return b.hooks.Stats().OutMsgs - before }
}
