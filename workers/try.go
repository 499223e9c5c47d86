package workers

import (
	"context"
	"errors"
	"time"

	"github.com/usher-auth/usher/events"
)

// Delivery is one delivery of a message that was not taken from the bus.
type Delivery struct {
	// Message is an event as it is published.
	Message []byte
	// Attempt and Deliveries count as those of [Attempt]; 0 means 1.
	Attempt, Deliveries int
	// Identity answers what the handler asks by [Identity]; nil: nobody does.
	Identity func(ctx context.Context, id string) (events.IdentityGetReply, error)
}

// Try makes one attempt without the bus and gives what would become of it, as if
// the report of a failure were taken: Next is what the handler asked for, or 0
// for the ladder. It is for tests; package workertest has more for them.
func (w *Worker) Try(ctx context.Context, d Delivery) Attempt {
	a := Attempt{Worker: w.name, Number: max(d.Attempt, 1), Deliveries: max(d.Deliveries, 1)}
	var err error
	a.Event, err = decode(d.Message)
	if a.Deliveries > maxDeliveries {
		err = &crashed{a.Deliveries}
	}
	started := time.Now()
	if err == nil {
		a.Outcome, err = w.within(ctx, &a, d.Identity)
	}
	a.Err, a.Took = err, time.Since(started)
	if err != nil {
		a.Report = report(err, a.Number)
		a.Report.EventID = a.Event.ID
		a.Outcome, a.Next = Retry, time.Duration(a.Report.After*float64(time.Second))
		if a.Report.Permanent {
			a.Outcome = Dead
		}
	}
	w.tell(ctx, a)
	return a
}

// within is attempt, given up as on the bus when the handler does not end.
func (w *Worker) within(ctx context.Context, a *Attempt, ask asker) (Outcome, error) {
	if ask == nil {
		ask = func(context.Context, string) (events.IdentityGetReply, error) {
			return events.IdentityGetReply{}, errors.Join(ErrUnavailable, events.ErrNoWorker)
		}
	}
	type result struct {
		outcome Outcome
		err     error
	}
	ended := make(chan result, 1)
	e, number := a.Event, a.Number
	ctx, span := w.trace(ctx, a)
	go func() {
		outcome, err := w.attempt(ctx, &e, number, ask)
		endSpan(span, err)
		ended <- result{outcome, err}
	}()
	select {
	case r := <-ended:
		return r.outcome, r.err
	case <-time.After(w.timeout + lastWords):
		return "", &late{w.timeout}
	}
}
