// Package natsserver runs a NATS server inside this process, built from the
// same configuration text as one outside:
//
//	events.Keys.ServerConfig ─▶ Start ─▶ in-process connections, and loopback for workers
package natsserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Options are what the configuration text does not say.
type Options struct {
	// Log takes the server's warnings and errors; needed.
	Log *slog.Logger
	// NextFreePort takes the next free port when the configured one is taken.
	NextFreePort bool
}

// Server is a running server. It is safe for concurrent use, and what
// [nats.InProcessServer] takes.
//
// [nats.InProcessServer]: https://pkg.go.dev/github.com/nats-io/nats.go#InProcessServer
type Server struct {
	config string
	log    *slog.Logger
	port   int                           // that the first server got
	store  *os.File                      // locked
	ns     atomic.Pointer[server.Server] // the last that was ready
}

// Start starts a server from the text of a nats-server configuration and
// returns once it takes connections. Signals stay the caller's. The store
// directory belongs to this server alone until Close returns; one that another
// process uses is refused.
func Start(ctx context.Context, config string, o Options) (*Server, error) {
	s := &Server{config: config, log: o.Log}
	opts, err := s.options()
	if err != nil {
		return nil, err
	}
	if err := choosePort(ctx, opts, o.NextFreePort); err != nil {
		return nil, fmt.Errorf("start bus: %w", err)
	}
	if s.store, err = lockStore(opts.StoreDir); err != nil {
		return nil, fmt.Errorf("start bus: %w", err)
	}
	if err := s.run(ctx, opts); err != nil {
		s.store.Close()
		return nil, fmt.Errorf("start bus: %w", err)
	}
	s.port = s.ns.Load().Addr().(*net.TCPAddr).Port
	return s, nil
}

// Restart ends the server and starts it again, at the same address and with
// what is stored. Connections find it again by themselves. A server that fails
// to start is down until the next Restart. Restart and Close must not run at
// the same time.
func (s *Server) Restart(ctx context.Context) error {
	opts, err := s.options()
	if err != nil {
		return err
	}
	opts.Port = s.port // a server that is down has no address
	shutdown(s.ns.Load())
	if err := s.run(ctx, opts); err != nil {
		return fmt.Errorf("restart bus: %w", err)
	}
	return nil
}

func (s *Server) options() (*server.Options, error) {
	opts := &server.Options{}
	if err := opts.ProcessConfigString(s.config); err != nil {
		return nil, fmt.Errorf("bus configuration: %w", err)
	}
	opts.NoSigs = true
	opts.DisableJetStreamBanner = true
	return opts, nil
}

// run starts a server and waits until it takes connections. Before that there
// are none in this process either: one that is made while the streams are read
// would stay with a server that does not get to run. One that is starting is not
// stopped, since what it starts after that would go on, on the same store.
func (s *Server) run(ctx context.Context, opts *server.Options) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	log := &logger{log: s.log}
	ns.SetLoggerV2(log, false, false, false)
	ns.Start()
	err = ctx.Err()
	if fatal := log.fatal.Load(); err == nil && fatal != nil {
		err = errors.New(*fatal)
	}
	if err == nil && !ns.ReadyForConnections(readyTime) {
		err = errors.New("not ready for connections")
	}
	if err != nil {
		shutdown(ns)
		return err
	}
	s.ns.Store(ns)
	return nil
}

const (
	// readyTime is what a server that has started may need until it listens.
	readyTime = 5 * time.Second
	// portsToTry is how far the next free port is looked for.
	portsToTry = 100
)

// choosePort checks that the configured port is free, or finds the next one.
// The server's own report of a taken port comes late and as text.
func choosePort(ctx context.Context, opts *server.Options, next bool) error {
	if opts.Port <= 0 {
		return nil // any free one
	}
	var taken error
	for port := opts.Port; port < opts.Port+portsToTry; port++ {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(opts.Host, strconv.Itoa(port)))
		if err == nil {
			opts.Port = port
			return l.Close()
		}
		if taken == nil {
			taken = err
		}
		if !next {
			break
		}
	}
	return taken
}

// InProcessConn gives one end of a connection inside this process.
func (s *Server) InProcessConn() (net.Conn, error) { return s.ns.Load().InProcessConn() }

// ClientURL is where workers outside this process connect to.
func (s *Server) ClientURL() string { return s.ns.Load().ClientURL() }

// Healthy says what is wrong with the server or its streams, or nil.
func (s *Server) Healthy() error {
	if status := s.ns.Load().Healthz(&server.HealthzOptions{}); status.StatusCode != http.StatusOK {
		return fmt.Errorf("bus: %s", status.Error)
	}
	return nil
}

// Store tells how many bytes the streams have on the disk, and how many they may.
func (s *Server) Store() (used, most uint64, err error) {
	info, err := s.ns.Load().Jsz(&server.JSzOptions{})
	if err != nil {
		return 0, 0, fmt.Errorf("store of the bus: %w", err)
	}
	return info.Store, uint64(max(0, info.Config.MaxStore)), nil
}

// RestartGivesRoom tells whether the streams may have more than now, and than they
// have, after a [Server.Restart], by a hundredth at least. Unless its configuration says
// how much that is, a server chooses it at its start: three quarters of what is stored
// and of what is free on the disk. One that starts while little is free may so have less
// than it has stored, and takes nothing more, whatever is freed later. Where it is not
// known what is free, it is false.
func (s *Server) RestartGivesRoom() bool {
	opts, err := s.options()
	if err != nil || opts.JetStreamMaxStore > 0 {
		return false
	}
	used, most, err := s.Store()
	free, known := diskFree(opts.StoreDir)
	return err == nil && known && (used+free)/4*3 > max(used, most)/100*101
}

// Close ends the server and returns when its store is written and free. What
// uses the bus is to be closed before.
func (s *Server) Close() {
	shutdown(s.ns.Load())
	s.store.Close()
}

func shutdown(ns *server.Server) {
	ns.Shutdown()
	ns.WaitForShutdown()
}
