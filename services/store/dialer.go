package store

import (
	"context"
	"net"
	"time"
)

// dialer makes connections whose other end may not be silent for ever. The
// driver waits for the answer of a frozen server as long as the kernel does,
// whatever the context.
type dialer struct {
	// silence is how long a statement may take; 0 means any time.
	silence time.Duration
}

// grace is what the network may add to the time of a statement.
const grace = 2 * time.Second

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
	if err != nil || d.silence == 0 {
		return conn, err
	}
	return &impatient{Conn: conn, limit: d.silence + grace}, nil
}

// impatient is a connection on which each answer has a time limit, from when
// its question was written.
type impatient struct {
	net.Conn
	limit time.Duration
	outer time.Time // the deadline that was set from outside
}

// SetDeadline keeps t as the latest deadline of all that follows.
func (c *impatient) SetDeadline(t time.Time) error {
	c.outer = t
	return c.Conn.SetDeadline(t)
}

// Write writes, and starts the time that the answer may take.
func (c *impatient) Write(p []byte) (int, error) {
	deadline := time.Now().Add(c.limit)
	if !c.outer.IsZero() && c.outer.Before(deadline) {
		deadline = c.outer
	}
	if err := c.Conn.SetDeadline(deadline); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
