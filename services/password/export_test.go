package password

import (
	"sync/atomic"
	"time"
)

// Gate is an algorithm whose hashes take as long as a test wants.
type Gate struct {
	running atomic.Int64
	delay   atomic.Int64
	open    chan struct{}
}

// NewGate makes a closed gate: hashes wait until it opens.
func NewGate() *Gate { return &Gate{open: make(chan struct{})} }

// Open lets all hashes end, now and later.
func (g *Gate) Open() { close(g.open) }

// Delay makes hashes take d instead of waiting for the gate; 0 ends that.
func (g *Gate) Delay(d time.Duration) { g.delay.Store(int64(d)) }

// Running is how many hashes run now.
func (g *Gate) Running() int { return int(g.running.Load()) }

// MaxLength makes Gate an [Algorithm].
func (*Gate) MaxLength() int { return defaultMaxLength }

func (*Gate) made(string) bool { return true }

func (*Gate) check() error { return nil }

func (g *Gate) hash(string) (string, error) {
	g.running.Add(1)
	defer g.running.Add(-1)
	if d := time.Duration(g.delay.Load()); d > 0 {
		time.Sleep(d)
		return "hash", nil
	}
	<-g.open
	return "hash", nil
}

// IsListed and Listed give the tests the embedded list.
var (
	IsListed = isListed
	Listed   = listed
)
