package events_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
)

// flaky is a bus that is away until it is pointed at a server.
type flaky struct {
	server atomic.Pointer[natsserver.Server]
}

func (f *flaky) point(b *bus) { f.server.Store(b.server) }

func (f *flaky) InProcessConn() (net.Conn, error) {
	if s := f.server.Load(); s != nil {
		return s.InProcessConn()
	}
	return nil, errors.New("nobody there")
}

func TestConnectWhileTheBusIsAway(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	away := &flaky{}
	options := events.ConnectOptions{InProcess: away, Credentials: b.credentials(events.UserAPIEvents), User: events.UserAPIEvents, Log: b.log.logger()}

	if nc, err := events.Connect(t.Context(), options); err == nil {
		nc.Close()
		t.Error("Connect(FailIfAway) = nil error, want one at once")
	}

	options.IfAway = events.WaitIfAway
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := events.Connect(short, options); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Connect(WaitIfAway) until the context ended = %v, want DeadlineExceeded", err)
	}

	options.IfAway = events.GoOnIfAway
	begin := time.Now()
	goesOn, err := events.Connect(t.Context(), options)
	if err != nil || time.Since(begin) > time.Second {
		t.Fatalf("Connect(GoOnIfAway) = %v after %v, want a connection at once", err, time.Since(begin))
	}
	t.Cleanup(goesOn.Close)
	if err := goesOn.Publish(events.SubjectOutboxKick, nil); err == nil {
		t.Error("Publish while the bus is away = nil, want an error instead of a late message")
	}

	options.IfAway = events.WaitIfAway
	waited := make(chan error, 1)
	go func() {
		nc, err := events.Connect(t.Context(), options)
		if err == nil {
			nc.Close()
		}
		waited <- err
	}()
	away.point(b)
	if err := <-waited; err != nil {
		t.Errorf("Connect(WaitIfAway) = %v, want the bus when it is there", err)
	}
	eventually(t, "the other connection has it too", goesOn.IsConnected)
	if found := b.log.with("bus is away", "nobody there", "bus_user=api-events"); len(found) < 2 || len(found) > 3 {
		t.Errorf("log has %q, want one line for each connection that waited", found)
	}
	eventually(t, "the log says that the bus is back", func() bool { return len(b.log.with("bus is back")) > 0 })
}

func TestSubscriptionsComeBackWithTheBus(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	bus := &flaky{}
	nc := b.dial(events.ConnectOptions{User: events.UserAPIEvents, InProcess: bus, IfAway: events.GoOnIfAway})
	kicked := make(chan struct{}, 1)
	_, err := nc.Subscribe(events.SubjectOutboxKick, func(*nats.Msg) {
		select {
		case kicked <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	bus.point(b)
	for range 2 {
		eventually(t, "a kick arrives", func() bool {
			_ = nc.Publish(events.SubjectOutboxKick, nil)
			select {
			case <-kicked:
				return true
			default:
				return false
			}
		})
		b.server.Close()
		b.start()
		bus.point(b)
	}
}

// switched connects over TCP to the server that it is pointed at, and counts.
type switched struct {
	server atomic.Pointer[natsserver.Server]
	tries  atomic.Int32
}

func (s *switched) InProcessConn() (net.Conn, error) {
	s.tries.Add(1)
	return net.Dial("tcp", strings.TrimPrefix(s.server.Load().ClientURL(), "nats://"))
}

// TestARefusedConnectionTriesOn: a bus that was started with other keys refuses it
// until that is mended. The client's own way is to give up at the second refusal.
func TestARefusedConnectionTriesOn(t *testing.T) {
	t.Parallel()
	b, other := startBus(t), startBus(t)
	bus := &switched{}
	bus.server.Store(b.server)
	nc := b.dial(events.ConnectOptions{User: events.UserAPIEvents, InProcess: bus})
	bus.server.Store(other.server)
	before := bus.tries.Load()
	if err := nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is refused, and tries again and again", func() bool { return bus.tries.Load() > before+4 })
	bus.server.Store(b.server)
	eventually(t, "it is back", func() bool { return nc.IsConnected() && len(b.log.with("bus is back")) > 0 })
	if said := b.log.with("bus_user=api-events"); len(said) != 2 || !strings.Contains(said[0], "the bus refuses the credentials") || !strings.Contains(said[1], "bus is back") {
		t.Errorf("log has %q, want the refusal and its end, once each", said)
	}
}

func TestAMissingRightBecomesOneLine(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	creds := b.credentials(events.UserSessionEvents)
	nc, err := events.Connect(t.Context(), events.ConnectOptions{URL: b.server.ClientURL(), Credentials: creds, User: events.UserSessionEvents, Log: b.log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	for range 3 { // as what is tried again every few seconds
		if err := nc.Publish("usher.evt.v1.identity.created", []byte("secret payload")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := nc.Subscribe("usher.>", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	flush(t, nc)
	for _, want := range []string{
		`level=ERROR msg="bus: no right" bus_user=session-events to=Publish subject=usher.evt.v1.identity.created mend="usher bus config"`,
		`level=ERROR msg="bus: no right" bus_user=session-events to=Subscription subject=usher.> mend="usher bus config"`,
	} {
		eventually(t, want, func() bool { return len(b.log.with(want)) > 0 })
	}
	if lines := b.log.with("no right"); len(lines) != 2 { // that of the subscription is the last
		t.Errorf("log has %q, want one line for each missing right", lines)
	}
	secrets := append(strings.Fields(string(creds)), "secret payload") // the long ones are token and seed
	for _, secret := range secrets {
		if len(secret) < len("secret payload") {
			continue
		}
		if found := b.log.with(secret); len(found) > 0 {
			t.Errorf("log has %q, want nothing of payloads and credentials", found)
		}
	}
}

// TestAWrongCredentialSaysWhatMendsIt: the bus's own word is "Authorization Violation".
func TestAWrongCredentialSaysWhatMendsIt(t *testing.T) {
	t.Parallel()
	b, other := startBus(t), startBus(t)
	for _, test := range []struct {
		name, user string
		creds      []byte
		want       []string
	}{
		{"of another bus", "crm", other.credentials("crm"), []string{"connect to the bus as crm", "usher worker rotate crm"}},
		{"of another bus", events.UserHooks, other.credentials(events.UserHooks), []string{"connect to the bus as hooks", "usher bus config"}},
		{"of another worker", "mail", b.credentials("crm"), []string{"as mail", "that of crm"}},
		{"that is none", "crm", []byte("hello"), []string{"as crm", "no .creds file"}},
	} {
		nc, err := events.Connect(t.Context(), events.ConnectOptions{URL: b.server.ClientURL(), Credentials: test.creds, User: test.user, Log: b.log.logger()})
		if err == nil {
			nc.Close()
			t.Errorf("Connect with a credential %s = nil error", test.name)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("Connect with a credential %s = %v, want %q in it", test.name, err, want)
			}
		}
	}
}

// TestAskWithoutTheRightSaysSo: it looks like a timeout.
func TestAskWithoutTheRightSaysSo(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	crm := b.connect("crm")
	for subject, forbidden := range map[string]bool{events.SubjectHookFailed("mail"): true, events.SubjectHookFailed("crm"): false} {
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		_, err := events.Ask(ctx, crm, subject, "", time.Now().Add(100*time.Millisecond), nil)
		cancel()
		if errors.Is(err, events.ErrNoRight) != forbidden || errors.Is(err, events.ErrTimeout) != forbidden {
			t.Errorf("Ask(%s) = %v, want ErrTimeout and ErrNoRight %t", subject, err, forbidden)
		}
	}
}

// TestAnOldViolationIsNoneOfARequest: it stays the connection's last error.
func TestAnOldViolationIsNoneOfARequest(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	crm := b.connect("crm")
	subject := events.SubjectHookFailed("crm") // to ask, not to answer
	mute := b.connect(events.UserDelivery)
	if _, err := mute.QueueSubscribe(subject, "q", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := mute.FlushTimeout(4 * time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := crm.Subscribe(subject, func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	for refused := ""; refused != subject; refused, _ = events.Violation(crm.LastError()) {
		if err := crm.FlushTimeout(4 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	_, err := events.Ask(ctx, crm, subject, "", time.Now().Add(100*time.Millisecond), nil)
	if !errors.Is(err, events.ErrTimeout) || errors.Is(err, events.ErrNoRight) {
		t.Errorf("Ask = %v, want ErrTimeout alone", err)
	}
}

// TestExplain takes what a client without Connect gets of the bus.
func TestExplain(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	reported := make(chan error, 1)
	nc, err := dialRaw(b, b.credentials("crm"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { reported <- err }))
	if err != nil {
		t.Fatal(err)
	}
	subject := "$JS.API.CONSUMER.INFO.USHER_EVENTS.mail"
	if err := nc.Publish(subject, nil); err != nil {
		t.Fatal(err)
	}
	violated := <-reported
	if got, ok := events.Violation(violated); got != subject || !ok {
		t.Errorf("Violation(%v) = %q, %t, want %s", violated, got, ok, subject)
	}
	_, refused := dialRaw(startBus(t), b.credentials("crm"))
	for _, err := range []error{violated, refused} {
		line, ok := events.Explain("crm", err)
		if !ok || !strings.Contains(line, "usher worker rotate crm") || strings.Contains(line, "\n") {
			t.Errorf("Explain(%v) = %q, %t, want one line with what mends it", err, line, ok)
		}
	}
	for _, err := range []error{nil, nats.ErrTimeout, nats.ErrConnectionClosed} {
		if line, ok := events.Explain("crm", err); ok {
			t.Errorf("Explain(%v) = %q, want nothing", err, line)
		}
	}
}

func TestConnectHidesCredentials(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	creds := string(b.credentials(events.UserSession))
	_, err := events.Connect(t.Context(), events.ConnectOptions{
		InProcess: b.server, User: events.UserSession, Log: b.log.logger(),
		Credentials: []byte(strings.Replace(creds, "SUA", "SUB", 1)),
	})
	if err == nil || strings.Contains(err.Error(), "SU") || strings.Contains(err.Error(), "eyJ") {
		t.Errorf("Connect with a broken credential = %v, want an error without it", err)
	}
}
