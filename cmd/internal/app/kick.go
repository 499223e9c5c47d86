package app

import (
	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
)

// wake wakes the relay after a commit that has an event: the one of this process, and where
// another process leads also that one.
func (p *process) wake() {
	p.wakeRelay()
	switch {
	case p.leading.Load():
	case p.events != nil:
		kick(p.events)
	case p.kicker != nil:
		kick(p.kicker)
	}
}

func (p *process) wakeRelay() {
	select {
	case p.kicks <- struct{}{}:
	default: // it is awake
	}
}

// kick wakes the relay by the bus. One that is lost is made up for by the relay's poll.
func kick(nc *nats.Conn) { _ = nc.Publish(events.SubjectOutboxKick, nil) }
