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

// Server is a running server. It is what [nats.InProcessServer] takes.
//
// [nats.InProcessServer]: https://pkg.go.dev/github.com/nats-io/nats.go#InProcessServer
type Server struct {
	ns    *server.Server
	store *os.File // locked
}

// Start starts a server from the text of a nats-server configuration and
// returns once it takes connections. Signals stay the caller's. The store
// directory belongs to this server alone until Close returns; one that another
// process uses is refused.
func Start(ctx context.Context, config string, o Options) (*Server, error) {
	opts := &server.Options{}
	if err := opts.ProcessConfigString(config); err != nil {
		return nil, fmt.Errorf("bus configuration: %w", err)
	}
	opts.NoSigs = true
	opts.DisableJetStreamBanner = true
	if err := choosePort(ctx, opts, o.NextFreePort); err != nil {
		return nil, fmt.Errorf("start bus: %w", err)
	}
	store, err := lockStore(opts.StoreDir)
	if err != nil {
		return nil, fmt.Errorf("start bus: %w", err)
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		store.Close()
		return nil, fmt.Errorf("start bus: %w", err)
	}
	log := &logger{log: o.Log}
	ns.SetLoggerV2(log, false, false, false)

	s := &Server{ns: ns, store: store}
	started := make(chan struct{})
	go func() {
		ns.Start()
		close(started)
	}()
	select {
	case <-started:
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		s.Close()
		<-started
		return nil, fmt.Errorf("start bus: %w", err)
	}
	if fatal := log.fatal.Load(); fatal != nil {
		s.Close()
		return nil, fmt.Errorf("start bus: %s", *fatal)
	}
	if !ns.ReadyForConnections(readyTime) {
		s.Close()
		return nil, errors.New("start bus: not ready for connections")
	}
	return s, nil
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
func (s *Server) InProcessConn() (net.Conn, error) { return s.ns.InProcessConn() }

// ClientURL is where workers outside this process connect to.
func (s *Server) ClientURL() string { return s.ns.ClientURL() }

// Healthy says what is wrong with the server or its streams, or nil.
func (s *Server) Healthy() error {
	if status := s.ns.Healthz(&server.HealthzOptions{}); status.StatusCode != http.StatusOK {
		return fmt.Errorf("bus: %s", status.Error)
	}
	return nil
}

// Close ends the server and returns when its store is written and free. What
// uses the bus is to be closed before.
func (s *Server) Close() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
	s.store.Close()
}
