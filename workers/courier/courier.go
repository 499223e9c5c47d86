// Package courier puts the courier on the bus: the worker that turns events
// into mails, on the durable consumer "courier".
//
//	verification.requested ─▶ courier.Service ─▶ sent, abandoned, nobody ─▶ ack
//	recovery.requested                        └▶ not taken, not reached  ─▶ reported, comes again
package courier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/workers"
)

// Name is the worker's, and its durable consumer's.
const Name = "courier"

// waits are those behind the attempts that a mail server has seen. Servers that
// send new senders away take them after five minutes at the latest, most of them.
var waits = [...]time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 5 * time.Minute}

// timeout is more than a mail server is given: a mail whose answer is not waited
// for may be sent twice.
const timeout = 2 * time.Minute

// Courier writes mails, see [courier.Service].
type Courier interface {
	Write(ctx context.Context, r courier.Request) error
}

// Types are those of the events that it writes a mail for.
func Types() []string {
	return []string{events.VerificationRequested{}.EventType(), events.RecoveryRequested{}.EventType()}
}

// Worker makes the worker that has service send a mail for each event of [Types]. A mail server that cannot be reached is tried again
// by the worker's ladder.
func Worker(service Courier, options ...workers.Option) *workers.Worker {
	w := workers.New(Name, append([]workers.Option{workers.Timeout(timeout)}, options...)...)
	workers.On(w, func(ctx context.Context, e workers.Event[events.VerificationRequested]) error {
		return write(ctx, service, e.Event, e.Data)
	})
	workers.On(w, func(ctx context.Context, e workers.Event[events.RecoveryRequested]) error {
		return write(ctx, service, e.Event, events.VerificationRequested(e.Data))
	})
	return w
}

// write has the mail written that an event asks for, which all do in the same way.
func write(ctx context.Context, service Courier, e events.Event, asks events.VerificationRequested) error {
	r, err := request(e, asks)
	if err != nil {
		return workers.Permanent(err)
	}
	return again(service.Write(ctx, r))
}

// request reads the ids of an event. Identity and address may be absent.
func request(e events.Event, asks events.VerificationRequested) (courier.Request, error) {
	r := courier.Request{TraceParent: e.TraceParent, RequestID: e.RequestID, At: e.Time}
	for _, id := range []struct {
		to         *uuid.UUID
		name, text string
		isOptional bool
	}{
		{&r.EventID, "event id", e.ID, false},
		{&r.FlowID, "flow id", asks.FlowID, false},
		{&r.IdentityID, "identity id", asks.IdentityID, true},
		{&r.AddressID, "address id", asks.AddressID, true},
	} {
		if id.text == "" && id.isOptional {
			continue
		}
		var err error
		if *id.to, err = uuid.Parse(id.text); err != nil {
			return courier.Request{}, fmt.Errorf("%s: %w", id.name, err)
		}
	}
	return r, nil
}

// again waits longer with each attempt that a mail server has seen.
func again(err error) error {
	var deferred *courier.Deferred
	if errors.As(err, &deferred) {
		n := min(max(deferred.Attempts, 1), len(waits))
		return workers.RetryIn(waits[n-1], err)
	}
	return err
}
