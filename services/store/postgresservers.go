package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
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
//	a connection is gone or silent ─▶ lost     ─▶ its host is tried last
//	its server takes no writes     ─▶ readOnly ─▶ new connections find that it is not the one
//	another host has been promoted ─▶ found    ─▶ it is tried first
//	└─▶ idle connections are closed, those in use are not used again, who leads by one gives
//	    the lead back
type servers struct {
	// age counts how often the connections that there were have been given up.
	age   atomic.Int64
	mu    sync.Mutex
	order []pq.Config // of trying; each has one host
	// written is the furthest that this process has seen a server written.
	written history
	// doubted is closed when the connections that there are are to be given up.
	doubted chan struct{}
	// drop closes those that are idle.
	drop func()
	// login is what new connections sign in with.
	login *atomic.Pointer[login]
}

// login is a user of the servers.
type login struct{ user, password string }

// history is which data a server has: a standby that becomes the primary begins
// a timeline with a higher number.
type history struct {
	system   string
	timeline uint64
}

func newServers(config pq.Config, drop func()) *servers {
	s := &servers{doubted: make(chan struct{}), drop: drop, login: &atomic.Pointer[login]{}}
	s.login.Store(&login{config.User, config.Password})
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

// signIn has new connections made with another login. Those in use end as they would
// have, and are not used again.
func (s *servers) signIn(l login) {
	if former := s.login.Swap(&l); *former != l {
		s.age.Add(1)
		s.drop()
	}
}

// lost gives up the connections that there are, and has a host tried last. What is
// heard late, by a connection that was given up, says nothing of the others.
func (s *servers) lost(host pq.Config, age int64) {
	s.mu.Lock()
	if age != s.age.Load() {
		s.mu.Unlock()
		return
	}
	s.move(host, len(s.order)-1)
	s.giveUp()
	s.mu.Unlock()
	s.drop()
}

// readOnly gives up the connections that there are. The order stays: each new connection
// asks its host, which is passed over as long as it takes no writes.
func (s *servers) readOnly() {
	s.mu.Lock()
	s.giveUp()
	s.mu.Unlock()
	s.drop()
}

func (s *servers) giveUp() {
	s.age.Add(1)
	close(s.doubted)
	s.doubted = make(chan struct{})
}

// move gives a host another place in the order.
func (s *servers) move(host pq.Config, to int) {
	at := slices.IndexFunc(s.order, func(c pq.Config) bool { return address(c) == address(host) })
	s.order = slices.Insert(slices.Delete(s.order, at, at+1), to, host)
}

// accept says whether a server with such data may be used: not when this process
// has seen another that has been written since, or another cluster's. The host is
// tried first then, and connections to it are of the age that it gives.
func (s *servers) accept(host pq.Config, h history) (age int64, err error) {
	s.mu.Lock()
	newer := h.system == s.written.system && h.timeline > s.written.timeline
	if err := s.written.refuse(h); err != nil {
		s.mu.Unlock()
		return 0, err
	}
	s.written = h
	s.move(host, 0)
	if newer {
		s.giveUp()
	}
	age = s.age.Load()
	s.mu.Unlock()
	if newer {
		s.drop() // those to the former primary
	}
	return age, nil
}

// refuse says why a server with such data is not what this one has become.
func (written history) refuse(h history) error {
	switch {
	case written.system == "": // none was seen
	case h.system != written.system:
		return errors.New("it has the data of another cluster than the primary before; if that was replaced on purpose, start usher again")
	case h.timeline < written.timeline:
		return fmt.Errorf("it is a former primary: it is on timeline %d, the primary on %d; if that was undone on purpose, start usher again", h.timeline, written.timeline)
	}
	return nil
}

// watchEvery is how often the hosts that are not connected to are looked at.
const watchEvery = time.Second

// watch looks whether another host has been promoted, until stop is closed. A
// process that asks nothing while the primary is frozen would notice nothing, and
// read old data when it is back.
func (s *servers) watch(stop <-chan struct{}) {
	watched := map[string]*sql.DB{}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			for _, db := range watched {
				_ = db.Close()
			}
			return
		case <-tick.C:
		}
		for _, host := range s.hosts()[1:] {
			db := watched[address(host)]
			if db == nil {
				host.TargetSessionAttrs = pq.TargetSessionAttrsAny
				only := newServers(host, func() {})
				only.login = s.login
				db = sql.OpenDB(&connector{servers: only, silence: watchEvery})
				db.SetMaxOpenConns(1)
				watched[address(host)] = db
			}
			if h, err := historyOf(context.Background(), db); err == nil {
				s.found(host, h)
			}
		}
	}
}

// historyOf asks a server which data it has; one that takes no writes is [sql.ErrNoRows].
func historyOf(ctx context.Context, db *sql.DB) (h history, err error) {
	var timeline string
	if err := db.QueryRowContext(ctx, historyQuery+` WHERE NOT pg_is_in_recovery()`).Scan(&h.system, &timeline); err != nil {
		return h, err
	}
	h.timeline, err = strconv.ParseUint(timeline, 16, 64)
	return h, err
}

// found says that a host takes writes. It is the primary if it has been promoted
// after what is connected to.
func (s *servers) found(host pq.Config, h history) {
	s.mu.Lock()
	newer := h.system == s.written.system && h.timeline > s.written.timeline
	s.mu.Unlock()
	if newer {
		_, _ = s.accept(host, h) // unless a later one was found meanwhile
	}
}

// address names a host.
func address(c pq.Config) string { return fmt.Sprintf("%s/%s:%d", c.Host, c.Hostaddr, c.Port) }

// connector makes connections to the server that takes writes.
type connector struct {
	servers  *servers
	settings map[string]string // of the session
	silence  time.Duration
	limit    func(net.Conn) net.Conn // see [dialer]
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
	age, login := c.servers.age.Load(), c.servers.login.Load()
	config.User, config.Password = login.user, login.password
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
	made.Dialer(dialer{silence: c.silence, limit: c.limit, dialed: func(c *impatient) {
		if !connected.Load() {
			last = c
		}
	}})
	conn, err := made.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if others {
		age, err = c.look(ctx, conn, host, age)
		if pq.As(err) != nil {
			err = nil // services in front of a PostgreSQL may not say
		}
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	connected.Store(true)
	last.lost = func() { c.servers.lost(host, age) }
	return &current{whole: conn.(whole), servers: c.servers, age: age}, nil
}

// historyQuery asks a server that takes writes for its history.
const historyQuery = `SELECT (SELECT system_identifier::text FROM pg_control_system()), substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)`

// look asks a server which data it has, and whether that may be used. It gives the
// age of the connection, which was a former one when it was begun.
func (c *connector) look(ctx context.Context, conn driver.Conn, host pq.Config, former int64) (age int64, err error) {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, historyQuery, nil)
	row := make([]driver.Value, 2)
	if err == nil {
		err = errors.Join(rows.Next(row), rows.Close())
	}
	if err != nil {
		return former, err
	}
	timeline, err := strconv.ParseUint(text(row[1]), 16, 64)
	if err != nil {
		return former, err
	}
	return c.servers.accept(host, history{system: text(row[0]), timeline: timeline})
}

func text(v driver.Value) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return fmt.Sprint(v)
}

// whole is all that the driver's connections can do.
type whole interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.NamedValueChecker
	driver.SessionResetter
	driver.Validator
}

// current is a connection that is not used again once it was given up.
type current struct {
	whole
	servers *servers
	age     int64
}

// ResetSession implements [driver.SessionResetter].
func (c *current) ResetSession(ctx context.Context) error {
	if c.age != c.servers.age.Load() {
		return driver.ErrBadConn
	}
	return c.whole.ResetSession(ctx)
}

// IsValid implements [driver.Validator].
func (c *current) IsValid() bool { return c.age == c.servers.age.Load() && c.whole.IsValid() }

// refused is the error of a connection that was not made.
func refused(err error) error {
	if pq.As(err) != nil {
		return err // it says by its code what is wrong
	}
	return &unavailable{err}
}
