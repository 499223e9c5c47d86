package workers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
)

const (
	// pullWait is how long one pull waits for events, and so what the end of an
	// idle worker takes: a pull is never given up while an event may be under way.
	pullWait = 500 * time.Millisecond
	// infoTimeout bounds one look for the durable consumer.
	infoTimeout = 2 * time.Second
	// brokenPause is between a pull that broke and the next look for the consumer.
	brokenPause = time.Second
	// lastWords is how long handlers have once their context has ended.
	lastWords = 2 * time.Second
	// flushTimeout bounds the sending of the last acks, ackTimeout that of a double ack.
	flushTimeout = 2 * time.Second
	ackTimeout   = 2 * time.Second
)

// errStuck ends Run so that whatever runs the program starts it again.
var errStuck = errors.New("every place is taken by a handler that ignores the end of its context")

// errNotDeclared says that the bus has no durable consumer of the worker's name.
var errNotDeclared = errors.New("it was never declared, or is removed")

// run is one Run of a worker.
type run struct {
	*Worker
	nc      *nats.Conn
	js      jetstream.JetStream
	slots   slots
	running sync.WaitGroup
	// givenUp counts handlers that ignore the end of their context; lost is closed
	// once no other is left.
	givenUp atomic.Int32
	lose    sync.Once
	lost    chan struct{}
	former  error // of the connection, which was dealt with
}

// giveUp counts one handler more, or less, that ignores the end of its context.
func (r *run) giveUp(n int32) {
	if int(r.givenUp.Add(n)) == r.concurrency {
		r.lose.Do(func() { close(r.lost) })
	}
}

// Run handles events until ctx ends, then finishes those that are being
// handled and returns nil. Without [WithConn] it connects to NATS_URL with the
// credential in the file NATS_CREDS. A bus that is away is waited for; an
// error means that waiting does not help: the worker was removed, it has no
// right, or none of its handlers ends.
func (w *Worker) Run(ctx context.Context) error {
	err := w.check()
	if err == nil {
		err = w.metrics.registerWith(w.register)
	}
	if err == nil {
		err = w.connected(ctx, w.run)
	}
	w.health.set(errors.New("it does not run"))
	if err != nil {
		return fmt.Errorf("worker %q: %w", w.name, err)
	}
	return nil
}

// run is Run with a connection.
func (w *Worker) run(ctx context.Context, nc *nats.Conn) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	// Handlers outlive ctx by the grace.
	handling, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	r := &run{Worker: w, nc: nc, js: js, slots: make(slots, w.concurrency), lost: make(chan struct{}), former: nc.LastError()}
	defer r.announce()()
	return errors.Join(r.work(ctx, handling), r.drain(cancel))
}

// work binds and pulls until ctx ends or neither makes sense any more.
func (r *run) work(ctx, handling context.Context) error {
	for {
		consumer, err := r.bind(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to end: whatever failed then is no matter
		}
		if err != nil {
			return err
		}
		r.health.set(nil)
		r.log.InfoContext(ctx, "takes events", "bus", busOf(r.nc), "waiting", consumer.CachedInfo().NumPending)
		err = r.pull(ctx, handling, consumer)
		if err == nil || errors.Is(err, errStuck) {
			return err
		}
		r.health.set(err)
		r.log.WarnContext(ctx, "pull broke, look for the consumer again", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(brokenPause):
		}
	}
}

// busOf is where a connection leads, for the log. One inside this process has no address
// of its own: the client would name the one that it takes for want of another.
func busOf(nc *nats.Conn) string {
	if nc.Opts.InProcessServer != nil {
		return "in process"
	}
	return nc.ConnectedUrlRedacted()
}

// bind finds the durable consumer, waiting for what can come by itself.
func (r *run) bind(ctx context.Context) (jetstream.Consumer, error) {
	pauses := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMaxInterval(5*time.Second),
		backoff.WithMaxElapsedTime(0),
	)
	return backoff.RetryNotifyWithData(func() (jetstream.Consumer, error) { return r.find(ctx) },
		backoff.WithContext(pauses, ctx),
		func(err error, next time.Duration) {
			r.health.set(err)
			if r.await && errors.Is(err, errNotDeclared) {
				r.log.InfoContext(ctx, "wait for the durable consumer, which is not made yet", "next", next) // as at a first start
				return
			}
			r.log.InfoContext(ctx, "wait for the durable consumer", "err", err, "next", next)
		})
}

// find looks once; errors that waiting does not mend are backoff's permanent ones.
func (r *run) find(ctx context.Context) (jetstream.Consumer, error) {
	limited, cancel := context.WithTimeout(ctx, infoTimeout)
	defer cancel()
	consumer, err := r.js.Consumer(limited, events.Stream, r.name)
	switch {
	case err == nil:
		return consumer, nil
	case errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
		err = fmt.Errorf("stream %s has no durable consumer %q: %w; \"usher worker list\" shows which there are", events.Stream, r.name, errNotDeclared)
		if r.await {
			return nil, err
		}
		return nil, backoff.Permanent(err)
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, jetstream.ErrNotPullConsumer),
		errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return nil, backoff.Permanent(err)
	}
	if denied := r.denied(); denied != nil {
		return nil, backoff.Permanent(denied)
	}
	return nil, fmt.Errorf("look for the durable consumer: %w", err)
}

// denied gives the violation of permissions that the bus has reported about this
// worker's consumer since it was asked last. The bus does not answer what is not permitted, so that it
// looks like silence otherwise.
func (r *run) denied() error {
	err := events.ErrorSince(r.nc, r.former)
	if err == nil {
		return nil
	}
	r.former = err
	if line, ok := events.Explain(r.name, err); ok && errors.Is(err, nats.ErrPermissionViolation) && r.concerns(err.Error()) {
		return errors.New(line)
	}
	return nil
}

// concerns tells whether a violation of permissions names this worker's
// requests, acks or inbox.
func (r *run) concerns(violation string) bool {
	consumer := events.Stream + "." + r.name
	return strings.Contains(violation, consumer+`"`) || strings.Contains(violation, consumer+".") ||
		strings.Contains(violation, `Subscription to "`+r.inbox()+".")
}

// inbox is where the connection gets its replies.
func (r *run) inbox() string {
	return cmp.Or(r.nc.Opts.InboxPrefix, strings.TrimSuffix(nats.InboxPrefix, "."))
}

// pull gives events to handlers until ctx ends, which is nil, or a pull breaks.
func (r *run) pull(ctx, handling context.Context, consumer jetstream.Consumer) error {
	beat := consumer.CachedInfo().Config.AckWait / 3
	for ctx.Err() == nil {
		free := r.slots.take(ctx, r.lost)
		select {
		case <-r.lost:
			r.slots.give(free)
			return errStuck
		default:
		}
		used, err := r.batch(handling, consumer, free, beat)
		r.slots.give(free - used)
		if err != nil {
			return err
		}
	}
	return nil
}

// batch pulls up to free events and starts a handler for each that came.
func (r *run) batch(handling context.Context, consumer jetstream.Consumer, free int, beat time.Duration) (used int, err error) {
	if free == 0 {
		return 0, nil
	}
	if !r.nc.IsConnected() {
		return 0, nats.ErrDisconnected // a pull would be sent on reconnect, when nobody waits for it
	}
	fetched, err := consumer.Fetch(free, jetstream.FetchMaxWait(pullWait))
	if err != nil {
		return 0, err
	}
	for msg := range fetched.Messages() {
		used++
		r.running.Go(func() {
			defer r.slots.give(1)
			r.handle(handling, msg, beat)
		})
	}
	return used, errors.Join(fetched.Error(), r.denied())
}

// drain waits for the handlers, and for their acks to be sent.
func (r *run) drain(cancel context.CancelFunc) error {
	finished := make(chan struct{})
	go func() {
		r.running.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-r.lost: // nothing to wait for
	case <-time.After(r.grace):
		cancel()
		select {
		case <-finished:
		case <-time.After(lastWords):
			return errors.New("a handler ignores the end of its context")
		}
	}
	if err := r.nc.FlushTimeout(flushTimeout); err != nil {
		r.log.Warn("the last acks may be lost, their events come again", "err", err)
	}
	return nil
}

// slots are what handlers run in: as many as may run at the same time.
type slots chan struct{}

// take waits for a free slot and takes all that are free; none when ctx ends or
// none will be free.
func (s slots) take(ctx context.Context, lost <-chan struct{}) int {
	select {
	case <-ctx.Done():
		return 0
	case <-lost:
		return 0
	case s <- struct{}{}:
	}
	for n := 1; ; n++ {
		select {
		case s <- struct{}{}:
		default:
			return n
		}
	}
}

// give returns n slots.
func (s slots) give(n int) {
	for range n {
		<-s
	}
}
