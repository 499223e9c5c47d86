package workers_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

func TestDrainFinishesWhatRunsAndLosesNothing(t *testing.T) {
	t.Parallel()
	const total = 60
	b := newBus(t)
	b.durable("w", time.Minute) // what drain left behind would come too late for this test
	var mu sync.Mutex
	seen := map[string]int{}
	handle := func(ctx context.Context, e created) error {
		mu.Lock()
		defer mu.Unlock()
		seen[e.ID]++
		return ctx.Err()
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range total {
			if err := b.publishEvent(t.Context(), newEvent("customer")); err != nil {
				t.Errorf("publish: %v", err)
			}
		}
	}()
	first := 0
	for range 5 { // workers come and go while events come in
		j := b.run("w", func(ctx context.Context, e created) error {
			<-time.After(5 * time.Millisecond)
			return handle(ctx, e)
		}, workers.Concurrency(4))
		j.next(3)
		j.mustStop()
		first += 3 + len(j.attempts)
		i := b.info("w")
		for tries := 0; i.NumAckPending != 0 && tries < 100; tries++ { // the bus takes acks in its own time
			time.Sleep(10 * time.Millisecond)
			i = b.info("w")
		}
		if i.NumAckPending != 0 {
			t.Errorf("%d messages are in nobody's hands after the end, want 0", i.NumAckPending)
		}
	}
	receive(t, sent, "end of publishing")
	j := b.run("w", handle)
	j.next(total - first)
	j.mustStop()
	if len(seen) != total {
		t.Errorf("%d events were handled, want %d", len(seen), total)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("event %s was handled %d times, want 1", id, n)
		}
	}
	b.settled("w")
}

func TestGraceEnds(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.durable("listens", time.Minute)
	b.durable("ignores", time.Minute)
	b.publish("customer")
	begun := make(chan struct{}, 2)
	listens := b.run("listens", func(ctx context.Context, _ created) error {
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}, workers.Grace(50*time.Millisecond))
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	ignores := b.run("ignores", func(context.Context, created) error {
		begun <- struct{}{}
		<-release
		return nil
	}, workers.Grace(50*time.Millisecond))
	receive(t, begun, "handler")
	receive(t, begun, "handler")
	listens.mustStop()
	if a := listens.next(1)[0]; a.Outcome != workers.Unreported || !errors.Is(a.Err, context.Canceled) {
		t.Errorf("attempt = %+v, want nothing reported because of %v", a, context.Canceled)
	}
	if got := b.failed.Reports(); len(got) != 0 {
		t.Errorf("reports = %+v, want none: the handler has not failed", got)
	}
	if err := ignores.stop(); err == nil || !strings.Contains(err.Error(), "ignores the end of its context") {
		t.Errorf("Run = %v, want an error about the handler", err)
	}
}

func TestEventComesAgainAfterACrash(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.durable("w", 300*time.Millisecond)
	sent := b.publish("customer")
	dying, err := b.connect(t.Context(), events.UserHooks)
	if err != nil {
		t.Fatal(err)
	}
	begun, release := make(chan struct{}), make(chan struct{})
	first := b.run("w", func(context.Context, created) error {
		close(begun)
		<-release
		return nil
	}, workers.WithConn(dying))
	receive(t, begun, "handler")
	dying.Close() // as a killed process would: no ack, no nak

	second := b.run("w", func(context.Context, created) error { return nil })
	a := second.next(1)[0]
	if a.Event.ID != sent[0].ID || a.Number != 1 || a.Deliveries != 2 || a.Outcome != workers.Done {
		t.Errorf("attempt = %+v, want the first of %s, delivered twice, done", a, sent[0].ID)
	}
	second.mustStop()
	close(release)
	if err := receive(t, first.done, "end of the first worker"); err == nil {
		t.Error("Run on a closed connection = nil, want an error")
	}
	b.settled("w")
}

func TestMissingDurable(t *testing.T) {
	t.Parallel()
	handle := func(context.Context, created) error { return nil }
	b := newBus(t)
	refused := b.run("w", handle)
	err := receive(t, refused.done, "end of Run")
	if err == nil || !strings.Contains(err.Error(), `worker "w"`) || !strings.Contains(err.Error(), `no durable consumer "w"`) {
		t.Errorf("Run without a durable = %v, want an error that names worker and durable", err)
	}

	b.publish("customer")
	waiting := b.run("w", handle, workers.AwaitConsumer())
	waitFor(t, "the worker to wait", func() bool { return strings.Contains(waiting.log.String(), "wait for the durable consumer") })
	b.durable("w", time.Minute)
	waiting.next(1)

	// Removing a worker ends one that does not wait, and a waiting one goes on when it is back.
	strict := b.run("w", handle)
	b.publish("customer")
	waitFor(t, "the second event", func() bool { return len(waiting.attempts)+len(strict.attempts) == 1 })
	if err := b.provision.DeleteConsumer(t.Context(), events.Stream, "w"); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, strict.done, "end of Run"); err == nil || !strings.Contains(err.Error(), "no durable consumer") {
		t.Errorf("Run with a deleted durable = %v, want an error that says so", err)
	}
	b.durable("w", time.Minute)
	waiting.next(2)
	waiting.mustStop()
}

// What the bus refused once stays the connection's last error; it breaks no pull.
func TestAnOldViolationBreaksNoPull(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.durable("w", 30*time.Second)
	nc := b.worker("w")
	if err := nc.Publish("$JS.API.CONSUMER.DELETE."+events.Stream+".w", nil); err != nil {
		t.Fatal(err)
	}
	for nc.LastError() == nil {
		if err := nc.FlushTimeout(4 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if err := b.publishEvent(t.Context(), newEvent("customer")); err != nil {
			t.Fatal(err)
		}
	}
	j := b.run("w", func(context.Context, created) error { return nil }, workers.WithConn(nc), workers.Concurrency(1))
	j.next(3)
	j.mustStop()
	if strings.Contains(j.log.String(), "pull broke") {
		t.Errorf("a pull broke for what was refused before:\n%s", j.log)
	}
}

func TestWorkerThatCannotWork(t *testing.T) {
	t.Parallel()
	handle := func(context.Context, created) error { return nil }
	for name, tc := range map[string]struct {
		worker *workers.Worker
		handle bool
		want   string
	}{
		"name":        {workers.New("identity.created"), true, "want up to 64"},
		"no handler":  {workers.New("w"), false, "handles no event"},
		"concurrency": {workers.New("w", workers.Concurrency(0)), true, "concurrency is 0"},
	} {
		if tc.handle {
			workers.On(tc.worker, handle)
		}
		if err := tc.worker.Run(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: Run = %v, want %q", name, err, tc.want)
		}
	}

	w := workers.New("w")
	workers.On(w, handle)
	defer func() {
		if p := fmt.Sprint(recover()); !strings.Contains(p, "identity.created twice") {
			t.Errorf("On panicked with %q, want a word about the second handler", p)
		}
	}()
	workers.On(w, handle)
}

// credentials writes the credential of a worker to a file.
func (b *bus) credentials(worker string) string {
	b.t.Helper()
	text, err := b.mint(worker)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.file(worker, text)
}

func (b *bus) file(name string, text []byte) string {
	b.t.Helper()
	file := filepath.Join(b.dir, name+".creds")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		b.t.Fatal(err)
	}
	return file
}

func (b *bus) nonsense() string { return b.file("nonsense", []byte("hello")) }

func (b *bus) expired(worker string) string {
	b.t.Helper()
	m, err := b.keys.Minter()
	if err != nil {
		b.t.Fatal(err)
	}
	text, err := m.WorkerCredentials(worker, time.Now().Add(-time.Second))
	if err != nil {
		b.t.Fatal(err)
	}
	return b.file("expired", text)
}

// former is a credential of another bus of that name.
func (b *bus) former(worker string) string {
	b.t.Helper()
	keys, err := events.LoadOrMakeKeys(filepath.Join(b.dir, "former-keys"))
	if err != nil {
		b.t.Fatal(err)
	}
	m, err := keys.Minter()
	if err != nil {
		b.t.Fatal(err)
	}
	text, err := m.WorkerCredentials(worker, time.Now().Add(time.Hour))
	if err != nil {
		b.t.Fatal(err)
	}
	return b.file("former", text)
}

func TestWorkerConnectsByEnvironment(t *testing.T) {
	b := newBus(t)
	b.durable("crm", time.Minute)
	b.publish("customer")
	t.Setenv("NATS_URL", b.url)
	t.Setenv("NATS_CREDS", b.credentials("crm"))
	handle := func(context.Context, created) error { return nil }

	crm := b.run("crm", handle, workers.WithConn(nil), workers.DoubleAck())
	if a := crm.next(1)[0]; a.Outcome != workers.Done {
		t.Errorf("attempt = %+v, want done", a)
	}
	crm.mustStop()
	b.settled("crm")
	if log := crm.log.String(); !strings.Contains(log, `"msg":"takes events"`) || !strings.Contains(log, b.url) {
		t.Errorf("the log does not say that it takes events, and whose: %s", log)
	}
	inside := b.run("crm", handle, workers.WithConn(b.inside(events.UserHooks)))
	b.publish("customer")
	inside.next(1)
	inside.mustStop()
	if log := inside.log.String(); !strings.Contains(log, `"bus":"in process"`) {
		t.Errorf("the log names a bus that has no address: %s", log)
	}

	for name, tc := range map[string]struct{ creds, want string }{
		"of another":  {b.credentials("mail"), `is the credential of "mail", not of "crm", whose it has to be; a new one: usher worker rotate crm`},
		"expired":     {b.expired("crm"), "expired at "},
		"no creds":    {b.nonsense(), "it is no .creds file of a user; a new credential: usher worker rotate crm"},
		"nowhere":     {filepath.Join(b.dir, "nowhere.creds"), "nowhere.creds: no such file or directory; a new credential: usher worker rotate crm"},
		"none":        {"", "NATS_CREDS is not set"},
		"of a former": {b.former("crm"), "the bus asked is " + b.url},
	} {
		t.Setenv("NATS_CREDS", tc.creds)
		err := receive(t, b.run("crm", handle, workers.WithConn(nil)).done, "end of Run")
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "usher worker rotate crm") {
			t.Errorf("%s: Run = %v, want an error with %q", name, err, tc.want)
		}
	}
}

func TestBusIsNamedWithoutAPassword(t *testing.T) {
	for set, tc := range map[string]struct{ bus, want string }{
		"nats://a:4222": {"nats://ann:hidden@a:4222, b:4222", "nats://ann:xxxxx@a:4222,nats://b:4222"},
		"":              {"nats://127.0.0.1:4222", "nats://127.0.0.1:4222, as NATS_URL is not set"},
	} {
		t.Setenv("NATS_URL", set)
		if got := workers.BusName(tc.bus); got != tc.want {
			t.Errorf("bus %s = %q, want %q", tc.bus, got, tc.want)
		}
	}
}

func TestMissingRightIsOneLineWithTheCommandThatMendsIt(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.durable("mail", time.Minute)
	mail := b.run("mail", func(context.Context, created) error { return nil }, workers.WithConn(b.worker("crm")), workers.AwaitConsumer())
	err := receive(t, mail.done, "end of Run")
	want := `worker "mail": no right to use $JS.API.CONSUMER.INFO.USHER_EVENTS.mail as mail; to mend it: usher worker rotate mail`
	if err == nil || err.Error() != want {
		t.Errorf("Run with another worker's right = %v, want %s", err, want)
	}
}

// The bus answers a pull without the right with silence: it is seen all the same.
func TestARightThatIsLostWhilePulling(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.durable("crm", time.Minute)
	b.publish("customer")
	nc := b.worker("crm")
	j := b.run("crm", func(context.Context, created) error { return nil }, workers.WithConn(nc))
	j.next(1)
	if err := nc.Publish("$JS.API.CONSUMER.DELETE."+events.Stream+".crm", nil); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the line about it", func() bool {
		text := j.log.String()
		return strings.Contains(text, "pull broke") && strings.Contains(text, "no right to use")
	})
	j.mustStop()
}

func TestWorkerWaitsForTheBus(t *testing.T) {
	b := newBus(t)
	b.durable("crm", 300*time.Millisecond)
	address, err := url.Parse(b.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NATS_URL", b.url)
	t.Setenv("NATS_CREDS", b.credentials("crm"))
	handle := func(context.Context, created) error { return nil }

	b.server.Close()
	early := b.run("crm", handle, workers.WithConn(nil))
	waitFor(t, "the worker to wait", func() bool { return strings.Contains(early.log.String(), `"url":"`+b.url) })
	stopped := b.run("crm", handle, workers.WithConn(nil))
	stopped.mustStop()

	for range 2 { // at the start of the worker, and while it runs
		if err := b.start(t.Context(), address.Host); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "a connection to publish with", b.parts[1].IsConnected)
		b.publish("customer")
		early.next(1)
		b.server.Close()
	}
	if err := b.start(t.Context(), address.Host); err != nil {
		t.Fatal(err)
	}
	early.mustStop()
}
