package workers

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// pulse tells the bus that a message is being worked on, so that it is not
// delivered to somebody else meanwhile.
type pulse struct {
	msg   jetstream.Msg
	every time.Duration
	late  func()
	limit time.Time // of late, which is called once

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

// keepAlive beats until stop, and calls late in a goroutine of its own once the
// work takes longer than limit.
func keepAlive(msg jetstream.Msg, every, limit time.Duration, late func()) *pulse {
	p := &pulse{msg: msg, every: every, late: late, limit: time.Now().Add(limit)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(min(every, limit), p.beat)
	return p
}

func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	_ = p.msg.InProgress() // lost: the next one, or another delivery
	next := p.every
	if p.late != nil {
		left := time.Until(p.limit)
		if left <= 0 {
			go p.late()
			p.late = nil
		} else {
			next = min(next, left)
		}
	}
	p.timer.Reset(next)
}

// stop returns once no beat can follow: one behind a nak would undo its delay.
func (p *pulse) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.timer.Stop()
}
