package natsserver_test

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
)

// configuration makes keys and a configuration text in a folder of the test's.
func configuration(tb testing.TB, listen string) (*events.Keys, string) {
	tb.Helper()
	dir := tb.TempDir()
	keys, err := events.LoadOrMakeKeys(filepath.Join(dir, "keys"))
	if err != nil {
		tb.Fatal(err)
	}
	config, err := keys.ServerConfig(events.ServerOptions{Listen: listen, StoreDir: filepath.Join(dir, "store"), Name: "test"})
	if err != nil {
		tb.Fatal(err)
	}
	return keys, config
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestStartConnectsInProcessAndOverTCP(t *testing.T) {
	t.Parallel()
	keys, config := configuration(t, "127.0.0.1:-1")
	begin := time.Now()
	s, err := natsserver.Start(t.Context(), config, natsserver.Options{Log: slog.Default()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	t.Logf("start to ready: %v", time.Since(begin))

	creds, err := keys.Credentials(events.UserProvision)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]events.ConnectOptions{
		"in process": {InProcess: s},
		"over TCP":   {URL: s.ClientURL()},
	} {
		o.Credentials, o.User, o.Log = creds, events.UserProvision, slog.Default()
		nc, err := events.Connect(t.Context(), o)
		if err != nil {
			t.Errorf("Connect %s: %v", name, err)
			continue
		}
		if _, err := events.Provision(t.Context(), nc, events.StreamOptions{}, nil); err != nil {
			t.Errorf("Provision %s: %v", name, err)
		}
		nc.Close()
	}
	if err := s.Healthy(); err != nil {
		t.Errorf("Healthy() = %v, want nil", err)
	}
}

func TestRestartKeepsAddressStoreAndConnections(t *testing.T) {
	t.Parallel()
	keys, config := configuration(t, "127.0.0.1:-1")
	s, err := natsserver.Start(t.Context(), config, natsserver.Options{Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	creds, err := keys.Credentials(events.UserProvision)
	if err != nil {
		t.Fatal(err)
	}
	url := s.ClientURL()
	conns := map[string]*nats.Conn{}
	for name, o := range map[string]events.ConnectOptions{"in process": {InProcess: s}, "over TCP": {URL: url}} {
		o.Credentials, o.User, o.Log = creds, events.UserProvision, quiet()
		if conns[name], err = events.Connect(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		defer conns[name].Close()
	}
	if _, err := events.Provision(t.Context(), conns["in process"], events.StreamOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Restart(over); err == nil {
		t.Fatal("Restart with a context that is over: no error")
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatalf("Restart of a server that is down: %v", err)
	}
	if s.ClientURL() != url || s.Healthy() != nil {
		t.Errorf("after Restart: %s, %v, want %s and healthy", s.ClientURL(), s.Healthy(), url)
	}
	for name, nc := range conns {
		// A connection finds out when it is used.
		changes, err := events.Provision(t.Context(), nc, events.StreamOptions{}, nil)
		for deadline := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(deadline); {
			changes, err = events.Provision(t.Context(), nc, events.StreamOptions{}, nil)
		}
		if err != nil || len(changes) > 0 {
			t.Errorf("Provision %s after Restart = %v, %v, want the stream as it was", name, changes, err)
		}
	}
}

// TestAStartThatIsGivenUpLeavesNothingRunning: a context ends at any time of a
// start, while a connection in this process tries to come back. What had started
// must not go on, on the same store, and hold the connection.
func TestAStartThatIsGivenUpLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	keys, config := configuration(t, "127.0.0.1:-1")
	s, err := natsserver.Start(t.Context(), config, natsserver.Options{Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	creds, err := keys.Credentials(events.UserProvision)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := events.Connect(t.Context(), events.ConnectOptions{InProcess: s, Credentials: creds, User: events.UserProvision, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := events.Provision(t.Context(), nc, events.StreamOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	for after := range 10 {
		short, cancel := context.WithTimeout(t.Context(), time.Duration(after)*time.Millisecond)
		given := s.Restart(short)
		cancel()
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Healthy(); err != nil {
			t.Errorf("after a start that had %d ms (%v): %v, want healthy", after, given, err)
		}
	}
	changes, err := events.Provision(t.Context(), nc, events.StreamOptions{}, nil)
	for end := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(end); {
		changes, err = events.Provision(t.Context(), nc, events.StreamOptions{}, nil)
	}
	if err != nil || len(changes) > 0 {
		t.Errorf("Provision = %v, %v, want the stream as it was", changes, err)
	}
}

// A server that is told how much it may store has no more of it after a restart, nor has
// one whose disk is as it was.
func TestARestartGivesRoomWhereTheDiskDoes(t *testing.T) {
	t.Parallel()
	keys, config := configuration(t, "127.0.0.1:-1")
	limited, err := keys.ServerConfig(events.ServerOptions{Listen: "127.0.0.1:-1", StoreDir: t.TempDir(), MaxStore: 64 << 10, Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]string{"limited by its disk": config, "limited by its configuration": limited} {
		s, err := natsserver.Start(t.Context(), config, natsserver.Options{Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		if s.RestartGivesRoom() {
			t.Errorf("RestartGivesRoom of a server %s = true", name)
		}
		s.Close()
	}
}

func TestWithoutCredentialsNobodyComesIn(t *testing.T) {
	t.Parallel()
	_, config := configuration(t, "127.0.0.1:-1")
	other, _ := configuration(t, "127.0.0.1:-1")
	s, err := natsserver.Start(t.Context(), config, natsserver.Options{Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	foreign, err := other.Credentials(events.UserProvision)
	if err != nil {
		t.Fatal(err)
	}
	for name, creds := range map[string][]byte{"none": nil, "of other keys": foreign} {
		nc, err := events.Connect(t.Context(), events.ConnectOptions{URL: s.ClientURL(), Credentials: creds, User: events.UserProvision, Log: quiet()})
		if err == nil {
			nc.Close()
			t.Errorf("Connect with credentials %s succeeded, want an error", name)
		}
	}
}

func TestTakenPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, config := configuration(t, l.Addr().String())

	if s, err := natsserver.Start(t.Context(), config, natsserver.Options{Log: quiet()}); err == nil {
		s.Close()
		t.Errorf("Start on the taken address %s succeeded, want an error", l.Addr())
	} else if !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("Start on a taken address = %q, want it to name %s", err, l.Addr())
	}

	s, err := natsserver.Start(t.Context(), config, natsserver.Options{Log: quiet(), NextFreePort: true})
	if err != nil {
		t.Fatalf("Start with NextFreePort = %v, want a server", err)
	}
	defer s.Close()
	if strings.HasSuffix(s.ClientURL(), l.Addr().String()) {
		t.Errorf("ClientURL() = %s, want another port than the taken one", s.ClientURL())
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_, good := configuration(t, "127.0.0.1:-1")
	_, noStore := configuration(t, "127.0.0.1:-1")
	noStore = strings.Replace(noStore, "store_dir: ", "store_dir: \"/dev/null/", 1)
	noStore = strings.Replace(noStore, "/dev/null/\"", "/dev/null", 1)
	_, inUse := configuration(t, "127.0.0.1:-1")
	first, err := natsserver.Start(t.Context(), inUse, natsserver.Options{Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(first.Close)
	for _, test := range []struct {
		name, config, want string
		ctx                context.Context
	}{
		{"broken text", "listen: [", "bus configuration", t.Context()},
		{"a store that cannot be", noStore, "not a directory", t.Context()},
		{"a store in use", inUse, "another server runs on", t.Context()},
		{"an ended context", good, "canceled", ended},
	} {
		s, err := natsserver.Start(test.ctx, test.config, natsserver.Options{Log: quiet()})
		if err == nil {
			s.Close()
			t.Errorf("Start with %s succeeded, want an error", test.name)
			continue
		}
		if !strings.Contains(err.Error(), test.want) {
			t.Errorf("Start with %s = %q, want %q in it", test.name, err, test.want)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	_, config := configuration(b, "127.0.0.1:-1")
	for b.Loop() {
		s, err := natsserver.Start(b.Context(), config, natsserver.Options{Log: quiet()})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s.Close()
		b.StartTimer()
	}
}
