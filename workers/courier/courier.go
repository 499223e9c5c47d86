// Package courier puts the courier on the bus: the worker that turns events
// into mails, on the durable consumer "courier".
//
//	verification.requested ─▶ courier.Service ─▶ sent, abandoned, nobody ─▶ ack
//	                                          └▶ not taken, not reached  ─▶ reported, comes again
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
	Verification(ctx context.Context, r courier.Request) error
}

// Worker makes the worker that has service send a mail for each
// verification.requested. A mail server that cannot be reached is tried again
// by the worker's ladder.
func Worker(service Courier, options ...workers.Option) *workers.Worker {
	w := workers.New(Name, append([]workers.Option{workers.Timeout(timeout)}, options...)...)
	workers.On(w, func(ctx context.Context, e workers.Event[events.VerificationRequested]) error {
		r, err := request(e)
		if err != nil {
			return workers.Permanent(err)
		}
		return again(service.Verification(ctx, r))
	})
	return w
}

// request reads the ids of an event. Identity and address may be absent.
func request(e workers.Event[events.VerificationRequested]) (courier.Request, error) {
	r := courier.Request{TraceParent: e.TraceParent, RequestID: e.RequestID}
	for _, id := range []struct {
		to         *uuid.UUID
		name, text string
		isOptional bool
	}{
		{&r.EventID, "event id", e.ID, false},
		{&r.FlowID, "flow id", e.Data.FlowID, false},
		{&r.IdentityID, "identity id", e.Data.IdentityID, true},
		{&r.AddressID, "address id", e.Data.AddressID, true},
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
