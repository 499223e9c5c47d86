package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
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
	revived  time.Time

	mu    sync.Mutex // a reload comes while parts connect
	conns []*connection
	// refreshing is held by who makes connections anew.
	refreshing sync.Mutex
}

// connection is one to an external server, with the files that it was made by, as
// they were when they were read last.
type connection struct {
	*nats.Conn
	user  string
	files []string
	sum   [sha256.Size]byte
}

// open gives the connections of this process.
func (b *bus) open() (conns []*nats.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conns {
		conns = append(conns, c.Conn)
	}
	return conns
}

// credentialFiles are those that this process connects with, by user; none to the
// embedded server.
func (b *bus) credentialFiles() map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	paths := map[string]string{}
	for _, c := range b.conns {
		if len(c.files) > 0 {
			paths[c.user] = c.files[0]
		}
	}
	return paths
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
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("%w: set bus.listen to an address that is free, such as by USHER_BUS__LISTEN=127.0.0.1:4322; with --dev the next free port is taken", err)
	}
	if err != nil {
		return nil, fmt.Errorf("bus.listen: %w", err)
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
	c := &connection{user: user}
	var err error
	if b.embedded != nil {
		o.InProcess = b.embedded
		o.Credentials, err = b.keys.Credentials(user)
	} else {
		o.CredentialsFile, err = b.credential(user)
		tls := b.cfg.Bus.TLS
		o.TLS = events.ClientTLS{CA: tls.CA, Cert: tls.Cert, Key: tls.Key}
		c.files = []string{o.CredentialsFile, tls.CA, tls.Cert, tls.Key}
		c.sum, _ = sumOf(c.files) // what cannot be read, the connection says
	}
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	if c.Conn, err = events.Connect(ctx, o); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns = append(b.conns, c)
	return c.Conn, nil
}

// credential finds the file that "usher bus config" wrote for a user.
func (b *bus) credential(user string) (path string, err error) {
	path = filepath.Join(b.cfg.Bus.Credentials, user+".creds")
	if _, err = os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s is missing; bus.credentials names the folder that 'usher bus config' wrote, and an earlier Usher's needs it again: %w", path, err)
	}
	return path, err
}

const (
	// spread is within what time processes whose files change at once go on to them:
	// session workers do not all leave at the same moment.
	spread = 2 * time.Second
	// settled is how long one connection may take before it is the next one's turn.
	settled = 5 * time.Second
)

// refresh makes those connections anew, soon, whose credential or certificate has
// changed. The others, and all of the embedded server, are left alone.
func (b *bus) refresh() {
	if b != nil && b.embedded == nil {
		time.AfterFunc(rand.N(spread), b.reconnect)
	}
}

// reconnect makes one connection after the other anew.
func (b *bus) reconnect() {
	b.refreshing.Lock()
	defer b.refreshing.Unlock()
	b.mu.Lock()
	conns := slices.Clone(b.conns)
	b.mu.Unlock()
	for _, c := range conns {
		if c.IsClosed() {
			return
		}
		sum, err := sumOf(c.files)
		if err != nil || sum == c.sum {
			continue // a file that is being replaced, or is gone, must not end a good connection
		}
		c.sum = sum
		if err := c.ForceReconnect(); err != nil {
			b.log.Error("the bus is not connected to anew", "connection", c.Opts.Name, "error", err)
			continue
		}
		b.log.Info("credentials of the bus read again", "connection", c.Opts.Name)
		for began := time.Now(); !c.IsConnected() && time.Since(began) < settled; {
			time.Sleep(time.Millisecond)
		}
	}
}

// sumOf tells files apart from what they were.
func sumOf(files []string) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	for _, path := range files {
		if path == "" {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return sum, err
		}
		fmt.Fprintf(h, "%d:", len(text))
		h.Write(text)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
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
// healthy. One that says that it is full is well, unless it would have more room
// after a start. Only the relay may call it.
func (b *bus) revive(ctx context.Context, stalled time.Duration, why error) {
	if b.embedded == nil || stalled < stallTime || time.Since(b.revived) < stallTime {
		return
	}
	if events.IsFull(why) && (!events.IsStoreFull(why) || !b.embedded.RestartGivesRoom()) {
		return
	}
	b.revived = time.Now()
	if err := b.embedded.Restart(ctx); err != nil {
		b.log.Error("the embedded bus stores nothing and cannot be started again", "error", err)
		return
	}
	b.log.Warn("the embedded bus stored nothing and was started again", "after", stalled.Round(time.Second))
}

// healthy says whether the embedded server is, and all connections to one elsewhere.
func (b *bus) healthy(context.Context) error {
	if b.embedded != nil {
		return b.embedded.Healthy()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conns {
		if !c.IsConnected() {
			return fmt.Errorf("%s is not connected: %w", c.Opts.Name, cmp.Or(c.LastError(), nats.ErrDisconnected))
		}
	}
	return nil
}

// url is where the bus is.
func (b *bus) url() string {
	if b.embedded != nil {
		return b.embedded.ClientURL()
	}
	return b.cfg.Bus.URL
}

// ca is who signs the certificates of an external bus, empty where nobody is named.
func (b *bus) ca() string {
	if b.embedded != nil || b.cfg.Bus.TLS.CA == "" {
		return ""
	}
	text, err := os.ReadFile(b.cfg.Bus.TLS.CA)
	if err != nil {
		b.log.Error("workers are not told who signs the certificates of the bus", "error", err)
	}
	return string(text)
}

// close closes the connections, then the embedded server.
func (b *bus) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conns {
		c.Close()
	}
	if b.embedded != nil {
		b.embedded.Close()
	}
}
