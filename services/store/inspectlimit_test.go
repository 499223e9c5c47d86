package store_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/usher-auth/usher/services/store"
)

// counted counts what goes to whoever asks.
type counted struct {
	net.Conn
	sent *atomic.Int64
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// falseServer listens where a PostgreSQL should, and has each connection answered.
func falseServer(t *testing.T, answer func(net.Conn)) (dsn string, sent *atomic.Int64) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	sent = new(atomic.Int64)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				heard(conn)
				answer(counted{conn, sent})
			}()
		}
	}()
	return "postgres://usher:hunter2@" + l.Addr().String() + "/usher", sent
}

// heard reads what was asked.
func heard(r io.Reader) { _, _ = r.Read(make([]byte, 4096)) }

// message is one of the protocol, with the length that it should have.
func message(kind byte, body string) []byte {
	m := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4)) //nolint:gosec // short ones
	return append(m, body...)
}

// forever writes the same until nobody takes it.
func forever(w io.Writer, text []byte) {
	for len(text) < 64<<10 {
		text = append(text, text...)
	}
	for {
		if _, err := w.Write(text); err != nil {
			return
		}
	}
}

// loggedIn lets somebody in, and waits for the first statement.
func loggedIn(c net.Conn) {
	_, _ = c.Write(append(message('R', "\x00\x00\x00\x00"), message('Z', "I")...))
	heard(c)
}

// TestInspectOfWhatIsNoPostgreSQL has servers that send without end, or against the
// protocol: what is read is bounded, and so is what is said of it.
func TestInspectOfWhatIsNoPostgreSQL(t *testing.T) {
	t.Parallel()
	const unbounded = "a message of two GiB"
	for name, c := range map[string]struct {
		answer  func(net.Conn)
		endless bool
	}{
		"an error without an end": {func(c net.Conn) {
			_, _ = c.Write([]byte("E\xff\xff\xff\xff"))
			forever(c, []byte("never again "))
		}, true},
		unbounded: {func(c net.Conn) {
			_, _ = c.Write([]byte("R\x7f\xff\xff\xff"))
			forever(c, []byte{0})
		}, true},
		"parameters without an end": {func(c net.Conn) { forever(c, message('S', "a\x00b\x00")) }, true},
		"notices without an end":    {func(c net.Conn) { forever(c, message('N', "Mhear\x00\x00")) }, true},
		"rows without an end": {func(c net.Conn) {
			loggedIn(c)
			_, _ = c.Write(message('T', "\x00\x01n\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x17\x00\x04\xff\xff\xff\xff\x00\x00"))
			forever(c, message('D', "\x00\x01\x00\x00\x00\x011"))
		}, true},
		"a length below that of itself": {func(c net.Conn) { _, _ = c.Write([]byte("R\x00\x00\x00\x00")) }, false},
		"a row that ends too soon": {func(c net.Conn) {
			loggedIn(c)
			_, _ = c.Write(message('T', "\x7f\xff"))
		}, false},
		"another protocol": {func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, false},
		"nothing":          {func(net.Conn) {}, false},
	} {
		t.Run(name, func(t *testing.T) { // one by one: each has three seconds, on a busy machine too
			dsn, sent := falseServer(t, c.answer)
			i := inspect(t, store.Options{DSN: dsn})
			_, err := i.Ping(t.Context())
			tooMuch := errors.Is(err, store.ErrTooMuch)
			if name == unbounded { // a busy machine may take all the time for the room that the driver makes
				tooMuch = tooMuch || errors.Is(err, os.ErrDeadlineExceeded)
			}
			if err == nil || tooMuch != c.endless || len(err.Error()) > 2000 || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("Ping = %.2000v, want that it sends too much: %v", err, c.endless)
			}
			if _, err := i.PostgreSQL(t.Context()); err == nil {
				t.Error("PostgreSQL = nil")
			}
			if hosts := i.Hosts(t.Context()); hosts[0].Err == nil || len(hosts[0].Err.Error()) > 2000 {
				t.Errorf("Hosts = %.2000v", hosts[0].Err)
			}
			// Besides what was read there is what the system keeps for each connection.
			if n := sent.Load(); n > 100<<20 {
				t.Errorf("it has sent %d bytes", n)
			}
		})
	}
}
