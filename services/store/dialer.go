package store

import (
	"context"
	"errors"
	"net"
	"time"
)

// dialer makes connections whose other end may not be silent for ever. The
// driver waits for the answer of a frozen server as long as the kernel does,
// whatever the context.
type dialer struct {
	// silence is how long a statement may take; 0 means any time.
	silence time.Duration
	// limit may bound what is read from a connection; nil does not.
	limit func(net.Conn) net.Conn
	// dialed is given each connection.
	dialed func(*impatient)
}

// grace is what the network may add to the time of a statement.
const grace = time.Second

// Dial implements [pq.Dialer].
func (d dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialTimeout implements [pq.Dialer].
func (d dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

// DialContext implements [pq.DialerContext].
func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if d.limit != nil {
		conn = d.limit(conn)
	}
	c := &impatient{Conn: conn, silence: d.silence}
	d.dialed(c)
	return c, nil
}

// impatient is a connection on which each answer has a time limit, from when
// its question was written.
type impatient struct {
	net.Conn
	silence time.Duration
	outer   time.Time // the deadline that was set from outside
	// lost is told when the other end is gone or silent; nil tells nobody.
	lost func()
}

// SetDeadline keeps t as the latest deadline of all that follows.
func (c *impatient) SetDeadline(t time.Time) error {
	c.outer = t
	return c.Conn.SetDeadline(t)
}

// Write writes, and starts the time that the answer may take.
func (c *impatient) Write(p []byte) (int, error) {
	if c.silence > 0 {
		deadline := time.Now().Add(c.silence + grace)
		if !c.outer.IsZero() && c.outer.Before(deadline) {
			deadline = c.outer
		}
		if err := c.Conn.SetDeadline(deadline); err != nil {
			return 0, err
		}
	}
	return c.tell(c.Conn.Write(p))
}

// Read reads, and tells when there is nobody to read from.
func (c *impatient) Read(p []byte) (int, error) { return c.tell(c.Conn.Read(p)) }

func (c *impatient) tell(n int, err error) (int, error) {
	if err != nil && !errors.Is(err, net.ErrClosed) && c.lost != nil {
		c.lost()
	}
	return n, err
}
