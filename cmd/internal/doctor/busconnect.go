package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
)

// bus is the opened one: a connection for each user whose credential is here.
type bus struct {
	// servers are its URLs, with what is wrong with each; nil is well.
	servers map[string]error
	// certificates are those of the servers with TLS, by URL.
	certificates map[string]*x509.Certificate
	creds        map[string][]byte
	conns        map[string]*nats.Conn
	refused      map[string]error // by user
	// states are the servers as they see themselves; none where they were not asked.
	states []events.ServerState
	// system is the credential that asks the servers how they are; nil where it is not here.
	system []byte
	minter *events.Minter
	noMint error
}

// errNotRunning says that the bus inside a server is away with it.
var errNotRunning = errors.New("the embedded bus runs with 'usher serve', which does not run here")

func (d *Doctor) nats(ctx context.Context) (*bus, error) {
	return d.bus.get(ctx, func(ctx context.Context) (*bus, error) {
		b := &bus{servers: map[string]error{}, certificates: map[string]*x509.Certificate{}, creds: map[string][]byte{}, conns: map[string]*nats.Conn{}, refused: map[string]error{}}
		urls, err := d.findBus(b)
		if err != nil {
			return nil, err
		}
		alive := d.alive(ctx, b, urls)
		if d.embedded() && len(alive) == 0 && d.Admin.alive(ctx) != nil {
			return nil, errNotRunning
		}
		if len(alive) > 0 {
			d.connectUsers(ctx, b, alive)
		}
		return b, nil
	})
}

func (d *Doctor) embedded() bool { return d.Config.Bus.URL == "" }

// findBus finds the servers, the credentials that are here, and the minter.
func (d *Doctor) findBus(b *bus) (urls []string, err error) {
	if d.embedded() {
		dir := d.Config.DataDir
		at, err := os.ReadFile(filepath.Join(dir, "bus.url"))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, errNotRunning
		}
		keys, err2 := events.ReadKeys(filepath.Join(dir, "bus", "keys"))
		if err := errors.Join(err, err2); err != nil {
			return nil, err
		}
		for _, user := range events.Users() {
			if b.creds[user], err = keys.Credentials(user); err != nil {
				return nil, err
			}
		}
		b.system, _ = keys.Credentials(events.UserSystem) // without it less is seen
		b.minter, b.noMint = keys.Minter()
		return []string{strings.TrimSpace(string(at))}, nil
	}
	for _, user := range events.Users() {
		text, err := os.ReadFile(d.credentialFile(user))
		if err == nil {
			b.creds[user] = text
		}
	}
	for _, dir := range []string{d.Config.Bus.Credentials, filepath.Dir(filepath.Clean(d.Config.Bus.Credentials))} {
		if text, err := os.ReadFile(filepath.Join(dir, events.UserSystem+".creds")); err == nil {
			b.system = text
		}
	}
	b.minter, b.noMint = events.LoadMinter(d.Config.Bus.Credentials)
	return strings.Split(d.Config.Bus.URL, ","), nil
}

func (d *Doctor) credentialFile(user string) string {
	return filepath.Join(d.Config.Bus.Credentials, user+".creds")
}

// alive asks each server, side by side, and gives those that are there. One that
// refuses the credential is there.
func (d *Doctor) alive(ctx context.Context, b *bus, urls []string) (there []string) {
	users := sorted(b.creds)
	if len(users) == 0 {
		return nil
	}
	errs, leaves := make([]error, len(urls)), make([]*x509.Certificate, len(urls))
	var all sync.WaitGroup
	for n, url := range urls {
		all.Go(func() {
			nc, err := d.connect(ctx, url, users[0], b.creds[users[0]])
			if err == nil {
				if state, err := nc.TLSConnectionState(); err == nil {
					leaves[n] = state.PeerCertificates[0]
				}
				nc.Close()
			}
			if _, refused := events.Explain(users[0], err); !refused {
				errs[n] = err
			}
		})
	}
	all.Wait()
	for n, url := range urls {
		b.servers[url] = errs[n]
		if leaves[n] != nil {
			b.certificates[url] = leaves[n]
		}
		if errs[n] == nil {
			there = append(there, url)
		}
	}
	return there
}

func (d *Doctor) connect(ctx context.Context, url, user string, creds []byte) (*nats.Conn, error) {
	return events.Connect(ctx, d.connectOptions(url, user, creds))
}

func (d *Doctor) connectOptions(url, user string, creds []byte) events.ConnectOptions {
	return events.ConnectOptions{
		URL: url, Credentials: creds, User: user, Name: "usher doctor " + user, Log: slog.New(slog.DiscardHandler),
		TLS: events.ClientTLS{CA: d.Config.Bus.TLS.CA, Cert: d.Config.Bus.TLS.Cert, Key: d.Config.Bus.TLS.Key},
	}
}

// connectUsers connects as each user, side by side.
func (d *Doctor) connectUsers(ctx context.Context, b *bus, urls []string) {
	var mu sync.Mutex
	var all sync.WaitGroup
	if b.system != nil {
		all.Go(func() {
			if nc, err := d.connect(ctx, strings.Join(urls, ","), events.UserSystem, b.system); err == nil {
				b.states, _ = events.Servers(ctx, nc, presenceWait)
				nc.Close()
			}
		})
	}
	for user, creds := range b.creds {
		all.Go(func() {
			nc, err := d.connect(ctx, strings.Join(urls, ","), user, creds)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				b.refused[user] = err
				return
			}
			b.conns[user] = nc
		})
	}
	all.Wait()
}

func (b *bus) close() {
	for _, nc := range b.conns {
		nc.Close()
	}
}

// away tells whether no server answers.
func (b *bus) away() bool {
	here, _ := b.count()
	return here == 0
}

// minority tells whether most servers of a cluster are away: those that are left
// keep no streams then, and the checks are skipped.
func (b *bus) minority(f *findings, checks ...string) bool {
	if here, all := b.count(); all < 3 || 2*here > all {
		return false
	}
	f.skip("most servers of the bus are away, see "+checkBus, checks...)
	return true
}

// count gives how many servers answer, and how many there are.
func (b *bus) count() (here, all int) {
	for _, err := range b.servers {
		if err == nil {
			here++
		}
	}
	return here, len(b.servers)
}

// as gives the connection of the first of the users that has one.
func (b *bus) as(users ...string) (*nats.Conn, bool) {
	for _, user := range users {
		if nc, ok := b.conns[user]; ok {
			return nc, true
		}
	}
	return nil, false
}

const noBus = "no server of the bus answers, see " + checkBus

// reached gives the bus if any of its servers answers; else it skips the checks.
func (d *Doctor) reached(ctx context.Context, f *findings, checks ...string) (*bus, bool) {
	b, err := d.nats(ctx)
	switch {
	case err == nil && len(b.creds) == 0:
		f.skip("no credential is here, see "+checkCredentials, checks...)
		return nil, false
	case err != nil || b.away():
		f.skip(noBus, checks...)
		return nil, false
	}
	return b, true
}
