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
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/usher-auth/usher/events"
)

// Worker handles the events of one durable consumer. [New] makes it, [On] gives
// it handlers, [Worker.Run] lets it work.
type Worker struct {
	settings
	handlers  map[string]handler
	any       handler // of the types that have none of their own
	timeout   time.Duration
	grace     time.Duration
	nakDelay  time.Duration
	await     bool
	doubleAck bool
	observe   func(Attempt)
	register  prometheus.Registerer
	tracer    trace.Tracer
	metrics   *metrics
	health    health
	survived  survived
}

// settings are what workers of both kinds have.
type settings struct {
	name        string
	version     string
	conn        *nats.Conn
	log         *slog.Logger
	concurrency int
}

// defaults are the settings of a worker without options.
func defaults(name string) settings {
	return settings{name: name, version: "0.0.0", log: slog.Default(), concurrency: 8}
}

type handler func(ctx context.Context, e events.Event, attempt int) error

// Option changes how a worker works.
type Option interface{ worker(w *Worker) }

// AnswerOption changes how a worker of either kind works. The other options are
// of how events are handled, and [Answer] does not take them.
type AnswerOption interface {
	Option
	either(s *settings)
}

type workerOption func(*Worker)

func (o workerOption) worker(w *Worker) { o(w) }

type eitherOption func(*settings)

func (o eitherOption) worker(w *Worker)   { o(&w.settings) }
func (o eitherOption) either(s *settings) { o(s) }

// Concurrency is how many events, or questions, are handled at the same time; 8
// without it. What is handled beside an event that kills the program has no
// outcome either: five times, and it is a dead letter too, with the reason crash,
// to be redelivered. With 1 only the killer is.
func Concurrency(n int) AnswerOption {
	return eitherOption(func(s *settings) { s.concurrency = n })
}

// Timeout is how long a handler has for one event before its context ends; a
// minute without it. A handler that does not end then either counts as failed
// two seconds later and keeps its place until it ends.
func Timeout(d time.Duration) Option { return workerOption(func(w *Worker) { w.timeout = d }) }

// Grace is how long handlers may go on after Run was told to end, before their
// context ends too; 20 seconds without it.
func Grace(d time.Duration) Option { return workerOption(func(w *Worker) { w.grace = d }) }

// Version is what discovery shows of this program, a semantic version; 0.0.0
// without it.
func Version(v string) AnswerOption {
	return eitherOption(func(s *settings) { s.version = v })
}

// WithConn uses a connection that stays the caller's, instead of one by the
// environment.
func WithConn(nc *nats.Conn) AnswerOption {
	return eitherOption(func(s *settings) { s.conn = nc })
}

// AwaitConsumer waits for a durable consumer that does not exist (yet, or any
// more), instead of ending with an error.
func AwaitConsumer() Option { return workerOption(func(w *Worker) { w.await = true }) }

// DoubleAck waits until the bus has confirmed each ack. It costs a round trip
// and makes repetitions rarer; it does not exclude them.
func DoubleAck() Option { return workerOption(func(w *Worker) { w.doubleAck = true }) }

// Observe is told of each attempt, from the goroutine that made it.
func Observe(f func(Attempt)) Option { return workerOption(func(w *Worker) { w.observe = f }) }

// Metrics registers the worker's metrics, all named usher_worker_…, with r when
// it runs. Without it they are served by [Worker.Handler] alone.
func Metrics(r prometheus.Registerer) Option { return workerOption(func(w *Worker) { w.register = r }) }

// Traces records a span for each attempt at an event: the first of a trace, with a link
// to what the event is from, and with nothing of the event but its id and type. It
// records nothing of events that are not traced themselves. A handler finds the span in
// its context, with or without this the trace of the event: what it asks others is part
// of it.
func Traces(p trace.TracerProvider) Option {
	return workerOption(func(w *Worker) { w.tracer = p.Tracer("github.com/usher-auth/usher/workers") })
}

// Logger takes the worker's log lines; [slog.Default] without it.
func Logger(l *slog.Logger) AnswerOption {
	return eitherOption(func(s *settings) { s.log = l })
}

// New makes a worker that binds to the durable consumer of the same name.
func New(name string, opts ...Option) *Worker {
	w := &Worker{
		settings: defaults(name),
		handlers: map[string]handler{},
		timeout:  time.Minute,
		grace:    20 * time.Second,
		nakDelay: 30 * time.Second,
	}
	for _, o := range opts {
		o.worker(w)
	}
	w.log = w.log.With("worker", name)
	w.metrics = newMetrics(name)
	return w
}

// Event is an event with its decoded data.
type Event[P events.Payload] struct {
	events.Event
	Data P
	// Attempt counts the attempts at this event by this worker, from 1. A delivery
	// that nobody has answered, because a program died, does not count.
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
			return &undecodable{"its data is not that of " + eventType, err}
		}
		return handle(ctx, Event[P]{Event: e, Data: data, Attempt: attempt})
	}
}

// OnAny handles the events of all types that have no handler of their own. The
// event's Encode gives it as it was published. OnAny panics if it is called twice.
func OnAny(w *Worker, handle func(context.Context, events.Event) error) {
	if w.any != nil {
		panic("workers: " + w.name + " handles all other types twice")
	}
	w.any = func(ctx context.Context, e events.Event, _ int) error { return handle(ctx, e) }
}

// handlerOf gives the handler of an event type, or nil.
func (w *Worker) handlerOf(eventType string) handler {
	if h, ok := w.handlers[eventType]; ok {
		return h
	}
	return w.any
}

var validVersion = regexp.MustCompile(`^\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$`)

// check says what is wrong with what both kinds of workers have.
func (s *settings) check() error {
	if err := events.CheckName(s.name); err != nil {
		return err
	}
	if !validVersion.MatchString(s.version) {
		return fmt.Errorf("version is %q, want a semantic one as in 1.2.3", s.version)
	}
	if s.concurrency < 1 {
		return fmt.Errorf("concurrency is %d, want 1 or more", s.concurrency)
	}
	return nil
}

// check says what was forgotten or is wrong.
func (w *Worker) check() error {
	if err := w.settings.check(); err != nil {
		return err
	}
	switch {
	case len(w.handlers) == 0 && w.any == nil:
		return errors.New("handles no event: give it a handler with On or OnAny")
	case w.timeout <= 0:
		return fmt.Errorf("timeout is %s, want more than none", w.timeout)
	}
	return nil
}
