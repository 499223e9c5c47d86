// Package relay publishes what was committed: it reads the outbox in order,
// publishes to the stream, and moves what was acknowledged into the event log.
//
//	outbox ─ Pending ─▶ Publish (acknowledged) ─▶ Move: event_log + hash chain, outbox row gone
//
// Whatever fails in between leaves rows in the outbox, which are published
// again: the stream knows them by their event's id and stores each once.
package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/usher-auth/usher/events"
)

// Row is an event that waits in the outbox.
type Row struct {
	ID         int64
	EventID    string
	Type       string
	IdentityID string // empty where there is none
	Payload    []byte // canonical JSON of the event
	CreatedAt  time.Time
}

// Published is a row that the stream has stored.
type Published struct {
	Row
	StreamSeq uint64
}

// Store is the outbox and the event log.
type Store interface {
	// Pending gives the oldest rows in order.
	Pending(ctx context.Context, limit int) ([]Row, error)
	// Move puts rows into the event log, in their order, and out of the outbox,
	// in one transaction. It fails when another relay moved rows meanwhile.
	Move(ctx context.Context, rows []Published) error
}

// Publisher publishes to the stream, see [events.Publisher].
type Publisher interface {
	// Publish gives one Ack for each message, in their order.
	Publish(ctx context.Context, messages []events.Message) []events.Ack
	// PublishTogether stores all messages in their order, or fails.
	PublishTogether(ctx context.Context, messages []events.Message) ([]events.Ack, error)
}

// Relay publishes events while it leads, in the order of the outbox for each
// identity. Of several relays one leads; should two by accident, one of them
// fails to move its rows and steps down.
//
// An event that the stream refuses for good stays in the outbox, since a
// committed event is never dropped. It is logged, takes one place in each
// window, and holds back the later events of its identity, nobody else's.
type Relay struct {
	Store     Store
	Publisher Publisher
	// Lead waits until this process is the only one that leads. What it leads
	// is over when lost is closed; release gives the lead to another.
	Lead func(ctx context.Context) (release func(), lost <-chan struct{}, err error)
	Log  *slog.Logger
	// Kick wakes the relay after a commit; room for one kick is enough. A kick
	// that is lost costs time, nothing else. Nil leaves it to the poll.
	Kick <-chan struct{}
	// Poll is how long the relay sleeps without a kick; 0 means a second. It is
	// also the longest pause between two tries while something is broken.
	Poll time.Duration
	// Window is how many events are read, published and moved together; 0 means 256.
	Window int
	// Gather is how far apart the beginnings of two windows are at least, so that
	// events share one. It grows with the square of what the last window held,
	// doubled at four events, up to twelve times: few events are not kept waiting,
	// many take few windows. An event that comes alone waits for nobody.
	Gather time.Duration
	// Tracer records a span for each event that the stream has stored, a child of what
	// made the event; nil is none.
	Tracer trace.Tracer
	// Observe is told of each window; nil means nobody is.
	Observe func(Stats)
}

// Stats is how one window went.
type Stats struct {
	// Published events are in the stream and in the event log. Waiting were read
	// but stay in the outbox.
	Published, Waiting int
	// Err says why events wait, nil if they only wait for the next window.
	Err  error
	Took time.Duration
	// Stalled is for how long the stream has stored nothing of what waits.
	Stalled time.Duration
	trouble trouble
}

const (
	usualPoll   = time.Second
	usualWindow = 256
	// finishTime bounds each step of a window whose relay was told to end.
	finishTime = 10 * time.Second
)

var errLost = errors.New("the lead was lost")

// Run publishes until ctx ends, and then returns nil when the window that it
// is at is finished. Nothing else ends it: a store or a stream that is away is
// waited for.
func (r *Relay) Run(ctx context.Context) error {
	run := &run{Relay: r, poll: r.Poll, window: r.Window}
	if run.poll <= 0 {
		run.poll = usualPoll
	}
	if run.window <= 0 {
		run.window = usualWindow
	}
	run.pause = run.firstPause()
	for ctx.Err() == nil {
		if err := run.lead(ctx); err != nil && ctx.Err() == nil {
			run.report(ctx, Stats{Err: err, trouble: storeTrouble})
			run.rest(ctx)
		}
	}
	return nil
}

// run is one Run of a relay.
type run struct {
	*Relay
	poll   time.Duration
	window int
	pause  time.Duration // before the next try
	// refused are the rows that the stream refused although it stores others.
	refused map[int64]bool
	told    told
}

// lead publishes for as long as this relay leads. It gives the lead back with
// an error when the store fails or has seen another relay.
func (r *run) lead(ctx context.Context) error {
	release, lost, err := r.Lead(ctx)
	if err != nil {
		return fmt.Errorf("lead: %w", err)
	}
	defer release()
	ctx, stop := until(ctx, lost)
	defer stop()
	for ctx.Err() == nil {
		began := time.Now()
		s, err := r.publishWindow(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case err != nil:
			continue // what is lost or at its end cannot be expected to work
		}
		s.Took = time.Since(began)
		r.report(ctx, s)
		if s.trouble == streamTrouble {
			r.rest(ctx)
			continue
		}
		r.pause = r.firstPause()
		if s.Published+s.Waiting < r.window { // else there may be more
			r.wait(ctx, began.Add(r.gather(s.Published)))
		}
	}
	return errLost
}

// until gives ctx so that it ends too, by errLost, when lost is closed.
func until(ctx context.Context, lost <-chan struct{}) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-lost:
			cancel(errLost)
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel(nil)
		watch.Wait()
	}
}

// wait returns when there may be something to publish: after a kick or a poll,
// but not before the given time.
func (r *run) wait(ctx context.Context, until time.Time) {
	poll := time.NewTimer(r.poll)
	defer poll.Stop()
	select {
	case <-r.Kick:
		sleep(ctx, time.Until(until))
	case <-poll.C:
	case <-ctx.Done():
	}
}

// gather is how far apart a window of so many events and the next one begin.
func (r *run) gather(published int) time.Duration {
	return min(r.Gather+time.Duration(published*published)*r.Gather/16, 12*r.Gather)
}

// rest waits before the next try, longer each time; kicks do not shorten it.
func (r *run) rest(ctx context.Context) {
	sleep(ctx, r.pause)
	r.pause = min(2*r.pause, r.poll)
}

func (r *run) firstPause() time.Duration { return r.poll / 16 }

func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
