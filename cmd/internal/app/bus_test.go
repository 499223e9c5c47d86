package app

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
)

// TestMinter mints with the embedded bus's keys, and with what "usher bus
// config" gave for an external one.
func TestMinter(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	inside := &config.Config{DataDir: t.TempDir()}
	inside.Bus.Listen = "127.0.0.1:-1"
	embedded, err := openBus(t.Context(), inside, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(embedded.close)
	out := t.TempDir()
	if err := embedded.keys.Write(out, events.ServerOptions{Listen: "127.0.0.1:-1", StoreDir: out, Name: "usher"}); err != nil {
		t.Fatal(err)
	}
	elsewhere := &config.Config{}
	elsewhere.Bus.URL, elsewhere.Bus.Credentials = embedded.url(), filepath.Join(out, "creds")
	external, err := openBus(t.Context(), elsewhere, log)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []*bus{embedded, external} {
		m, err := b.minter()
		if err != nil {
			t.Fatal(err)
		}
		text, err := m.WorkerCredentials("crm", time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		nc, err := events.Connect(t.Context(), events.ConnectOptions{URL: embedded.url(), Credentials: text, User: "crm", Log: log})
		if err != nil {
			t.Fatalf("the bus refuses what it minted: %v", err)
		}
		nc.Close()
	}
	if err := os.Remove(filepath.Join(elsewhere.Bus.Credentials, "mint.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := external.minter(); err == nil || !strings.Contains(err.Error(), "usher bus config") {
		t.Errorf("minter() of an earlier folder = %v, want what mends it", err)
	}
}

// TestHealthOfTheBus: a worker's process is not ready without a bus, whether it was there
// before or not; people register without one.
func TestHealthOfTheBus(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	inside := &config.Config{DataDir: t.TempDir()}
	inside.Bus.Listen = "127.0.0.1:-1"
	server, err := openBus(t.Context(), inside, log)
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if err := server.keys.Write(out, events.ServerOptions{Listen: "127.0.0.1:-1", StoreDir: out, Name: "usher"}); err != nil {
		t.Fatal(err)
	}
	elsewhere := &config.Config{}
	elsewhere.Bus.URL, elsewhere.Bus.Credentials = server.url(), filepath.Join(out, "creds")
	connect := func() *bus {
		b, err := openBus(t.Context(), elsewhere, log)
		if err == nil {
			_, err = b.connect(t.Context(), events.UserSession)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.close)
		return b
	}
	running := connect()
	soonThat(t, "a bus that is there is healthy", func() bool { return running.healthy(t.Context()) == nil })
	server.close()
	soonThat(t, "one that went is not", func() bool { return running.healthy(t.Context()) != nil })
	if err := connect().healthy(t.Context()); err == nil || !strings.Contains(err.Error(), "usher session is not connected") {
		t.Errorf("healthy() of a fresh start without a bus = %v", err)
	}
	for parts, optional := range map[Parts]bool{
		Everything: true, {API: true}: true, {Console: true}: true, {Session: true}: false, {Hooks: true}: false,
	} {
		p := &process{Options: Options{Parts: parts}, onBus: onBus{bus: running}}
		for _, c := range p.checks() {
			if c.Name == "bus" && (c.Optional != nil && c.Optional()) != optional {
				t.Errorf("%s is ready without a bus: %t, want %t", parts, !optional, optional)
			}
		}
	}
}

// TestRefresh makes those connections anew whose credential has changed, and no
// other; a file that is gone does not end a good connection.
func TestRefresh(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	inside := &config.Config{DataDir: t.TempDir()}
	inside.Bus.Listen = "127.0.0.1:-1"
	server, err := openBus(t.Context(), inside, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.close)
	out := t.TempDir()
	write := func() {
		t.Helper()
		if err := server.keys.Write(out, events.ServerOptions{Listen: "127.0.0.1:-1", StoreDir: out, Name: "usher"}); err != nil {
			t.Fatal(err)
		}
	}
	write()
	elsewhere := &config.Config{}
	elsewhere.Bus.URL, elsewhere.Bus.Credentials = server.url(), filepath.Join(out, "creds")
	b, err := openBus(t.Context(), elsewhere, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	users := []string{events.UserSession, events.UserHooks, events.UserAPIAuth}
	conns := map[string]*nats.Conn{}
	for _, user := range users {
		if conns[user], err = b.connect(t.Context(), user); err != nil {
			t.Fatal(err)
		}
	}
	reconnects := func(want ...uint64) {
		t.Helper()
		soonThat(t, "the connections are made anew", func() bool {
			for n, user := range users {
				if conns[user].Stats().Reconnects != want[n] || !conns[user].IsConnected() {
					return false
				}
			}
			return true
		})
	}
	b.reconnect()
	reconnects(0, 0, 0)
	hooks, err := os.ReadFile(filepath.Join(elsewhere.Bus.Credentials, "hooks.creds"))
	if err != nil {
		t.Fatal(err)
	}
	write() // all are new
	if err := os.WriteFile(filepath.Join(elsewhere.Bus.Credentials, "hooks.creds"), hooks, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(elsewhere.Bus.Credentials, "api-auth.creds")); err != nil {
		t.Fatal(err)
	}
	b.reconnect()
	reconnects(1, 0, 0)
	b.reconnect()
	reconnects(1, 0, 0)

	// One after the other: what has another way to the bus goes on by that.
	write()
	stop, watched := make(chan struct{}), make(chan int)
	go func() {
		most := 0
		for {
			away := 0
			for _, c := range conns {
				if !c.IsConnected() {
					away++
				}
			}
			most = max(most, away)
			select {
			case <-stop:
				watched <- most
				return
			default:
			}
		}
	}()
	b.reconnect()
	close(stop)
	if most := <-watched; most > 1 {
		t.Errorf("%d connections are made anew at once, want one after the other", most)
	}
	reconnects(2, 1, 1)
}
