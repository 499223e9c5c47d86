package workertest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

// Result is what became of an event.
type Result struct {
	// Outcome is [workers.Done], Skipped, Retry or Dead.
	Outcome workers.Outcome
	// After is in what time the handler wants the event again; 0 leaves it to the ladder.
	After time.Duration
	// Err is what the handler returned, or its panic.
	Err error
	// Reason is what operators are shown of Err.
	Reason string
}

// Option changes how an event is delivered.
type Option func(*delivery)

type delivery struct {
	workers.Delivery
	deadline time.Duration
	limited  bool
}

// Attempt makes it the n-th attempt, of an event that failed before.
func Attempt(n int) Option { return func(d *delivery) { d.Attempt = n } }

// Deliveries makes it the n-th delivery of an attempt whose earlier ones had no
// outcome. The handler does not see it: of more than five it gets nothing.
func Deliveries(n int) Option { return func(d *delivery) { d.Deliveries = n } }

// Deadline lets the context of the handler end in at most d; with 0 it has ended.
func Deadline(d time.Duration) Option {
	return func(to *delivery) { to.deadline, to.limited = d, true }
}

// Traits answer [workers.Identity] with an active identity that has these.
func Traits(traits map[string]any) Option {
	return func(d *delivery) {
		d.Identity = func(_ context.Context, id string) (events.IdentityGetReply, error) {
			found := events.IdentityGetReply{IdentityID: id, SchemaID: "default", State: "active", Traits: map[string]json.RawMessage{}}
			for name, value := range traits {
				data, err := json.Marshal(value)
				if err != nil {
					return events.IdentityGetReply{}, fmt.Errorf("trait %s: %w", name, err)
				}
				found.Traits[name] = data
			}
			return found, nil
		}
	}
}

// Gone answers [workers.Identity] with [workers.ErrGone].
func Gone() Option {
	return func(d *delivery) {
		d.Identity = func(context.Context, string) (events.IdentityGetReply, error) {
			return events.IdentityGetReply{}, workers.ErrGone
		}
	}
}

// Run delivers one event to a worker, which need not run.
func Run(ctx context.Context, w *workers.Worker, e events.Event, options ...Option) Result {
	message, err := e.Encode()
	if err != nil {
		panic("workertest: " + e.Type + " cannot be encoded: " + err.Error())
	}
	return RunMessage(ctx, w, message, options...)
}

// RunMessage delivers a message that need not be an event.
func RunMessage(ctx context.Context, w *workers.Worker, message []byte, options ...Option) Result {
	d := delivery{Delivery: workers.Delivery{Message: message}}
	for _, o := range options {
		o(&d)
	}
	if d.limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.deadline)
		defer cancel()
	}
	a := w.Try(ctx, d.Delivery)
	r := Result{Outcome: a.Outcome, After: a.Next, Err: a.Err}
	if a.Report != nil {
		r.Reason = a.Report.Reason
	}
	return r
}

// Redeliver delivers the same event times times, as the bus does when an ack is
// lost. What the handler does for it must be done once.
func Redeliver(ctx context.Context, w *workers.Worker, e events.Event, times int, options ...Option) []Result {
	all := make([]Result, times)
	for n := range all {
		all[n] = Run(ctx, w, e, options...)
	}
	return all
}

// Ask asks an answering worker as it is asked on the bus. An error means that it
// has given no answer.
func Ask(ctx context.Context, a *workers.Answering, q workers.Question) (workers.Reply, error) {
	question, err := json.Marshal(q)
	if err != nil {
		return workers.Reply{}, err
	}
	data, err := a.Try(ctx, question)
	if err != nil {
		return workers.Reply{}, err
	}
	var reply workers.Reply
	err = json.Unmarshal(data, &reply)
	return reply, err
}
