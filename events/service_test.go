package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/usher-auth/usher/events"
)

// soon is a deadline that is not reached where somebody answers.
func soon() time.Time { return time.Now().Add(4 * time.Second) }

type handler = func(context.Context, events.Request) ([]byte, error)

// service is a session service that answers with handle.
func service(log *lines, handle handler) events.Service {
	return events.Service{
		Name: "session", Version: "1.2.3", Subject: events.SubjectSessionIssue,
		Concurrency: 4, Pending: 100, Handle: handle, Log: log.logger(),
	}
}

// serve serves until stop, which gives what Serve returned, or the test's end.
func serve(tb testing.TB, nc *nats.Conn, handle handler) (stop func() error) {
	tb.Helper()
	return run(tb, nc, service(&lines{}, handle))
}

func run(tb testing.TB, nc *nats.Conn, s events.Service) (stop func() error) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	s.Ready = func() { close(ready) }
	go func() { done <- events.Serve(ctx, nc, s) }()
	select {
	case <-ready:
	case err := <-done:
		tb.Fatal(err)
	}
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	tb.Cleanup(func() {
		if err := stop(); err != nil {
			tb.Errorf("Serve() = %v, want nil", err)
		}
	})
	return stop
}

func TestAskIsAnswered(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	serve(t, b.connect(events.UserSession), func(ctx context.Context, r events.Request) ([]byte, error) {
		end, _ := ctx.Deadline()
		if !end.Equal(r.Deadline) {
			return nil, fmt.Errorf("context ends at %v, request at %v", end, r.Deadline)
		}
		return fmt.Appendf(nil, "%s %s %d", r.ID, r.Data, r.Deadline.UnixMilli()), nil
	})
	deadline := soon()
	for name, nc := range map[string]*nats.Conn{"in process": b.connect(events.UserAPIAuth), "over TCP": b.connectTCP(events.UserAPIAuth)} {
		got, err := events.Ask(t.Context(), nc, events.SubjectSessionIssue, "id-1", deadline, []byte("hello"))
		var end int64 // by the clock of the service, to which the way there is nothing
		if _, wrong := fmt.Sscanf(string(got), "id-1 hello %d", &end); err != nil || wrong != nil {
			t.Fatalf("Ask %s = %q, %v, want the id, the data and the deadline", name, got, err)
		}
		if later := time.UnixMilli(end).Sub(deadline); later < -time.Millisecond || later > 500*time.Millisecond {
			t.Errorf("Ask %s: the deadline is %v later than it was asked for", name, later)
		}
	}
}

func TestRefusalsCrossTheBus(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	log := &lines{}
	run(t, b.connect(events.UserSession), service(log, func(_ context.Context, r events.Request) ([]byte, error) {
		switch r.ID {
		case "refused":
			return nil, fmt.Errorf("issue: %w", &events.Refused{Code: events.CodeGrantUsed, Text: "grant is used"})
		case "failed":
			return nil, errors.New("database of anna@example.org")
		case "panic":
			panic("nil map")
		}
		return []byte("fine"), nil
	}))
	api := b.connect(events.UserAPIAuth)
	for _, test := range []struct{ id, code, text, logged string }{
		{"refused", events.CodeGrantUsed, "grant is used", ""},
		{"failed", events.CodeError, "the service failed", "database of"},
		{"panic", events.CodeError, "the service failed", "nil map"},
	} {
		_, err := events.Ask(t.Context(), api, events.SubjectSessionIssue, test.id, soon(), nil)
		var refused *events.Refused
		if !errors.As(err, &refused) || refused.Code != test.code || refused.Text != test.text {
			t.Errorf("Ask(%s) = %v, want a refusal %s: %s", test.id, err, test.code, test.text)
		}
		if !errors.Is(err, &events.Refused{Code: test.code}) || errors.Is(err, &events.Refused{Code: "other"}) {
			t.Errorf("errors.Is(%v) does not go by the code %s", err, test.code)
		}
		if found := log.with("level=ERROR", test.logged); (len(found) == 1) != (test.logged != "") {
			t.Errorf("Ask(%s) logged %q, want it once where the text stays behind", test.id, found)
		}
	}
	if got, err := events.Ask(t.Context(), api, events.SubjectSessionIssue, "", soon(), nil); string(got) != "fine" {
		t.Errorf("Ask after a panic = %q, %v, want an answer", got, err)
	}
}

func TestLateRequestsAreNotHandled(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	handled := atomic.Int32{}
	serve(t, b.connect(events.UserSession), func(context.Context, events.Request) ([]byte, error) {
		handled.Add(1)
		return nil, nil
	})
	api := b.connect(events.UserAPIAuth)
	for deadline, code := range map[string]string{
		strconv.FormatInt(time.Now().Add(-time.Millisecond).UnixMilli(), 10): events.CodeLate,
		"0":    events.CodeLate,
		"soon": events.CodeInvalid,
	} {
		m := &nats.Msg{Subject: events.SubjectSessionIssue, Header: nats.Header{events.HeaderDeadline: {deadline}}}
		reply, err := api.RequestMsg(m, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if got := reply.Header.Get(micro.ErrorCodeHeader); got != code || handled.Load() != 0 {
			t.Errorf("request with deadline %s: code %q and %d handled, want %q and none", deadline, got, handled.Load(), code)
		}
	}
}

// Clocks of two machines may differ: what counts is how long a request waits.
func TestClocksMayDiffer(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	left := make(chan time.Duration, 1)
	serve(t, b.connect(events.UserSession), func(ctx context.Context, _ events.Request) ([]byte, error) {
		until, _ := ctx.Deadline()
		left <- time.Until(until)
		return nil, nil
	})
	for _, ahead := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute} {
		api := b.connect(events.UserAPIAuth)
		send := func(waited time.Duration) string {
			reply, err := api.RequestMsg(&nats.Msg{Subject: events.SubjectSessionIssue, Header: nats.Header{
				events.HeaderDeadline: {strconv.FormatInt(time.Now().Add(ahead-waited+time.Second).UnixMilli(), 10)},
				events.HeaderTimeout:  {"1000"},
			}}, 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			return reply.Header.Get(micro.ErrorCodeHeader)
		}
		if code := send(0); code != "" {
			t.Fatalf("with a clock %v ahead the answer is %q, want one", ahead, code)
		}
		if got := <-left; got < 500*time.Millisecond || got > time.Second {
			t.Errorf("with a clock %v ahead there are %v left of a second", ahead, got)
		}
		if code := send(3 * time.Second); code != events.CodeLate {
			t.Errorf("with a clock %v ahead what has waited for 3 s is answered with %q, want %q", ahead, code, events.CodeLate)
		}
	}
}

// A connection that went over to another credential was away for some milliseconds, and
// whoever asked in them was told that there is no worker.
func TestAskWaitsForItsConnection(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	api := b.connectTCP(events.UserAPIAuth)
	stop := serve(t, b.connect(events.UserSession), func(context.Context, events.Request) ([]byte, error) { return []byte("{}"), nil })
	for range 10 {
		if err := api.ForceReconnect(); err != nil {
			t.Fatal(err)
		}
		if _, err := events.Ask(t.Context(), api, events.SubjectSessionIssue, "id", soon(), nil); err != nil {
			t.Errorf("Ask by a connection that is made anew = %v, want an answer", err)
		}
	}
	if err := stop(); err != nil {
		t.Errorf("Serve() = %v, want nil", err)
	}
}

func TestWhyThereIsNoAnswer(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	api := b.connectTCP(events.UserAPIAuth)
	ask := func(ctx context.Context, deadline time.Time) error {
		_, err := events.Ask(ctx, api, events.SubjectSessionIssue, "id", deadline, nil)
		return err
	}
	if err := ask(t.Context(), soon()); !errors.Is(err, events.ErrNoWorker) {
		t.Errorf("Ask without a worker = %v, want ErrNoWorker", err)
	}

	canceled, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	stop := serve(t, b.connect(events.UserSession), func(context.Context, events.Request) ([]byte, error) {
		cancel()
		<-release
		return nil, nil
	})
	if err := ask(canceled, soon()); !errors.Is(err, context.Canceled) {
		t.Errorf("Ask with a canceled context = %v, want context.Canceled", err)
	}
	if err := ask(t.Context(), time.Now().Add(50*time.Millisecond)); !errors.Is(err, events.ErrTimeout) {
		t.Errorf("Ask of a slow worker = %v, want ErrTimeout", err)
	}
	if err := ask(t.Context(), time.Now().Add(-time.Second)); !errors.Is(err, events.ErrTimeout) {
		t.Errorf("Ask after the deadline = %v, want ErrTimeout", err)
	}

	close(release)
	if err := stop(); err != nil {
		t.Errorf("Serve() = %v, want nil", err)
	}
	if err := ask(t.Context(), soon()); !errors.Is(err, events.ErrNoWorker) {
		t.Errorf("Ask after the worker drained = %v, want ErrNoWorker", err)
	}
	b.server.Close()
	eventually(t, "the connection notices", func() bool { return !api.IsConnected() })
	begin := time.Now()
	if err := ask(t.Context(), soon()); !errors.Is(err, events.ErrNoWorker) || time.Since(begin) > time.Second {
		t.Errorf("Ask without a bus = %v after %v, want ErrNoWorker at once", err, time.Since(begin))
	}
}

func TestRequestsAreHandledAtTheSameTimeAndNotTooMany(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	var running, most atomic.Int32
	together := make(chan struct{})
	serve(t, b.connect(events.UserSession), func(ctx context.Context, _ events.Request) ([]byte, error) {
		now := running.Add(1)
		defer running.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		if now == 4 {
			select {
			case <-together:
			default:
				close(together) // only one can be the fourth while the others wait
			}
		}
		select {
		case <-together: // all four places are taken at once, or nobody is answered
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	api := b.connect(events.UserAPIAuth)
	var all sync.WaitGroup
	for n := range 40 {
		all.Go(func() {
			if _, err := events.Ask(t.Context(), api, events.SubjectSessionIssue, strconv.Itoa(n), soon(), nil); err != nil {
				t.Errorf("Ask = %v, want an answer", err)
			}
		})
	}
	all.Wait()
	if most.Load() != 4 {
		t.Errorf("at most %d requests ran at the same time, want 4", most.Load())
	}
}

// TestRequestsOfOthersAreDropped asks for an answer to another's subject, which
// the bus does not prevent.
func TestRequestsOfOthersAreDropped(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	asked := make(chan string, 8)
	serve(t, b.connect(events.UserSession), func(_ context.Context, r events.Request) ([]byte, error) {
		asked <- string(r.Data)
		return nil, nil
	})
	api := b.connect(events.UserAPIAuth)
	if err := api.Publish(events.SubjectSessionIssue, []byte("no reply")); err != nil {
		t.Fatal(err)
	}
	for _, reply := range []string{"usher.evt.v1.identity.created", "_INBOX_api-authority.1", "_INBOX_admin-auth.1"} {
		if err := api.PublishRequest(events.SubjectSessionIssue, reply, []byte("stray to "+reply)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := events.Ask(t.Context(), api, events.SubjectSessionIssue, "", soon(), []byte("the API's")); err != nil {
		t.Fatal(err)
	}
	if data := <-asked; data != "the API's" || len(asked) != 0 {
		t.Errorf("handled %q and %d more, want only the API's request", data, len(asked))
	}
	if got := counts(t, b)["stray"]; got != 4 {
		t.Errorf("counted %v stray requests, want 4", got)
	}
}

// TestAWorkerAsksUnderItsOwnName: one service for all workers knows who asks.
func TestAWorkerAsksUnderItsOwnName(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	s := service(b.log, func(_ context.Context, r events.Request) ([]byte, error) {
		return []byte(r.Name + " asks"), nil
	})
	s.Name, s.Subject, s.Askers = "hook-failed", events.SubjectHookFailed("*"), events.AskedByWorker
	run(t, b.connectTCP(events.UserDelivery), s)
	for user, name := range map[string]string{"crm": "crm", "mail": "mail", events.UserHooks: "courier"} {
		got, err := events.Ask(t.Context(), b.connectTCP(user), events.SubjectHookFailed(name), "", soon(), nil)
		if string(got) != name+" asks" || err != nil {
			t.Errorf("%s asks as %s: %q, %v, want an answer to %s", user, name, got, err, name)
		}
	}
}

// TestDiscoveryShowsWorkers: a worker's credential is enough to be seen, in
// either account, and to answer under its own name.
func TestDiscoveryShowsWorkers(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	for user, admin := range map[string]string{"crm": events.UserAdminEvents, answering: events.UserAdminAuth} {
		nc := b.connectTCP(user)
		svc, err := micro.AddService(nc, micro.Config{Name: user, Version: "1.0.0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = svc.Stop() })
		flush(t, nc)
		operator := b.connect(admin)
		for _, subject := range []string{"$SRV.PING", "$SRV.INFO." + user, "$SRV.STATS." + user + "." + svc.Info().ID} {
			m, err := operator.Request(subject, nil, 5*time.Second)
			if err != nil || !strings.Contains(string(m.Data), user) {
				t.Errorf("%s: %v, %v, want %s", subject, m, err, user)
			}
		}
	}
	if lines := b.log.with("no right"); len(lines) > 0 {
		t.Errorf("log has %q, want no missing right", lines)
	}
}

func TestAnAnsweringWorkerAnswers(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	gate := b.connectTCP(answering)
	_, err := gate.QueueSubscribe(events.SubjectHookAnswer(answering), "q", func(m *nats.Msg) { _ = m.Respond([]byte("go on")) })
	if err != nil {
		t.Fatal(err)
	}
	flush(t, gate)
	got, err := events.Ask(t.Context(), b.connectTCP(events.UserAPIAuth), events.SubjectHookAnswer(answering), "", soon(), nil)
	if string(got) != "go on" || err != nil {
		t.Errorf("Ask(%s) = %q, %v, want its answer", answering, got, err)
	}
}

func TestDiscoveryShowsTheServiceAndItsCounters(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	observed := make(chan string, 8)
	s := service(&lines{}, func(_ context.Context, r events.Request) ([]byte, error) {
		if r.ID == "bad" {
			return nil, &events.Refused{Code: events.CodeInvalid, Text: "invalid"}
		}
		return nil, nil
	})
	s.Observe = func(outcome string, _ time.Duration) { observed <- outcome }
	run(t, b.connect(events.UserSession), s)
	api := b.connect(events.UserAPIAuth)

	ping, err := api.Request("$SRV.PING.session", nil, 5*time.Second)
	if err != nil || !strings.Contains(string(ping.Data), `"version":"1.2.3"`) {
		t.Fatalf("$SRV.PING.session = %v, want the service and its version", err)
	}
	for _, id := range []string{"good", "bad", "good"} {
		_, _ = events.Ask(t.Context(), api, events.SubjectSessionIssue, id, soon(), nil)
	}
	var outcomes []string
	for range 3 {
		outcomes = append(outcomes, <-observed)
	}
	got := counts(t, b)
	if got["answered"] != 2 || got["refused"] != 1 || got["late"] != 0 || got["failed"] != 0 || got["nanoseconds"] == 0 {
		t.Errorf("counters %v, want 2 answered and 1 refused", got)
	}
	if n := strings.Count(strings.Join(outcomes, " "), "ok"); n != 2 {
		t.Errorf("observed %v, want 2 ok and 1 invalid", outcomes)
	}
}

// counts are the service's counters as an operator sees them.
func counts(t *testing.T, b *bus) map[string]float64 {
	t.Helper()
	m, err := b.connect(events.UserAdminAuth).Request("$SRV.STATS.session", nil, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var stats micro.Stats
	if err := json.Unmarshal(m.Data, &stats); err != nil || len(stats.Endpoints) != 1 {
		t.Fatalf("$SRV.STATS.session = %s, %v, want one endpoint", m.Data, err)
	}
	var data map[string]float64
	if err := json.Unmarshal(stats.Endpoints[0].Data, &data); err != nil {
		t.Fatal(err)
	}
	return data
}

// Whoever asks may want the answer sooner than a service takes, not later.
func TestNoDeadlineIsLaterThanAnAnswerTakes(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	deadlines := make(chan time.Time, 1)
	serve(t, b.connect(events.UserSession), func(_ context.Context, r events.Request) ([]byte, error) {
		deadlines <- r.Deadline
		return nil, nil
	})
	api := b.connect(events.UserAPIAuth)
	m := &nats.Msg{Subject: events.SubjectSessionIssue, Reply: api.NewInbox(), Header: nats.Header{
		events.HeaderDeadline: {strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10)},
	}}
	if err := api.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	select {
	case d := <-deadlines:
		if left := time.Until(d); left > 5*time.Second {
			t.Errorf("the deadline is %s away, want no more than 5 s", left)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the request was not handled")
	}
}

// A service may answer each request once: more goes to nobody.
func TestARequestIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	session, api := b.connect(events.UserSession), b.connect(events.UserAPIAuth)
	if _, err := session.QueueSubscribe(events.SubjectSessionIssue, "q", func(m *nats.Msg) {
		for _, text := range []string{"first", "second"} {
			if err := m.Respond([]byte(text)); err != nil {
				t.Errorf("respond: %v", err)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	flush(t, session)
	inbox := api.NewInbox()
	answers, err := api.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if err := api.PublishRequest(events.SubjectSessionIssue, inbox, nil); err != nil {
		t.Fatal(err)
	}
	if m, err := answers.NextMsg(5 * time.Second); err != nil || string(m.Data) != "first" {
		t.Fatalf("answer %v, %v, want the first", m, err)
	}
	eventually(t, "the second answer is refused", func() bool { return errors.Is(session.LastError(), nats.ErrPermissionViolation) })
	if m, err := answers.NextMsg(50 * time.Millisecond); err == nil {
		t.Errorf("answer %s, want none more", m.Data)
	}
}
