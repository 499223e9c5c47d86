package api_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
)

// countingSessions knows one session and counts how often it is asked.
type countingSessions struct {
	who   *api.Who
	err   error
	asked int
}

func (s *countingSessions) Whoami(context.Context, session.Digest) (*api.Who, error) {
	s.asked++
	return s.who, s.err
}

func TestCache(t *testing.T) {
	t.Parallel()
	now := time.Now()
	who := &api.Who{Session: &session.Session{ID: uuid.New()}, Identity: &identity.Identity{ID: uuid.New()}}
	store := &countingSessions{who: who}
	cache, err := api.NewCache(store, 100, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	digest := session.NewToken(session.NativePrefix).Digest()
	ask := func(what string, asked int) {
		t.Helper()
		got, err := cache.Whoami(t.Context(), digest)
		if err != nil || got != who || store.asked != asked {
			t.Errorf("%s: Whoami = %v, %v and the store was asked %d times, want the session and %d", what, got, err, store.asked, asked)
		}
	}
	ask("first", 1)
	ask("again", 1)
	cache.Changed(uuid.New())
	ask("another session changed", 1)
	cache.Changed(who.Session.ID)
	ask("the session changed", 2)
	now = now.Add(time.Millisecond)
	ask("asked in the moment of the change", 3)
	ask("again", 3)
	cache.Changed(who.Identity.ID)
	now = now.Add(time.Millisecond)
	ask("the identity changed", 4)
	now = now.Add(5*time.Second - time.Millisecond)
	ask("just before five seconds are over", 4)
	now = now.Add(time.Millisecond)
	ask("five seconds are over", 5)

	store.who, store.err = nil, session.ErrNotFound
	for n := range 2 {
		if _, err := cache.Whoami(t.Context(), session.Digest{1}); !errors.Is(err, session.ErrNotFound) || store.asked != 6+n {
			t.Errorf("Whoami of an unknown token = %v after %d questions, want %v and no memory of it", err, store.asked, session.ErrNotFound)
		}
	}
}
