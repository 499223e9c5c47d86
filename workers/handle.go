package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
)

// handle makes one attempt at one message and settles it.
func (r *run) handle(ctx context.Context, msg jetstream.Msg, beat time.Duration) {
	a := Attempt{Worker: r.name, Number: 1}
	if meta, err := msg.Metadata(); err == nil {
		a.Number = int(meta.NumDelivered)
	}
	started := time.Now()
	alive := keepAlive(msg, beat)
	a.Err = r.attempt(ctx, msg, &a)
	alive.stop()
	a.Took = time.Since(started)

	unsettled := r.settle(ctx, msg, &a)
	r.report(ctx, a)
	if unsettled != nil {
		r.log.WarnContext(ctx, "the event comes again", "event_id", a.Event.ID, "err", unsettled)
	}
}

// attempt calls the handler of the event in msg.
func (r *run) attempt(ctx context.Context, msg jetstream.Msg, a *Attempt) error {
	e, err := events.Decode(msg.Data())
	if err == nil && (e.ID == "" || e.Type == "") {
		err = errors.New("it has no id or no type")
	}
	if err != nil {
		return Permanent(fmt.Errorf("decode event: %w", err))
	}
	a.Event = e
	h, ok := r.handlers[e.Type]
	if !ok {
		a.Outcome = Skipped
		return nil
	}
	return r.call(context.WithValue(ctx, deliveryKey{}, delivery{r.name, e.ID}), h, e, a.Number)
}

// call turns a panic of h into an error. Its stack stays in the log.
func (r *run) call(ctx context.Context, h handler, e events.Event, attempt int) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			r.log.ErrorContext(ctx, "handler panicked", "event_id", e.ID, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	return h(ctx, e, attempt)
}

// settle tells the bus what became of msg, and a what was told.
func (r *run) settle(ctx context.Context, msg jetstream.Msg, a *Attempt) error {
	var final *permanent
	switch {
	case a.Err == nil:
		if a.Outcome == "" {
			a.Outcome = Done
		}
		if !r.doubleAck {
			return msg.Ack()
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
		defer cancel()
		return msg.DoubleAck(ctx)
	case errors.As(a.Err, &final):
		a.Outcome = Abandoned
		return msg.TermWithReason("permanent error, see the worker's log")
	default:
		a.Outcome, a.Next = Retry, wait(a.Err, a.Number)
		return msg.NakWithDelay(a.Next)
	}
}

// report writes the attempt's line and tells the observer.
func (r *run) report(ctx context.Context, a Attempt) {
	level := slog.LevelDebug
	switch a.Outcome {
	case Done, Skipped:
	case Retry:
		level = slog.LevelWarn
	case Abandoned:
		level = slog.LevelError
	}
	attrs := []slog.Attr{
		slog.String("event_id", a.Event.ID), slog.String("event_type", a.Event.Type),
		slog.String("request_id", a.Event.RequestID), slog.String("traceparent", a.Event.TraceParent),
		slog.Int("attempt", a.Number), slog.String("outcome", string(a.Outcome)), slog.Duration("took", a.Took),
	}
	if a.Outcome == Retry {
		attrs = append(attrs, slog.Duration("next", a.Next))
	}
	if a.Err != nil {
		attrs = append(attrs, slog.Any("err", a.Err))
	}
	r.log.LogAttrs(ctx, level, "attempt", attrs...)
	if r.observe != nil {
		r.observe(a)
	}
}

// pulse tells the bus that a message is being worked on, so that it is not
// delivered to somebody else meanwhile.
type pulse struct {
	msg   jetstream.Msg
	every time.Duration

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

func keepAlive(msg jetstream.Msg, every time.Duration) *pulse {
	p := &pulse{msg: msg, every: every}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(every, p.beat)
	return p
}

func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	_ = p.msg.InProgress() // lost: the next one, or another delivery
	p.timer.Reset(p.every)
}

// stop returns once no beat can follow: one behind a nak would undo its delay.
func (p *pulse) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.timer.Stop()
}
