package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lib/pq"
)

// servers are the hosts of a DSN, one of which takes writes: which one changes
// when it fails. All connections of a process share what it has seen of them.
//
//	a connection is gone or silent, or its server read-only ─▶ lost ─▶ its host is tried last,
//	idle connections are closed, who leads by one gives the lead back
type servers struct {
	mu    sync.Mutex
	order []pq.Config // of trying; each has one host
	// written is the furthest that this process has seen a server written.
	written history
	// doubted is closed when the connections that there are are to be given up.
	doubted chan struct{}
	// drop closes those that are idle.
	drop func()
}

// history is which data a server has: a standby that becomes the primary begins
// a timeline with a higher number.
type history struct {
	system   string
	timeline uint64
}

func newServers(config pq.Config, drop func()) *servers {
	s := &servers{doubted: make(chan struct{}), drop: drop}
	hosts := append([]pq.ConfigMultihost{{Host: config.Host, Hostaddr: config.Hostaddr, Port: config.Port}}, config.Multi...)
	for _, h := range hosts {
		one := config.Clone()
		one.Host, one.Hostaddr, one.Port, one.Multi = h.Host, h.Hostaddr, h.Port, nil
		s.order = append(s.order, one)
	}
	return s
}

func (s *servers) hosts() []pq.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order)
}

// doubt is closed when a connection made now is no longer to be trusted.
func (s *servers) doubt() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.doubted
}

// lost gives up the connections that there are, and has a host tried last.
func (s *servers) lost(host pq.Config) {
	s.mu.Lock()
	last := len(s.order) - 1
	// The one that is connected to is the first: this is news of before.
	if last > 0 && address(s.order[last]) == address(host) {
		s.mu.Unlock()
		return
	}
	s.move(host, last)
	s.giveUp()
	s.mu.Unlock()
	s.drop()
}

// readOnly gives up the connections that there are.
func (s *servers) readOnly() {
	s.mu.Lock()
	s.giveUp()
	s.mu.Unlock()
	s.drop()
}

func (s *servers) giveUp() {
	close(s.doubted)
	s.doubted = make(chan struct{})
}

// move gives a host another place in the order.
func (s *servers) move(host pq.Config, to int) {
	at := slices.IndexFunc(s.order, func(c pq.Config) bool { return address(c) == address(host) })
	s.order = slices.Insert(slices.Delete(s.order, at, at+1), to, host)
}

// accept says whether a server with such data may be used: not when this process
// has seen another that has been written since. The host is tried first then.
func (s *servers) accept(host pq.Config, h history) error {
	s.mu.Lock()
	newer := h.system == s.written.system && h.timeline > s.written.timeline
	if h.system == s.written.system && h.timeline < s.written.timeline {
		defer s.mu.Unlock()
		return fmt.Errorf("it is a former primary: it is on timeline %d, the primary on %d; if that was undone on purpose, start usher again", h.timeline, s.written.timeline)
	}
	s.written = h
	s.move(host, 0)
	if newer {
		s.giveUp()
	}
	s.mu.Unlock()
	if newer {
		s.drop() // those to the former primary
	}
	return nil
}

// address names a host.
func address(c pq.Config) string { return fmt.Sprintf("%s/%s:%d", c.Host, c.Hostaddr, c.Port) }

// connector makes connections to the server that takes writes.
type connector struct {
	servers  *servers
	settings map[string]string // of the session
	silence  time.Duration
}

// Driver implements [driver.Connector].
func (*connector) Driver() driver.Driver { return &pq.Driver{} }

// Connect implements [driver.Connector]. It tries each host once.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	var errs []error
	hosts := c.servers.hosts()
	for _, host := range hosts {
		conn, err := c.connect(ctx, host, len(hosts) > 1)
		if err == nil {
			return conn, nil
		}
		if len(hosts) == 1 {
			return nil, refused(err)
		}
		errs = append(errs, fmt.Errorf("%s:%d: %w", host.Host, host.Port, err))
	}
	return nil, &unavailable{fmt.Errorf("no host takes writes: %w", errors.Join(errs...))}
}

// connect connects to one host, which must not be a former primary when there are others.
func (c *connector) connect(ctx context.Context, host pq.Config, others bool) (driver.Conn, error) {
	config := host.Clone()
	for name, value := range c.settings {
		config.Runtime[name] = value
	}
	made, err := pq.NewConnectorConfig(config)
	if err != nil {
		return nil, err
	}
	// As long as it is not connected nobody has lost anything, and a connection
	// that cancels a statement of another ends by itself.
	var last *impatient
	var connected atomic.Bool
	made.Dialer(dialer{silence: c.silence, dialed: func(c *impatient) {
		if !connected.Load() {
			last = c
		}
	}})
	conn, err := made.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if others {
		err = c.look(ctx, conn, host)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	connected.Store(true)
	last.lost = func() { c.servers.lost(host) }
	return conn, nil
}

// look asks a server which data it has. Some services in front of a PostgreSQL do not say.
func (c *connector) look(ctx context.Context, conn driver.Conn, host pq.Config) error {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx,
		`SELECT (SELECT system_identifier::text FROM pg_control_system()), substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)`, nil)
	row := make([]driver.Value, 2)
	if err == nil {
		err = errors.Join(rows.Next(row), rows.Close())
	}
	if pq.As(err) != nil {
		return nil
	}
	if err != nil {
		return err
	}
	timeline, err := strconv.ParseUint(text(row[1]), 16, 64)
	if err != nil {
		return err
	}
	return c.servers.accept(host, history{system: text(row[0]), timeline: timeline})
}

func text(v driver.Value) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return fmt.Sprint(v)
}

// refused is the error of a connection that was not made.
func refused(err error) error {
	if pq.As(err) != nil {
		return err // it says by its code what is wrong
	}
	return &unavailable{err}
}
