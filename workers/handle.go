package workers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
)

// maxDeliveries is how often an event is tried whose deliveries have no outcome:
// whatever it does to the program, it does it no more often.
const maxDeliveries = 5

// job is one delivery that is being handled.
type job struct {
	*run
	Attempt
	msg     jetstream.Msg
	seq     uint64 // in the stream, 0 if unknown
	started time.Time
	alive   *pulse
	// taken says that the outcome is decided, settled that the bus was told.
	taken   atomic.Bool
	settled chan struct{}
}

// handle makes one attempt at one message and settles it. One that takes too
// long is settled as failed, and returns when its handler does.
func (r *run) handle(ctx context.Context, msg jetstream.Msg, beat time.Duration) {
	if eventID(msg) == "" {
		r.discard(ctx, msg)
		return
	}
	r.metrics.running.Inc()
	defer r.metrics.running.Dec()
	j := &job{run: r, msg: msg, started: time.Now(), settled: make(chan struct{})}
	outcome, err := Outcome(""), j.open()
	if j.expired() {
		outcome, err = Skipped, nil
	}
	traced, span := r.trace(ctx, &j.Attempt)
	defer func() { endSpan(span, err) }()
	j.alive = keepAlive(msg, beat, r.timeout+lastWords, func() {
		if j.taken.CompareAndSwap(false, true) {
			j.settle(ctx, "", &late{r.timeout})
			r.giveUp(1) // Run may end with it
		}
	})
	if err == nil && outcome == "" {
		outcome, err = r.attempt(traced, &j.Event, j.Number, func(ctx context.Context, id string) (events.IdentityGetReply, error) {
			return r.identity(ctx, r.nc, id)
		})
	}
	if j.taken.CompareAndSwap(false, true) {
		j.settle(ctx, outcome, err)
		return
	}
	<-j.settled
	r.giveUp(-1)
	r.log.WarnContext(ctx, "a handler that was given up has ended", "event_id", j.Event.ID, "took", time.Since(j.started), "err", err)
}

// eventID is what a message says of its event, "" if it is none: all that Usher
// publishes say it, whatever else is in the stream does not.
func eventID(msg jetstream.Msg) string {
	return cmp.Or(msg.Headers().Get(events.HeaderEventID), msg.Headers().Get(jetstream.MsgIDHeader))
}

// discard acks what is no event. Nobody could send it again, so that it is no
// dead letter either.
func (r *run) discard(ctx context.Context, msg jetstream.Msg) {
	r.metrics.strange.Inc()
	attrs := []any{"subject", msg.Subject()}
	if meta, err := msg.Metadata(); err == nil {
		attrs = append(attrs, "stream_seq", meta.Sequence.Stream)
	}
	if err := msg.Ack(); err != nil {
		attrs = append(attrs, "err", err)
	}
	r.log.WarnContext(ctx, "a message without an event id is no event, passed over", attrs...)
}

// open reads the message. An error is why it is not for a handler.
func (j *job) open() (err error) {
	j.Attempt = Attempt{Worker: j.name, Number: 1, Deliveries: 1}
	if n, err := strconv.Atoi(j.msg.Headers().Get(events.HeaderAttempt)); err == nil && n > 0 {
		j.Number = n
	}
	if meta, err := j.msg.Metadata(); err == nil {
		j.Deliveries, j.seq = int(meta.NumDelivered), meta.Sequence.Stream
	}
	j.Event, err = decode(j.msg.Data())
	if j.Deliveries > maxDeliveries && !j.survived.has(j.seq) {
		return &crashed{j.Deliveries}
	}
	return err
}

// expired tells whether the message is of a check that nobody waits for any more.
func (j *job) expired() bool {
	until, err := strconv.ParseInt(j.msg.Headers().Get(events.HeaderDeadline), 10, 64)
	return err == nil && time.Now().UnixMilli() > until
}

func decode(data []byte) (events.Event, error) {
	e, err := events.Decode(data)
	if err == nil && (e.ID == "" || e.Type == "") {
		err = errors.New("it has no id or no type")
	}
	if err != nil {
		return events.Event{}, &undecodable{"it is no event", err}
	}
	return e, nil
}

// asker gives an identity by its id.
type asker func(ctx context.Context, id string) (events.IdentityGetReply, error)

// attempt calls the handler of an event.
func (w *Worker) attempt(ctx context.Context, e *events.Event, number int, ask asker) (Outcome, error) {
	h := w.handlerOf(e.Type)
	if h == nil {
		return Skipped, nil
	}
	over := &late{w.timeout}
	ctx, cancel := context.WithTimeoutCause(ctx, w.timeout, over)
	defer cancel()
	err := w.call(context.WithValue(ctx, deliveryKey{}, &delivery{w.name, e, ask, number}), h, *e, number)
	if errors.Is(err, context.DeadlineExceeded) && errors.Is(context.Cause(ctx), over) {
		err = fmt.Errorf("%w: %w", over, err)
	}
	return Done, err
}

// call turns a panic of h into an error. Its stack stays in the log.
func (w *Worker) call(ctx context.Context, h handler, e events.Event, attempt int) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicked{p}
			w.log.ErrorContext(ctx, "handler panicked", "event_id", e.ID, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	return h(ctx, e, attempt)
}

// tell writes the attempt's line and tells the observers.
func (w *Worker) tell(ctx context.Context, a Attempt) {
	w.metrics.observe(a)
	if w.observe != nil {
		defer w.observe(a)
	}
	level := slog.LevelDebug
	switch a.Outcome {
	case Done, Skipped:
	case Retry, Unreported:
		level = slog.LevelWarn
	case Dead:
		level = slog.LevelError
	}
	if !w.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("event_id", a.Event.ID), slog.String("event_type", a.Event.Type),
		slog.String("request_id", a.Event.RequestID), slog.String("traceparent", a.Event.TraceParent),
		slog.Int("attempt", a.Number), slog.String("outcome", string(a.Outcome)), slog.Duration("took", a.Took),
	}
	if a.Deliveries > 1 {
		attrs = append(attrs, slog.Int("deliveries", a.Deliveries))
	}
	if a.Next > 0 {
		attrs = append(attrs, slog.Duration("next", a.Next))
	}
	if a.Err != nil {
		attrs = append(attrs, slog.Any("err", a.Err))
	}
	w.log.LogAttrs(ctx, level, "attempt", attrs...)
}
