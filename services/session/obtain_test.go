package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/session"
)

type issuer func(ctx context.Context, r session.Request) (*session.Session, error)

func (i issuer) Issue(ctx context.Context, r session.Request) (*session.Session, error) {
	return i(ctx, r)
}

func TestObtainKeepsTheTokenToItself(t *testing.T) {
	t.Parallel()
	want := &session.Session{ID: uuid.New()}
	ids := map[string]bool{}
	for _, prefix := range []string{session.NativePrefix, session.BrowserPrefix} {
		var asked session.Request
		got, token, err := session.Obtain(t.Context(), issuer(func(_ context.Context, r session.Request) (*session.Session, error) {
			asked = r
			return want, nil
		}), prefix, time.Second, now, session.Request{Method: "password"})
		if err != nil || got != want || !strings.HasPrefix(token.Reveal(), prefix) {
			t.Fatalf("Obtain = %v, %q, %v, want the session and a token that begins with %s", got, token.Reveal(), err, prefix)
		}
		if asked.Digest != token.Digest() || !asked.Deadline.Equal(now.Add(time.Second)) || !asked.RequestedAt.Equal(now) || asked.Method != "password" {
			t.Errorf("the issuer was asked for %+v, want digest, deadline and what was given", asked)
		}
		if ids[asked.ID] || asked.ID == "" {
			t.Errorf("request id = %q, want a new one each time", asked.ID)
		}
		ids[asked.ID] = true
	}
}

func TestObtainGivesNoTokenWithoutSession(t *testing.T) {
	t.Parallel()
	got, token, err := session.Obtain(t.Context(), issuer(func(context.Context, session.Request) (*session.Session, error) {
		return &session.Session{}, session.ErrLate
	}), session.NativePrefix, time.Second, now, session.Request{})
	if got != nil || token != (session.Token{}) || !errors.Is(err, session.ErrLate) {
		t.Errorf("Obtain = %v, %q, %v, want ErrLate and nothing else", got, token.Reveal(), err)
	}
}

func TestAskLeavesTheDigest(t *testing.T) {
	t.Parallel()
	digest := session.NewToken(session.NativePrefix).Digest()
	_, err := session.Ask(t.Context(), issuer(func(_ context.Context, r session.Request) (*session.Session, error) {
		if r.Digest != digest || r.ID == "" || r.Deadline.IsZero() {
			t.Errorf("the issuer was asked for %+v, want the digest that was given", r)
		}
		return &session.Session{}, nil
	}), time.Second, now, session.Request{Digest: digest})
	if err != nil {
		t.Errorf("Ask: %v", err)
	}
}

// An issuer that does not keep the deadline has a moment for what is under way,
// and no more.
func TestObtainGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, _, err := session.Obtain(t.Context(), issuer(func(ctx context.Context, _ session.Request) (*session.Session, error) {
			<-ctx.Done()
			return nil, fmt.Errorf("%w: %w", session.ErrUnavailable, ctx.Err())
		}), session.NativePrefix, time.Second, start, session.Request{})
		if took := time.Since(start); !errors.Is(err, session.ErrUnavailable) || took <= time.Second || took > 1200*time.Millisecond {
			t.Errorf("Obtain = %v after %v, want ErrUnavailable soon after the deadline", err, took)
		}
	})
}
