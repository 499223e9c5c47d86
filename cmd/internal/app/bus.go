package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
)

// bus is the way to NATS: the server inside this process, or another one.
type bus struct {
	cfg      *config.Config
	log      *slog.Logger
	embedded *natsserver.Server // nil: the server is elsewhere
	keys     *events.Keys       // of the embedded server
	conns    []*nats.Conn
	revived  time.Time
}

// openBus starts the embedded server, or only remembers where the other is.
func openBus(ctx context.Context, cfg *config.Config, log *slog.Logger) (*bus, error) {
	b := &bus{cfg: cfg, log: log}
	if cfg.Bus.URL != "" {
		return b, nil
	}
	dir := filepath.Join(cfg.DataDir, "bus")
	var err error
	if b.keys, err = events.LoadOrMakeKeys(filepath.Join(dir, "keys")); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	text, err := b.keys.ServerConfig(events.ServerOptions{
		Listen: cfg.Bus.Listen, StoreDir: filepath.Join(dir, "streams"), Name: "usher",
	})
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	b.embedded, err = natsserver.Start(ctx, text, natsserver.Options{Log: log, NextFreePort: cfg.Dev})
	if err != nil {
		return nil, err
	}
	// Workers from outside find the server by this file.
	if err := os.WriteFile(filepath.Join(cfg.DataDir, "bus.url"), []byte(b.embedded.ClientURL()+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	return b, nil
}

// connect gives a connection of one of the users that package events names. A server
// elsewhere need not be there yet: the connection waits for it.
func (b *bus) connect(ctx context.Context, user string) (*nats.Conn, error) {
	o := events.ConnectOptions{URL: b.cfg.Bus.URL, User: user, Name: "usher " + user, IfAway: events.GoOnIfAway, Log: b.log}
	var err error
	if b.embedded != nil {
		o.InProcess = b.embedded
		o.Credentials, err = b.keys.Credentials(user)
	} else {
		o.Credentials, err = b.credential(user)
	}
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	nc, err := events.Connect(ctx, o)
	if err != nil {
		return nil, err
	}
	b.conns = append(b.conns, nc)
	return nc, nil
}

// credential reads the file that "usher bus config" wrote for a user.
func (b *bus) credential(user string) ([]byte, error) {
	path := filepath.Join(b.cfg.Bus.Credentials, user+".creds")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing; bus.credentials names the folder that 'usher bus config' wrote, and an earlier Usher's needs it again: %w", path, err)
	}
	return data, err
}

// minter mints the credentials of workers. An external bus's is in the folder
// that "usher bus config" wrote; a part that was not given it cannot mint.
func (b *bus) minter() (*events.Minter, error) {
	if b.embedded != nil {
		return b.keys.Minter()
	}
	m, err := events.LoadMinter(b.cfg.Bus.Credentials)
	if errors.Is(err, events.ErrNoMinter) {
		return nil, fmt.Errorf("bus: %w; run 'usher bus config' again on the folder above it, and start the bus again", err)
	}
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	return m, nil
}

// stallTime is how long the stream may store nothing before the embedded server
// is started again.
const stallTime = 15 * time.Second

// revive starts the embedded server again when its stream stores nothing: after
// a full disk it stays so, although there is room again and it calls itself
// healthy. One that says that it is full is well. Only the relay may call it.
func (b *bus) revive(ctx context.Context, stalled time.Duration, why error) {
	if b.embedded == nil || stalled < stallTime || time.Since(b.revived) < stallTime || events.IsFull(why) {
		return
	}
	b.revived = time.Now()
	if err := b.embedded.Restart(ctx); err != nil {
		b.log.Error("the embedded bus stores nothing and cannot be started again", "error", err)
		return
	}
	b.log.Warn("the embedded bus stored nothing and was started again", "after", stalled.Round(time.Second))
}

// url is where the bus is.
func (b *bus) url() string {
	if b.embedded != nil {
		return b.embedded.ClientURL()
	}
	return b.cfg.Bus.URL
}

// close closes the connections, then the embedded server.
func (b *bus) close() {
	for _, nc := range b.conns {
		nc.Close()
	}
	if b.embedded != nil {
		b.embedded.Close()
	}
}
