package e2e_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// link is a TCP proxy in front of one address: a cable that a test may cut,
// make long, or have swallow what it carries.
type link struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	state linkState
	delay time.Duration
	open  map[net.Conn]bool
	heal  chan struct{} // closed when what is swallowed may pass again
}

type linkState int

const (
	sound      linkState = iota
	cut                  // connections are reset, and new ones too
	swallowing           // nothing comes through, and nobody is told: a host that vanished
)

// newLink is a link to an address, whole at first.
func newLink(t testing.TB, target string) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &link{listener: l, target: target, open: map[net.Conn]bool{}, heal: make(chan struct{})}
	close(k.heal)
	go k.accept()
	t.Cleanup(func() { l.Close(); k.set(cut, 0) })
	return k
}

// address is where the link begins.
func (k *link) address() string { return k.listener.Addr().String() }

// set says what the link does from now on. A cut one has no connections left.
// What was swallowed comes through when it is whole again, as after a partition
// in which both sides kept sending.
func (k *link) set(s linkState, delay time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state == swallowing && s != swallowing {
		close(k.heal)
	}
	if k.state != swallowing && s == swallowing {
		k.heal = make(chan struct{})
	}
	k.state, k.delay = s, delay
	if s == cut {
		for c := range k.open {
			reset(c)
		}
	}
}

// reset closes a connection so that the other end is told at once.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func (k *link) now() (linkState, time.Duration, chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state, k.delay, k.heal
}

func (k *link) accept() {
	for {
		in, err := k.listener.Accept()
		if err != nil {
			return
		}
		if state, _, _ := k.now(); state == cut {
			reset(in)
			continue
		}
		go k.carry(in)
	}
}

// carry connects one end with the other until either ends.
func (k *link) carry(in net.Conn) {
	_, _, heal := k.now()
	<-heal
	out, err := net.Dial("tcp", k.target)
	if err != nil {
		reset(in)
		return
	}
	k.mu.Lock()
	if k.state == cut { // since it was accepted
		reset(in)
		reset(out)
	}
	k.open[in], k.open[out] = true, true
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		delete(k.open, in)
		delete(k.open, out)
		k.mu.Unlock()
	}()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() { k.copy(way[0], way[1]) })
	}
	both.Wait()
}

// parcel is what was read at once, and when it may arrive.
type parcel struct {
	data []byte
	due  time.Time
}

// copy carries one direction. Reading does not wait for what is under way: a
// long link has much in it.
func (k *link) copy(from, to net.Conn) {
	defer reset(to)
	way := make(chan parcel, 1024)
	go func() {
		defer close(way)
		for {
			b := make([]byte, 32<<10)
			n, err := from.Read(b)
			if n > 0 {
				_, delay, _ := k.now()
				way <- parcel{b[:n], time.Now().Add(delay)}
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					reset(to)
				}
				return
			}
		}
	}()
	for p := range way {
		time.Sleep(time.Until(p.due))
		_, _, heal := k.now()
		<-heal
		if _, err := to.Write(p.data); err != nil {
			reset(from)
			for range way { // let the reader end
			}
			return
		}
	}
}

// TestLink holds the link itself against what the table of faults needs of it.
func TestLink(t *testing.T) {
	t.Parallel()
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
	}()
	k := newLink(t, echo.Addr().String())
	dial := func() net.Conn {
		c, err := net.Dial("tcp", k.address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	// ask sends a byte and tells how long its echo took.
	ask := func(c net.Conn, patience time.Duration) (time.Duration, error) {
		began := time.Now()
		_ = c.SetDeadline(began.Add(patience))
		if _, err := c.Write([]byte("x")); err != nil {
			return 0, err
		}
		_, err := io.ReadFull(c, make([]byte, 1))
		return time.Since(began), err
	}
	c := dial()
	if _, err := ask(c, 5*time.Second); err != nil {
		t.Fatalf("a whole link: %v", err)
	}
	k.set(sound, 50*time.Millisecond)
	if took, err := ask(c, 5*time.Second); err != nil || took < 100*time.Millisecond {
		t.Errorf("a link of 50 ms each way: %v after %v, want at least 100 ms", err, took)
	}
	k.set(swallowing, 0)
	if _, err := ask(c, 50*time.Millisecond); !isTimeout(err) {
		t.Errorf("a link that swallows: %v, want silence", err)
	}
	k.set(sound, 0)
	if _, err := ask(c, 5*time.Second); err != nil {
		t.Errorf("what was swallowed does not come through: %v", err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil { // the second echo, after that of the swallowed byte
		t.Errorf("what was sent behind it does not come through: %v", err)
	}
	k.set(cut, 0)
	if _, err := ask(c, 5*time.Second); err == nil || isTimeout(err) {
		t.Errorf("a cut link: %v, want a reset at once", err)
	}
	// Where the reset is quick it is the dialing that fails.
	fresh, err := net.DialTimeout("tcp", k.address(), 5*time.Second)
	if err == nil {
		defer fresh.Close()
		_, err = ask(fresh, 5*time.Second)
	}
	if err == nil || isTimeout(err) {
		t.Errorf("a new connection over a cut link: %v, want a reset at once", err)
	}
}

func isTimeout(err error) bool {
	var late net.Error
	return errors.As(err, &late) && late.Timeout()
}
