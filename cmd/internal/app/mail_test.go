package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/courier"
)

// away is a store with one message that forgets what becomes of it, so often.
type away struct {
	courier.Store
	message courier.Message
	fails   int
}

func (s *away) Message(context.Context, uuid.UUID) (*courier.Message, error) {
	m := s.message
	return &m, nil
}

func (s *away) Claim(context.Context, uuid.UUID, time.Time, time.Duration) (time.Time, error) {
	return time.Now(), nil
}

func (s *away) Useful(context.Context, *courier.Message, uuid.UUID) (bool, error) { return true, nil }

func (s *away) Settle(_ context.Context, _ uuid.UUID, status courier.Status, _ int, _ bool, _ *events.Event) error {
	if s.fails > 0 {
		s.fails--
		return errors.New("database is away")
	}
	s.message.Status = status
	return nil
}

// The database goes away just after a mail server took a mail, and the
// configuration is read again before it is back.
func TestReloadSendsNoMailTwice(t *testing.T) {
	t.Parallel()
	cfg, _, err := config.Load(config.Options{Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Secrets.Cookie = []config.Secret{config.NewSecret("a secret that is long enough for cookies")}
	var log bytes.Buffer
	s := &away{fails: 1, message: courier.Message{ID: uuid.New(), Status: courier.Queued, ExpiresAt: time.Now().Add(time.Hour)}}
	f := foundation{messages: s, log: slog.New(slog.NewTextHandler(&log, nil))}
	var l live
	for n := range 2 {
		c, err := compile(cfg, f, l.now())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.hooks.Close)
		l.p.Store(c)
		if err := l.Write(t.Context(), courier.Request{}); (err != nil) != (n == 0) {
			t.Errorf("Verification by configuration %d = %v, want an error only of the first", n+1, err)
		}
	}
	if sent := bytes.Count(log.Bytes(), []byte("msg=mail")); sent != 1 || s.message.Status != courier.Sent {
		t.Errorf("sent %d times, message %+v, want it sent once", sent, s.message)
	}
}
