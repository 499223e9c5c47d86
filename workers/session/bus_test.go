package session_test

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
	"github.com/usher-auth/usher/services/session"
	worker "github.com/usher-auth/usher/workers/session"
)

// bus is a real server with a connection for each side.
type bus struct {
	api, session *nats.Conn
	client       *worker.Client
	log          *lockedBuffer
}

func newBus(tb testing.TB) *bus {
	tb.Helper()
	dir := tb.TempDir()
	keys, err := events.LoadOrMakeKeys(filepath.Join(dir, "keys"))
	if err != nil {
		tb.Fatal(err)
	}
	config, err := keys.ServerConfig(events.ServerOptions{Listen: "127.0.0.1:-1", StoreDir: filepath.Join(dir, "store"), Name: "test"})
	if err != nil {
		tb.Fatal(err)
	}
	b := &bus{log: &lockedBuffer{}}
	log := slog.New(slog.NewTextHandler(b.log, nil))
	server, err := natsserver.Start(tb.Context(), config, natsserver.Options{Log: log})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(server.Close)
	connect := func(user string) *nats.Conn {
		creds, err := keys.Credentials(user)
		if err != nil {
			tb.Fatal(err)
		}
		nc, err := events.Connect(tb.Context(), events.ConnectOptions{InProcess: server, Credentials: creds, User: user, Name: user, Log: log})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(nc.Close)
		return nc
	}
	b.api, b.session = connect(events.UserAPIAuth), connect(events.UserSession)
	b.client = &worker.Client{Conn: b.api}
	return b
}

// run runs a worker until stop, which waits for its drain.
func (b *bus) run(tb testing.TB, o worker.Options) (stop func() error) {
	tb.Helper()
	ready := make(chan struct{})
	o.Version, o.Log = "1.2.3", slog.New(slog.NewTextHandler(b.log, nil))
	o.Ready = func() { close(ready) }
	ctx, cancel := context.WithCancel(tb.Context())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx, b.session, o) }()
	select {
	case <-ready:
	case err := <-ended:
		tb.Fatalf("Run = %v before it was ready", err)
	}
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	tb.Cleanup(func() { _ = stop() })
	return stop
}

// issuer is a session service made of a function.
type issuer func(ctx context.Context, r session.Request) (*session.Session, error)

func (i issuer) Issue(ctx context.Context, r session.Request) (*session.Session, error) {
	return i(ctx, r)
}

type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
