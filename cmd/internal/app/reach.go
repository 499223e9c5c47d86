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
	// reachEvery is how often a process looks whether it reaches the database, and
	// reachTime what that may take before it asks who else does.
	reachEvery = 250 * time.Millisecond
	reachTime  = 300 * time.Millisecond
	// reachHolds is how long what was seen or heard is believed.
	reachHolds = 750 * time.Millisecond
)

var errAlone = errors.New("others reach the database, this process does not")

// reach tells whether the database is away for this process alone. Then a balancer
// does well to send people to the others; when it is away for all, taking them all
// out would leave nobody to say when to come again.
//
//	my look fails ─▶ "who reaches it?" ─▶ whose last look did not fail: "I do" ─▶ I am alone
//
// Who does not reach it never says "I do", so that no two send each other away.
type reach struct {
	instance string
	look     func(context.Context) error
	send     func(message []byte) error

	mu     sync.Mutex
	here   bool      // whether the last look succeeded
	looked time.Time // when that was
	others time.Time // when another said last that it reaches it
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
	r := &reach{
		instance: uuid.NewString(), look: lookout.Look,
		send: func(message []byte) error { return p.events.Publish(events.SubjectDatabase, message) },
	}
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

// run looks until ctx ends.
func (r *reach) run(ctx context.Context) error {
	for ctx.Err() == nil {
		looked := make(chan error, 1)
		go func() { looked <- r.look(ctx) }()
		for waiting := true; waiting; {
			select { // a look that is given up would cost a connection
			case err := <-looked:
				r.see(err)
				waiting = false
			case <-time.After(reachTime):
				r.see(context.DeadlineExceeded)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(reachEvery):
		}
	}
	return nil
}

// see takes what a look has found.
func (r *reach) see(err error) {
	r.mu.Lock()
	r.here, r.looked = err == nil, time.Now()
	r.mu.Unlock()
	if err != nil {
		r.say(false)
	}
}

// hear takes what another process says; what is no message of this kind is nothing.
func (r *reach) hear(message []byte) {
	var m reaching
	if json.Unmarshal(message, &m) != nil || m.Instance == "" || m.Instance == r.instance {
		return
	}
	r.mu.Lock()
	if m.Reaches {
		r.others = time.Now()
	}
	answer := !m.Reaches && r.here && time.Since(r.looked) < reachHolds
	r.mu.Unlock()
	if answer {
		r.say(true)
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
