package workers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
)

// Worker handles the events of one durable consumer. [New] makes it, [On] gives
// it handlers, [Worker.Run] lets it work.
type Worker struct {
	name        string
	handlers    map[string]handler
	concurrency int
	grace       time.Duration
	conn        *nats.Conn
	await       bool
	doubleAck   bool
	observe     func(Attempt)
	log         *slog.Logger
}

type handler func(ctx context.Context, e events.Event, attempt int) error

// Option changes how a worker works.
type Option func(*Worker)

// Concurrency is how many events are handled at the same time; 8 without it.
func Concurrency(n int) Option { return func(w *Worker) { w.concurrency = n } }

// Grace is how long handlers may go on after Run was told to end, before their
// context ends too; 20 seconds without it.
func Grace(d time.Duration) Option { return func(w *Worker) { w.grace = d } }

// WithConn uses a connection that stays the caller's, instead of one by the
// environment.
func WithConn(nc *nats.Conn) Option { return func(w *Worker) { w.conn = nc } }

// AwaitConsumer waits for a durable consumer that does not exist (yet, or any
// more), instead of ending with an error.
func AwaitConsumer() Option { return func(w *Worker) { w.await = true } }

// DoubleAck waits until the bus has confirmed each ack. It costs a round trip
// and makes repetitions rarer; it does not exclude them.
func DoubleAck() Option { return func(w *Worker) { w.doubleAck = true } }

// Observe is told of each attempt, from the goroutine that made it.
func Observe(f func(Attempt)) Option { return func(w *Worker) { w.observe = f } }

// Logger takes the worker's log lines; [slog.Default] without it.
func Logger(l *slog.Logger) Option { return func(w *Worker) { w.log = l } }

// New makes a worker that binds to the durable consumer of the same name.
func New(name string, opts ...Option) *Worker {
	w := &Worker{
		name:        name,
		handlers:    map[string]handler{},
		concurrency: 8,
		grace:       20 * time.Second,
		log:         slog.Default(),
	}
	for _, o := range opts {
		o(w)
	}
	w.log = w.log.With("worker", name)
	return w
}

// Event is an event with its decoded data.
type Event[P events.Payload] struct {
	events.Event
	Data P
	// Attempt counts the deliveries of this event to this worker, from 1.
	Attempt int
}

// On handles the events of P's type. Members of the data that P does not know
// are ignored. On panics if w handles that type already.
func On[P events.Payload](w *Worker, handle func(context.Context, Event[P]) error) {
	var p P
	eventType := p.EventType()
	if _, ok := w.handlers[eventType]; ok {
		panic("workers: " + w.name + " handles " + eventType + " twice")
	}
	w.handlers[eventType] = func(ctx context.Context, e events.Event, attempt int) error {
		var data P
		if err := json.Unmarshal(e.Data, &data); err != nil {
			return Permanent(fmt.Errorf("decode data: %w", err))
		}
		return handle(ctx, Event[P]{Event: e, Data: data, Attempt: attempt})
	}
}

var validName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// check says what was forgotten or is wrong.
func (w *Worker) check() error {
	switch {
	case len(w.name) > 64 || !validName.MatchString(w.name):
		return errors.New("a name has up to 64 lower-case letters, digits and single hyphens")
	case len(w.handlers) == 0:
		return errors.New("handles no event: give it a handler with On")
	case w.concurrency < 1:
		return fmt.Errorf("concurrency is %d, want 1 or more", w.concurrency)
	}
	return nil
}
