package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/usher-auth/usher/events"
)

// publishWindow publishes the oldest rows and moves those that the stream has
// stored. An error is the store's, or errLost; the rows are then published again.
func (r *run) publishWindow(ctx context.Context) (Stats, error) {
	select {
	case <-r.Kick: // what it announced is read now
	default:
	}
	rows, err := r.Store.Pending(ctx, r.window)
	if err != nil {
		return Stats{}, fmt.Errorf("read outbox: %w", err)
	}
	a := r.publish(ctx, rows)
	r.refused = a.refused
	s := Stats{Waiting: len(rows), Err: a.err, trouble: a.trouble}
	if len(a.stored) == 0 {
		return s, nil
	}
	if errors.Is(context.Cause(ctx), errLost) {
		return s, errLost // whoever leads now finds the rows where they are
	}
	finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
	defer cancel()
	if err := r.Store.Move(finish, a.stored); err != nil {
		return s, fmt.Errorf("move %d events into the log: %w", len(a.stored), err)
	}
	s.Published, s.Waiting = len(a.stored), len(rows)-len(a.stored)
	return s, nil
}

// attempt is what became of the rows of a window.
type attempt struct {
	stored  []Published    // in the order of the outbox
	refused map[int64]bool // rows that the stream refuses although it stores others
	trouble trouble
	err     error // the first
}

// togetherFrom is how many events are worth an atomic batch, which costs the
// stream as much time as four single ones on a slow disk, fifteen on a fast one,
// and as much CPU as two dozen. Where single ones take long, windows grow, and
// are worth a batch.
const togetherFrom = 16

// publish publishes rows together or, where they are few or that fails, round by round, each with at most one event of an
// identity: the next one is sent when the stream has the former, so that a lost
// message cannot make two change places.
func (r *run) publish(ctx context.Context, rows []Row) attempt {
	a := attempt{refused: map[int64]bool{}}
	if len(rows) >= togetherFrom && ctx.Err() == nil {
		if acks, err := r.sendTogether(ctx, rows); err == nil {
			a.take(rows, acks, r.refused)
			return a
		}
	}
	for len(rows) > 0 && ctx.Err() == nil {
		round, rest := split(rows)
		held := a.take(round, r.send(ctx, round), r.refused)
		rows = slices.DeleteFunc(rest, func(row Row) bool { return held[row.IdentityID] })
	}
	slices.SortFunc(a.stored, func(x, y Published) int { return cmp.Compare(x.ID, y.ID) })
	return a
}

// take adds what the stream answered to a round. It gives the identities whose
// later events must wait.
func (a *attempt) take(round []Row, acks []events.Ack, known map[int64]bool) (held map[string]bool) {
	held = map[string]bool{}
	var failed []int64
	for n, ack := range acks {
		row := round[n]
		if ack.Err == nil {
			a.stored = append(a.stored, Published{Row: row, StreamSeq: ack.StreamSeq})
			continue
		}
		if a.err == nil {
			a.err = ack.Err
		}
		failed = append(failed, row.ID)
		held[row.IdentityID] = true
	}
	stores := len(failed) < len(round)
	for _, id := range failed {
		// What fails alone may do so because the stream is away, but not when
		// others are stored beside it, now or at a former try.
		if !stores && !known[id] {
			a.trouble = streamTrouble
			continue
		}
		a.refused[id] = true
		a.trouble = cmp.Or(a.trouble, refusedTrouble)
	}
	return held
}

// split gives the first row of each identity, with all rows of none, and the rest.
func split(rows []Row) (round, rest []Row) {
	seen := make(map[string]bool, len(rows))
	for _, row := range rows {
		if row.IdentityID != "" && seen[row.IdentityID] {
			rest = append(rest, row)
			continue
		}
		seen[row.IdentityID] = true
		round = append(round, row)
	}
	return round, rest
}

// send publishes one round. It does not end with ctx: what is under way is
// waited for, or it would be under way once more.
func (r *run) send(ctx context.Context, round []Row) []events.Ack {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
	defer cancel()
	messages, began := messagesOf(round), time.Now()
	acks := r.Publisher.Publish(ctx, messages)
	r.record(ctx, messages, acks, began)
	return acks
}

func (r *run) sendTogether(ctx context.Context, rows []Row) ([]events.Ack, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
	defer cancel()
	messages, began := messagesOf(rows), time.Now()
	acks, err := r.Publisher.PublishTogether(ctx, messages)
	r.record(ctx, messages, acks, began)
	return acks, err
}

// record records how the traced ones of the messages were published. Those that the
// stream did not store are sent again, and recorded then.
func (r *run) record(ctx context.Context, messages []events.Message, acks []events.Ack, began time.Time) {
	if r.Tracer == nil {
		return
	}
	for n, ack := range acks {
		m := messages[n]
		from := events.WithTraceParent(ctx, m.TraceParent)
		if ack.Err != nil || !trace.SpanContextFromContext(from).IsSampled() {
			continue
		}
		_, span := r.Tracer.Start(from, "publish "+m.Type, trace.WithSpanKind(trace.SpanKindProducer), trace.WithTimestamp(began),
			trace.WithAttributes(attribute.String("messaging.message.id", m.ID)))
		span.End()
	}
}

func messagesOf(rows []Row) []events.Message {
	messages := make([]events.Message, len(rows))
	for n, row := range rows {
		e, _ := events.Decode(row.Payload) // what cannot be read has no trace
		messages[n] = events.Message{ID: row.EventID, Type: row.Type, TraceParent: e.TraceParent, Payload: row.Payload}
	}
	return messages
}
