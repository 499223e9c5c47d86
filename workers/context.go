package workers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
)

// Why [Identity] gives none.
var (
	// ErrGone says that the person has been deleted: mostly, nothing is left to do
	// for the event.
	ErrGone = errors.New("the person has been deleted")
	// ErrUnavailable says that nobody has answered, or not with an identity. The
	// handler returns it, so that the event comes again.
	ErrUnavailable = errors.New("the identity is not to be had now")
)

// delivery is what a handler's context knows of its event.
type delivery struct {
	worker string
	event  *events.Event
	ask    asker
	number int
}

type deliveryKey struct{}

func deliveryOf(ctx context.Context) *delivery {
	if d, ok := ctx.Value(deliveryKey{}).(*delivery); ok {
		return d
	}
	return &delivery{event: &events.Event{}}
}

// EventID is the ID of the event that is being handled: the same in each of
// its deliveries, to all workers. It is empty outside of a handler.
func EventID(ctx context.Context) string { return deliveryOf(ctx).event.ID }

// IdempotencyKey names what this worker does for this event, for systems that
// do nothing twice under one key: "<worker>:<event id>". It is empty outside
// of a handler.
func IdempotencyKey(ctx context.Context) string {
	d := deliveryOf(ctx)
	if d.worker == "" {
		return ""
	}
	return d.worker + ":" + d.event.ID
}

// AttemptNumber counts the attempts at the event by this worker, from 1, as
// [Event.Attempt] does. It is 0 outside of a handler.
func AttemptNumber(ctx context.Context) int { return deliveryOf(ctx).number }

// Checked tells whether the event that is being handled is one of "usher worker
// check": the handler does nothing then that somebody outside would feel. The
// person whom the event is about does not exist.
func Checked(ctx context.Context) bool { return deliveryOf(ctx).event.Source == events.SourceCheck }

// Sequence is the place of the event among those of its identity, from 1. An
// event with a smaller one than a handler has seen is older, and was overtaken.
// It is 0 where there is none: outside of a handler, and for events that are
// about no identity.
func Sequence(ctx context.Context) uint64 {
	n, err := strconv.ParseUint(deliveryOf(ctx).event.Sequence, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Identity gives the identity that the event is about as it is now, with the
// traits that the worker's declaration lists. It asks each time that it is
// called. An error is [ErrGone] or [ErrUnavailable], or [Permanent] for an event
// about nobody.
func Identity(ctx context.Context) (events.IdentityGetReply, error) {
	d := deliveryOf(ctx)
	if d.ask == nil {
		return events.IdentityGetReply{}, fmt.Errorf("%w: this is no context of a handler", ErrUnavailable)
	}
	if d.event.Subject == "" {
		return events.IdentityGetReply{}, Permanent(fmt.Errorf("%s is about no identity", d.event.Type))
	}
	return d.ask(ctx, d.event.Subject)
}

// askTimeout is how long an answer is waited for.
const askTimeout = 5 * time.Second

// identity asks for an identity on the bus.
func (w *Worker) identity(ctx context.Context, nc *nats.Conn, id string) (events.IdentityGetReply, error) {
	var found events.IdentityGetReply
	request, err := json.Marshal(events.IdentityGet{IdentityID: id})
	if err != nil {
		return found, err
	}
	data, err := events.Ask(ctx, nc, events.SubjectIdentityGet(w.name), w.name+":"+EventID(ctx), time.Now().Add(askTimeout), request)
	if errors.Is(err, &events.Refused{Code: events.CodeGone}) {
		return found, fmt.Errorf("identity %s: %w", id, ErrGone)
	}
	if err == nil {
		err = json.Unmarshal(data, &found)
	}
	if err != nil {
		return events.IdentityGetReply{}, fmt.Errorf("identity %s: %w: %w", id, ErrUnavailable, w.explain(err))
	}
	return found, nil
}

// explain adds the command that mends it to an error about a missing right.
func (w *Worker) explain(err error) error {
	if errors.Is(err, events.ErrNoRight) {
		return fmt.Errorf("%w; to mend it: %s", err, events.Mend(w.name))
	}
	return err
}
