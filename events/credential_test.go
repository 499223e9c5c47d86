package events_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
)

// TestACredentialIsFollowed: a file that was replaced is read when the connection
// is made anew; one that is broken, another's or gone leaves the former in force.
func TestACredentialIsFollowed(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	file := filepath.Join(t.TempDir(), "api-events.creds")
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first, second := b.credentials(events.UserAPIEvents), b.credentials(events.UserAPIEvents)
	write(first)
	nc, err := events.Connect(t.Context(), events.ConnectOptions{
		URL: b.server.ClientURL(), CredentialsFile: file, User: events.UserAPIEvents, Log: b.log.logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	uses := func(what string, creds []byte) {
		t.Helper()
		token, err := jwt.ParseDecoratedJWT(creds)
		if err != nil {
			t.Fatal(err)
		}
		if used, err := nc.Opts.UserJWT(); err != nil || used != token {
			t.Errorf("%s: it connects with another credential, %v", what, err)
		}
	}
	uses("at first", first)
	write(second)
	anew(t, nc)
	uses("replaced", second)
	for what, text := range map[string][]byte{
		"half written": first[:100], "of another": b.credentials(events.UserHooks), "empty": nil,
	} {
		write(text)
		anew(t, nc)
		uses(what, second)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	anew(t, nc)
	uses("gone", second)
	if said := b.log.with("cannot be used", file); len(said) < 3 {
		t.Errorf("the log says %d times what is wrong, want each reason: %s", len(said), said)
	}
}

// anew has a connection made anew, and waits for it.
func anew(t *testing.T, nc *nats.Conn) {
	t.Helper()
	back := nc.StatusChanged(nats.CONNECTED)
	if err := nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-back:
	case <-time.After(10 * time.Second):
		t.Fatal("the connection does not come back")
	}
}
