package courier_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
)

var (
	errBroken = errors.New("broken")
	now       = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
)

// memory is a store of messages, of one recipient.
type memory struct {
	t         *testing.T
	mu        sync.Mutex
	recipient *courier.Recipient
	messages  map[uuid.UUID]*courier.Message // by event
	codes     []courier.Code
	mailed    []time.Time // to the recipient, before
	secured   time.Time   // what was asked for before is outdated
	events    []events.Event
	now       func() time.Time
	// superseded is whether messages are of no use any more, looks how it fails to say so.
	superseded bool
	looks      error
	// settleFails is how many of the next calls of Settle fail.
	settleFails int
}

func (s *memory) Message(_ context.Context, eventID uuid.UUID) (*courier.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.messages[eventID]
	if !ok {
		return nil, courier.ErrNotFound
	}
	found := *m
	return &found, nil
}

func (s *memory) Recipient(_ context.Context, r courier.Request) (courier.Recipient, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recipient == nil || s.recipient.FlowID != r.FlowID {
		return courier.Recipient{}, courier.ErrNotFound
	}
	return *s.recipient, nil
}

func (s *memory) Mailed(_ context.Context, _ string, since time.Time) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.mailed {
		if at.After(since) {
			n++
		}
	}
	return n, nil
}

func (s *memory) Queue(_ context.Context, m courier.Message, code *courier.Code) (*courier.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stored, ok := s.messages[m.EventID]; ok {
		found := *stored
		return &found, nil
	}
	if code != nil && code.AskedAt.Before(s.secured) {
		return nil, courier.ErrOutdated
	}
	s.messages[m.EventID] = &m
	if code != nil {
		s.codes = append(s.codes, *code)
	}
	stored := m
	return &stored, nil
}

func (s *memory) Claim(_ context.Context, id uuid.UUID, held time.Time, lease time.Duration) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		switch {
		case m.ID != id || m.Status == courier.Sent || m.Status == courier.Abandoned:
			continue
		case m.Status == courier.Processing && !m.UpdatedAt.Equal(held) && s.now().Before(m.UpdatedAt.Add(lease)):
			return time.Time{}, courier.ErrClaimed
		}
		m.Status, m.UpdatedAt = courier.Processing, s.now()
		return m.UpdatedAt, nil
	}
	return time.Time{}, courier.ErrNotFound
}

func (s *memory) Useful(context.Context, *courier.Message, uuid.UUID) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.superseded, s.looks
}

func (s *memory) Settle(ctx context.Context, id uuid.UUID, status courier.Status, attempts int, keep bool, e *events.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settleFails > 0 {
		s.settleFails--
		return errBroken
	}
	for _, m := range s.messages {
		if m.ID != id {
			continue
		}
		m.Status, m.Attempts = status, attempts
		if !keep {
			m.Content = courier.Content{}
		}
		if e != nil {
			if data, err := e.Encode(); err == nil {
				eventstest.Validate(s.t, data)
			}
			s.events = append(s.events, *e)
		}
		return ctx.Err()
	}
	return courier.ErrNotFound
}

func (s *memory) MessageFailed(_ context.Context, id uuid.UUID, why string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		if m.ID == id {
			m.LastError = why
		}
	}
	return nil
}

// only gives the one message that there is.
func (s *memory) only() courier.Message {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.messages) != 1 {
		s.t.Fatalf("%d messages are stored, want 1", len(s.messages))
	}
	for _, m := range s.messages {
		return *m
	}
	panic("unreachable")
}

// sender is a courier.Sender that keeps what it was given.
type sender struct {
	send func(*courier.Message) error // nil takes all
	got  []courier.Message
}

func (s *sender) Send(_ context.Context, m *courier.Message) error {
	s.got = append(s.got, *m)
	if s.send == nil {
		return nil
	}
	return s.send(m)
}

// newMemory has a person to write to, and gives the request of an event about them.
func newMemory(t *testing.T) (*memory, courier.Request) {
	t.Helper()
	s := &memory{t: t, now: func() time.Time { return now }, messages: map[uuid.UUID]*courier.Message{}, recipient: &courier.Recipient{
		Purpose: flow.VerifyByCode,
		Address: "ada@example.com", IdentityID: uuid.New(), AddressID: uuid.New(),
		Traits: []byte(`{"email":"ada@example.com","name":{"first":"Ada"}}`),
		FlowID: uuid.New(), FlowExpiresAt: now.Add(time.Hour),
	}}
	return s, courier.Request{
		At:      now.Add(-time.Minute),
		EventID: uuid.New(), FlowID: s.recipient.FlowID, RequestID: "request-1",
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

func newService(t *testing.T, s courier.Store, to courier.Sender) *courier.Service {
	t.Helper()
	return &courier.Service{
		Store: s, Sender: to, Templates: newTemplates(t, courier.TemplateOptions{}),
		CodeLifespan: time.Hour, LinkLifespan: time.Hour, MaxAttempts: 5, PublicURL: "https://id.example.com/",
		Now: func() time.Time { return now }, Taken: new(courier.Taken),
	}
}

// given are templates for the mail of a code, nobodys for that to nobody's address.
func given(t courier.Texts) courier.TemplateOptions {
	return courier.TemplateOptions{Given: map[flow.Purpose]courier.Given{flow.VerifyByCode: {Valid: t}}}
}

func nobodys(t courier.Texts) courier.TemplateOptions {
	return courier.TemplateOptions{Given: map[flow.Purpose]courier.Given{flow.VerifyByCode: {Invalid: t}}}
}

func newTemplates(t testing.TB, o courier.TemplateOptions) *courier.Templates {
	t.Helper()
	templates, err := courier.NewTemplates(o)
	if err != nil {
		t.Fatal(err)
	}
	return templates
}
