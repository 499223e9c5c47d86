package events_test

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
)

// bus is a server of one test, which can be stopped and started again.
type bus struct {
	tb     testing.TB
	keys   *events.Keys
	seeds  string // the folder of keys
	config string
	server *natsserver.Server
	log    *lines
}

func startBus(tb testing.TB) *bus {
	tb.Helper()
	return startBusOf(tb, filepath.Join(tb.TempDir(), "keys"))
}

// startBusOf starts one with the keys of a folder, and its store beside that.
func startBusOf(tb testing.TB, dir string) *bus {
	tb.Helper()
	keys, err := events.LoadOrMakeKeys(dir)
	if err != nil {
		tb.Fatal(err)
	}
	config, err := keys.ServerConfig(events.ServerOptions{Listen: "127.0.0.1:-1", StoreDir: filepath.Join(filepath.Dir(dir), "store"), Name: "test"})
	if err != nil {
		tb.Fatal(err)
	}
	b := &bus{tb: tb, keys: keys, seeds: dir, config: config, log: &lines{}}
	b.start()
	tb.Cleanup(func() { b.server.Close() })
	return b
}

func (b *bus) start() {
	b.tb.Helper()
	var err error
	if b.server, err = natsserver.Start(context.Background(), b.config, natsserver.Options{Log: b.log.logger()}); err != nil {
		b.tb.Fatal(err)
	}
}

// credentials of one of Usher's users, or else of a worker.
func (b *bus) credentials(user string) []byte {
	b.tb.Helper()
	creds, err := b.keys.Credentials(user)
	switch {
	case err == nil:
	case user == answering:
		creds, err = b.minter().AnswerCredentials(user, time.Now().Add(time.Hour))
	default:
		creds, err = b.minter().WorkerCredentials(user, time.Now().Add(time.Hour))
	}
	if err != nil {
		b.tb.Fatal(err)
	}
	return creds
}

func (b *bus) minter() *events.Minter {
	b.tb.Helper()
	m, err := b.keys.Minter()
	if err != nil {
		b.tb.Fatal(err)
	}
	return m
}

// connect connects in this process.
func (b *bus) connect(user string) *nats.Conn {
	b.tb.Helper()
	return b.dial(events.ConnectOptions{User: user, InProcess: b.server})
}

// connectTCP connects as a part in another process does.
func (b *bus) connectTCP(user string) *nats.Conn {
	b.tb.Helper()
	return b.dial(events.ConnectOptions{User: user, URL: b.server.ClientURL()})
}

func (b *bus) dial(o events.ConnectOptions) *nats.Conn {
	b.tb.Helper()
	o.Credentials, o.Name, o.Log = b.credentials(o.User), "test", b.log.logger()
	nc, err := events.Connect(context.Background(), o)
	if err != nil {
		b.tb.Fatal(err)
	}
	b.tb.Cleanup(nc.Close)
	return nc
}

// provision declares the stream and durables.
func (b *bus) provision(o events.StreamOptions, durables ...events.Durable) jetstream.JetStream {
	b.tb.Helper()
	nc := b.connect(events.UserProvision)
	if _, err := events.Provision(context.Background(), nc, o, durables); err != nil {
		b.tb.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		b.tb.Fatal(err)
	}
	return js
}

func flush(tb testing.TB, nc *nats.Conn) {
	tb.Helper()
	if err := nc.FlushTimeout(5 * time.Second); err != nil {
		tb.Fatal(err)
	}
}

// lines collects log lines.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// with gives the lines that hold all of parts.
func (l *lines) with(parts ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for line := range strings.Lines(l.text.String()) {
		for _, p := range parts {
			if !strings.Contains(line, p) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

// eventually waits for what another goroutine or process does.
func eventually(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	within(tb, 10*time.Second, what, is)
}

func within(tb testing.TB, limit time.Duration, what string, is func() bool) {
	tb.Helper()
	for end := time.Now().Add(limit); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("not within %v: %s", limit, what)
		}
	}
}
