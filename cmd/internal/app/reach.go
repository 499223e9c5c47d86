package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
)

const (
	// reachEvery is how often a process looks whether it reaches the database.
	reachEvery = 250 * time.Millisecond
	// reachTime is what a look may take: one that takes longer is no success, or a
	// database that is slow for all would have them send each other away in turns.
	reachTime = 300 * time.Millisecond
	// reachHolds is how long what another has said is believed.
	reachHolds = 750 * time.Millisecond
)

var errAlone = errors.New("others reach the database, this process does not")

// reach tells whether the database is away for this process alone. Then a balancer
// does well to send people to the others; when it is away for all, taking them all
// out would leave nobody to say when to come again.
//
//	my look fails ─▶ "who reaches it?" ─▶ whose look, begun since, succeeds: "I do" ─▶ I am alone
//
// What was seen before the question says nothing, and nothing that was said before
// one's own look failed: else all would send each other away when it goes for all.
type reach struct {
	instance string
	look     func(context.Context) error
	send     func(message []byte) error
	wake     chan struct{} // a question wants a look at once; holds one

	mu     sync.Mutex
	here   bool      // whether the last look succeeded
	asked  bool      // whether somebody has asked since the last look was begun
	others time.Time // when another said last that it reaches it, while the look here failed
}

func newReach(instance string, look func(context.Context) error, send func(message []byte) error) *reach {
	return &reach{instance: instance, look: look, send: send, wake: make(chan struct{}, 1)}
}

// reaching is a message of [events.SubjectDatabase]: a question unless Reaches.
type reaching struct {
	Instance string `json:"instance"`
	Reaches  bool   `json:"reaches"`
}

// startReach begins to look, where there may be others.
func (p *process) startReach(ctx context.Context) error {
	if p.store.Embedded() || p.bus.embedded != nil {
		return nil
	}
	lookout := p.store.NewLookout() // a process that is busy is not one that is cut off
	r := newReach(uuid.NewString(), lookout.Look, func(message []byte) error {
		return p.events.Publish(events.SubjectDatabase, message)
	})
	_, err := p.events.Subscribe(events.SubjectDatabase, func(m *nats.Msg) { r.hear(m.Data) })
	if err != nil {
		return fmt.Errorf("subscribe %s: %w", events.SubjectDatabase, err)
	}
	p.reach = r
	p.metrics.cutOff(func() bool { return r.alone(ctx) != nil })
	p.stages.start(ctx, "reach", func(ctx context.Context) error {
		return errors.Join(r.run(ctx), lookout.Close())
	})
	return nil
}

// run looks until ctx ends. A look that takes too long is not given up: that would
// cost a connection each time.
func (r *reach) run(ctx context.Context) error {
	for {
		r.mu.Lock()
		asked := r.asked
		r.asked = false
		r.mu.Unlock()
		began, looked := time.Now(), make(chan error, 1)
		go func() { looked <- r.look(ctx) }()
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return nil
			case err := <-looked:
				if err == nil && time.Since(began) > reachTime {
					err = context.DeadlineExceeded
				}
				r.see(err, asked)
				waiting = false
			case <-time.After(reachTime):
				r.see(context.DeadlineExceeded, asked)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-time.After(reachEvery):
		}
	}
}

// see takes what a look has found, and answers who had asked before it was begun.
func (r *reach) see(err error, asked bool) {
	r.mu.Lock()
	r.here = err == nil
	r.mu.Unlock()
	if err != nil || asked {
		r.say(err == nil)
	}
}

// hear takes what another process says; what is no message of this kind is nothing.
func (r *reach) hear(message []byte) {
	var m reaching
	if json.Unmarshal(message, &m) != nil || m.Instance == "" || m.Instance == r.instance {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !m.Reaches:
		r.asked = true
		if r.here { // else it looks again soon enough, and asks itself
			select {
			case r.wake <- struct{}{}:
			default:
			}
		}
	case !r.here:
		r.others = time.Now()
	}
}

func (r *reach) say(reaches bool) {
	message, _ := json.Marshal(reaching{r.instance, reaches}) // it always can be
	_ = r.send(message)                                       // without a bus nobody else is heard
}

// alone is an error where another process reaches the database and this one does not.
func (r *reach) alone(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.here && time.Since(r.others) < reachHolds {
		return errAlone
	}
	return nil
}
