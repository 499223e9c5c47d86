package courier_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	couriers "github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/workers"
	"github.com/usher-auth/usher/workers/courier"
)

var errBroken = errors.New("broken")

// stored is the state that the courier works on: one person, one flow.
type stored struct {
	mu        sync.Mutex
	recipient couriers.Recipient
	asked     []couriers.Request
	messages  map[uuid.UUID]*couriers.Message // by event
	code      string
	events    []events.Event
	// settleFails is how many of the next calls of Settle fail.
	settleFails int
}

func newStored() *stored {
	return &stored{messages: map[uuid.UUID]*couriers.Message{}, recipient: couriers.Recipient{
		Purpose: flow.VerifyByCode,
		Address: "ada@example.com", IdentityID: uuid.New(), AddressID: uuid.New(), Traits: []byte(`{"email":"ada@example.com"}`),
		FlowID: uuid.New(), FlowExpiresAt: time.Now().Add(time.Hour),
	}}
}

func (s *stored) Message(_ context.Context, eventID uuid.UUID) (*couriers.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, ok := s.messages[eventID]; ok {
		found := *m
		return &found, nil
	}
	return nil, couriers.ErrNotFound
}

func (s *stored) Recipient(_ context.Context, r couriers.Request) (couriers.Recipient, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r)
	if r.FlowID != s.recipient.FlowID {
		return couriers.Recipient{}, couriers.ErrNotFound
	}
	return s.recipient, nil
}

func (s *stored) Mailed(context.Context, string, time.Time) (int, error) { return 0, nil }

func (s *stored) Queue(_ context.Context, m couriers.Message, code *couriers.Code) (*couriers.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.messages[m.EventID]; !ok {
		s.messages[m.EventID], s.code = &m, code.Text.Reveal()
	}
	found := *s.messages[m.EventID]
	return &found, nil
}

func (s *stored) Claim(_ context.Context, id uuid.UUID, held time.Time, lease time.Duration) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		switch {
		case m.ID != id || m.Status == couriers.Sent || m.Status == couriers.Abandoned:
			continue
		case m.Status == couriers.Processing && !m.UpdatedAt.Equal(held) && time.Now().Before(m.UpdatedAt.Add(lease)):
			return time.Time{}, couriers.ErrClaimed
		}
		m.Status, m.UpdatedAt = couriers.Processing, time.Now()
		return m.UpdatedAt, nil
	}
	return time.Time{}, couriers.ErrNotFound
}

func (s *stored) Useful(context.Context, *couriers.Message, uuid.UUID) (bool, error) {
	return true, nil
}

func (s *stored) Settle(_ context.Context, id uuid.UUID, status couriers.Status, attempts int, keep bool, e *events.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settleFails > 0 {
		s.settleFails--
		return errBroken
	}
	for _, m := range s.messages {
		if m.ID == id {
			m.Status, m.Attempts = status, attempts
			if !keep {
				m.Content = couriers.Content{}
			}
		}
	}
	if e != nil {
		s.events = append(s.events, *e)
	}
	return nil
}

func (s *stored) MessageFailed(context.Context, uuid.UUID, string) error { return nil }

func (s *stored) requests() []couriers.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// postbox is a mail server that can be stopped and started again.
type postbox struct {
	t       *testing.T
	address string
	mu      sync.Mutex
	mails   []string
	// answers are those to the next contents, nil for 250; then 250.
	answers []error
}

func newPostbox(t *testing.T, answers ...error) (p *postbox, stop func()) {
	t.Helper()
	p = &postbox{t: t, address: "127.0.0.1:0", answers: answers}
	return p, p.start()
}

// start starts the server at the address that it had.
func (p *postbox) start() (stop func()) {
	p.t.Helper()
	l, err := net.Listen("tcp", p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.address = l.Addr().String()
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return post{p}, nil }))
	server.Domain, server.ErrorLog = "localhost", log.New(io.Discard, "", 0)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l)
	}()
	stop = sync.OnceFunc(func() {
		_ = l.Close() // Close knows it only once Serve does
		_ = server.Close()
		<-ended
	})
	p.t.Cleanup(stop)
	return stop
}

func (p *postbox) got() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mails
}

// sender sends to the server.
func (p *postbox) sender() *couriers.SMTP {
	p.t.Helper()
	server, err := couriers.ParseSMTP("smtp://" + p.address + "/?disable_starttls=true")
	if err != nil {
		p.t.Fatal(err)
	}
	s, err := couriers.NewSMTP(couriers.SMTPOptions{Server: server, FromAddress: "no-reply@example.com"})
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

type post struct{ *postbox }

func (post) Mail(string, *smtp.MailOptions) error { return nil }
func (post) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (post) Reset()                               {}
func (post) Logout() error                        { return nil }

func (p post) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.answers) > 0 {
		answer := p.answers[0]
		p.answers = p.answers[1:]
		if answer != nil {
			return answer
		}
	}
	p.mails = append(p.mails, string(content))
	return nil
}

// run runs the worker until the test ends, and wants it to end well.
func (b *bus) run(s *stored, out couriers.Sender) <-chan workers.Attempt {
	b.t.Helper()
	templates, err := couriers.NewTemplates(couriers.TemplateOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	observed := make(chan workers.Attempt, 100)
	w := courier.Worker(&couriers.Service{
		Store: s, Sender: out, Templates: templates, CodeLifespan: time.Hour, MaxAttempts: 5,
		PublicURL: "https://id.example.com", Now: time.Now, Taken: new(couriers.Taken),
	}, workers.WithConn(b.hooks), workers.Logger(discard), workers.Concurrency(1),
		workers.Observe(func(a workers.Attempt) { observed <- a }))
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		if err := receive(b.t, ended, "end of Run"); err != nil {
			b.t.Errorf("Run = %v, want nil", err)
		}
	})
	return observed
}

func receive[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("no %s within 20 s", what)
		panic("unreachable")
	}
}

func TestOneEventIsOneMail(t *testing.T) {
	t.Parallel()
	b, s := newBus(t), newStored()
	p, _ := newPostbox(t)
	s.settleFails = 1 // 250 was said, and could not be stored
	e := b.publish(events.VerificationRequested{
		FlowID: s.recipient.FlowID.String(), Via: "email",
		IdentityID: s.recipient.IdentityID.String(), AddressID: s.recipient.AddressID.String(),
	}, 2)
	attempts := b.run(s, p.sender())
	outcomes := map[workers.Outcome]int{}
	for range 3 {
		outcomes[receive(t, attempts, "attempt").Outcome]++
	}
	if outcomes[workers.Done] != 2 || outcomes[workers.Retry] != 1 {
		t.Errorf("outcomes = %v, want one retry and both deliveries done", outcomes)
	}
	got := p.got()
	if len(got) != 1 || !strings.Contains(got[0], s.code) {
		t.Fatalf("server got %q, want one mail with the code", got)
	}
	want := couriers.Request{
		EventID: uuid.MustParse(e.ID), FlowID: s.recipient.FlowID, IdentityID: s.recipient.IdentityID,
		AddressID: s.recipient.AddressID, RequestID: "request-1", At: e.Time,
	}
	if asked := s.requests(); len(asked) != 1 || asked[0] != want {
		t.Errorf("asked for %+v, want once for %+v", asked, want)
	}
	if len(s.events) != 1 || s.events[0].Type != "mail.sent" {
		t.Errorf("events = %+v, want one mail.sent", s.events)
	}
}

func TestMailGoesOutWhenTheServerIsBack(t *testing.T) {
	t.Parallel()
	b, s := newBus(t), newStored()
	p, stop := newPostbox(t)
	stop()
	b.publish(events.VerificationRequested{FlowID: s.recipient.FlowID.String(), Via: "email"}, 1)
	attempts := b.run(s, p.sender())
	if a := receive(t, attempts, "attempt"); a.Outcome != workers.Retry || a.Report.After != 0 {
		t.Errorf("attempt = %+v, want a retry by the ladder", a)
	}
	p.start()
	for a := receive(t, attempts, "attempt"); a.Outcome != workers.Done; a = receive(t, attempts, "attempt") {
		if a.Outcome != workers.Retry {
			t.Fatalf("attempt = %+v, want retries until it is done", a)
		}
	}
	if got := p.got(); len(got) != 1 {
		t.Errorf("server got %d mails, want 1", len(got))
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	flow := uuid.NewString()
	for name, tc := range map[string]struct {
		change  func(*stored, *events.VerificationRequested)
		answer  error
		outcome workers.Outcome
		next    time.Duration
		mails   int
	}{
		"taken":             {outcome: workers.Done, mails: 1},
		"asked to wait":     {answer: &smtp.SMTPError{Code: 451, Message: "later"}, outcome: workers.Retry, next: 5 * time.Second},
		"refused for good":  {answer: &smtp.SMTPError{Code: 554, Message: "never"}, outcome: workers.Done},
		"flow is unknown":   {change: func(_ *stored, e *events.VerificationRequested) { e.FlowID = flow }, outcome: workers.Done},
		"no flow":           {change: func(_ *stored, e *events.VerificationRequested) { e.FlowID = "" }, outcome: workers.Dead},
		"flow is no id":     {change: func(_ *stored, e *events.VerificationRequested) { e.FlowID = "x" }, outcome: workers.Dead},
		"identity is no id": {change: func(_ *stored, e *events.VerificationRequested) { e.IdentityID = "x" }, outcome: workers.Dead},
		"address is no id":  {change: func(_ *stored, e *events.VerificationRequested) { e.AddressID = "x" }, outcome: workers.Dead},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, s := newBus(t), newStored()
			p, _ := newPostbox(t, tc.answer)
			payload := events.VerificationRequested{FlowID: s.recipient.FlowID.String(), Via: "email"}
			if tc.change != nil {
				tc.change(s, &payload)
			}
			b.publish(payload, 1)
			a := receive(t, b.run(s, p.sender()), "attempt")
			if a.Outcome != tc.outcome || (tc.next-a.Next).Abs() > time.Second {
				t.Errorf("attempt = %+v, want %s, next in %s", a, tc.outcome, tc.next)
			}
			if got := p.got(); len(got) != tc.mails {
				t.Errorf("server got %d mails, want %d", len(got), tc.mails)
			}
		})
	}
}
