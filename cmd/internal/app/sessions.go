package app

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/relay"
	"github.com/usher-auth/usher/services/session"
)

// cachedSessions is how many sessions each API process remembers.
const cachedSessions = 8192

// cacheSessions puts a cache in front of the store that hears of changes by the bus.
func (p *process) cacheSessions() (api.Sessions, error) {
	cache, err := api.NewCache(whoami{&session.Service{Store: p.store, Now: time.Now}}, cachedSessions, time.Now)
	if err != nil {
		return nil, err
	}
	if p.events == nil {
		return cache, nil // a process without the API is asked nothing
	}
	for _, subject := range []string{events.SubjectSessionRevoked, events.SubjectIdentityUpdated} {
		_, err := p.events.Subscribe(subject, func(m *nats.Msg) {
			if id, err := uuid.ParseBytes(m.Data); err == nil {
				cache.Changed(id)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("subscribe %s: %w", subject, err)
		}
	}
	return cache, nil
}

// whoami gives the API what it knows sessions by.
type whoami struct{ sessions *session.Service }

func (w whoami) Whoami(ctx context.Context, d session.Digest) (*api.Who, error) {
	s, i, err := w.sessions.Whoami(ctx, d)
	if err != nil {
		return nil, err
	}
	return &api.Who{Session: s, Identity: i}, nil
}

// broadcasting tells the caches of all API processes what has changed when the
// event that says so has been published, acknowledged or not: every revocation,
// whoever made it.
type broadcasting struct {
	relay.Publisher
	conn *nats.Conn
}

// Publish is [events.Publisher.Publish].
func (b broadcasting) Publish(ctx context.Context, messages []events.Message) []events.Ack {
	acks := b.Publisher.Publish(ctx, messages)
	b.broadcast(messages)
	return acks
}

// PublishTogether is [events.Publisher.PublishTogether].
func (b broadcasting) PublishTogether(ctx context.Context, messages []events.Message) ([]events.Ack, error) {
	acks, err := b.Publisher.PublishTogether(ctx, messages)
	b.broadcast(messages)
	return acks, err
}

// broadcast tells what messages change about sessions and identities, also when
// they were not acknowledged: a cache that forgets too early asks once more.
func (b broadcasting) broadcast(messages []events.Message) {
	for _, m := range messages {
		switch m.Type {
		case (events.SessionRevoked{}).EventType(), (events.LoginSucceeded{}).EventType():
			b.session(m)
		case (events.IdentityUpdated{}).EventType(), (events.IdentityDeleted{}).EventType(),
			(events.AddressVerified{}).EventType(), (events.MailSent{}).EventType():
			b.identity(m)
		}
	}
}

// session tells which session was revoked or made fresh. A cache that misses it
// forgets by itself.
func (b broadcasting) session(m events.Message) {
	var data struct {
		SessionID string `json:"session_id"`
	}
	if e, err := events.Decode(m.Payload); err == nil && json.Unmarshal(e.Data, &data) == nil && data.SessionID != "" {
		_ = b.conn.Publish(events.SubjectSessionRevoked, []byte(data.SessionID))
	}
}

// identity tells which identity has changed.
func (b broadcasting) identity(m events.Message) {
	if e, err := events.Decode(m.Payload); err == nil && e.Subject != "" {
		_ = b.conn.Publish(events.SubjectIdentityUpdated, []byte(e.Subject))
	}
}
