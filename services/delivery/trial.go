package delivery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// trial is events that were given to a worker, and what it did with them.
type trial struct {
	*Checks
	hook string
	// sent holds the events by their place in the stream, acked the deliveries of
	// those that the worker has acked; 0 where they are not known.
	sent  map[uint64]uuid.UUID
	acked map[uint64]int

	began    time.Time
	took     time.Duration
	idle     int // looks in a row at which nobody pulled
	absent   bool
	consumer Consumer // as it was at the last look
	// reports are by place in the stream.
	reports map[uint64]string
}

// ackOf is one ack.
type ackOf struct {
	seq        uint64
	deliveries int
}

// run publishes events and waits until the worker has acked all, ctx ends, or
// nobody is there. The number keeps the same events of two runs apart.
func (t *trial) run(ctx context.Context, deadline time.Time, number int, set []checkEvent) error {
	acks := make(chan ackOf, 2*MaxCheckBacklog)
	stop, err := t.Bus.Acks(func(hook string, seq uint64, deliveries int) {
		if hook != t.hook {
			return
		}
		select {
		case acks <- ackOf{seq, deliveries}:
		default: // it is found out
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	for _, e := range set {
		if _, err := t.Reports.SaveFailure(ctx, nil, expected(t.hook, e.id, t.Now())); err != nil {
			return err
		}
	}
	t.began = t.Now()
	for _, e := range set {
		id := e.id.String()
		seq, err := t.Bus.PublishRetry(ctx, Retry{
			Hook: t.hook, EventID: id, Attempt: 1, Deadline: deadline, Payload: e.body,
			MessageID: t.hook + "/" + id + "/check." + strconv.Itoa(number),
		})
		if err != nil {
			return err
		}
		t.sent[seq] = e.id
	}
	if err := t.wait(ctx, acks); err != nil {
		return err
	}
	t.took = t.Now().Sub(t.began)
	ctx, cancel := finishing(ctx)
	defer cancel()
	return t.collect(ctx)
}

// wait returns once all is acked, or nothing more is to be expected.
func (t *trial) wait(ctx context.Context, acks <-chan ackOf) error {
	tick := time.NewTicker(checkLook)
	defer tick.Stop()
	for len(t.acked) < len(t.sent) && !t.absent {
		select {
		case <-ctx.Done():
			return nil
		case a := <-acks:
			if _, ours := t.sent[a.seq]; ours {
				t.acked[a.seq] = a.deliveries
			}
		case <-tick.C:
			if err := t.look(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
	return nil
}

// look asks the bus what the acks did not tell: which were lost, and whether
// anybody pulls.
func (t *trial) look(ctx context.Context) error {
	consumers, err := t.Bus.Consumers(ctx)
	if err != nil {
		return err
	}
	var ok bool
	if t.consumer, ok = consumers[t.hook]; !ok {
		return fmt.Errorf("worker %q: %w", t.hook, ErrNoHook)
	}
	for seq := range t.sent {
		if _, known := t.acked[seq]; !known && seq <= t.consumer.AckFloor {
			t.acked[seq] = 0
		}
	}
	t.idle++
	if t.consumer.Waiting > 0 || t.consumer.AckPending > 0 {
		t.idle = 0
	}
	t.absent = t.idle >= absentLooks
	return nil
}

// collect takes the reports, and away. What the worker has in its hands it may
// report later: that stays, and is swept like what was discarded.
func (t *trial) collect(ctx context.Context) error {
	t.reports = map[uint64]string{}
	for seq, id := range t.sent {
		f, err := t.Reports.Failure(ctx, t.hook, id)
		if errors.Is(err, ErrNoFailure) {
			continue
		}
		if err != nil {
			return err
		}
		if f.Attempts > 0 {
			t.reports[seq] = f.Reason
		}
		if _, settled := t.acked[seq]; !settled && seq <= t.consumer.Delivered {
			continue
		}
		if err := t.Reports.DeleteFailure(ctx, t.hook, id); err != nil {
			return err
		}
	}
	return nil
}

// judge adds what the worker did, and what it is worth.
func (t *trial) judge(c *Checked) {
	c.Took += t.took
	c.Events, c.Settled = c.Events+len(t.sent), c.Settled+len(t.acked)
	for _, deliveries := range t.acked {
		c.Deliveries = max(c.Deliveries, deliveries)
	}
	c.Verdict, c.Note = CheckOK, ""
	permanent := false
	for _, seq := range slices.Sorted(maps.Keys(t.reports)) {
		c.Reason, permanent = splitReason(t.reports[seq])
		break
	}
	reported := len(t.reports) > 0
	switch {
	case t.absent:
		c.Verdict, c.Note = CheckAbsent, "nobody takes events: the worker does not run, or its credential is not good"
	case len(t.acked) < len(t.sent) && reported:
		c.Verdict, c.Note = CheckTimeout, "it has reported a failure and not acked it then"
	case len(t.acked) < len(t.sent):
		c.Verdict, c.Note = CheckTimeout, t.unsettled()
	case c.Case == CheckNoJSON && !reported:
		c.Verdict, c.Note = CheckFailed, "it has acked what it cannot read: nobody would know"
	case c.Case == CheckNoJSON || c.Case == CheckIncomplete && reported:
		if !permanent {
			c.Note = "it is not reported as permanent, so it would come again by the ladder"
		}
	case c.Case == CheckUnknown && reported:
		c.Verdict, c.Note = CheckFailed, "an event of a type that it does not handle is done"
	case reported:
		c.Verdict, c.Note = CheckFailed, fmt.Sprintf("it has failed at %d of %d", len(t.reports), len(t.sent))
	case c.Case == CheckAgain && c.Events > 1:
		c.Note = "see that it has done it once"
	}
	if c.Verdict == CheckOK && c.Deliveries > 1 {
		c.Verdict = CheckFailed
		c.Note = fmt.Sprintf("it needed %d deliveries: it has nak'ed, or %s passed without +WPI", c.Deliveries, ackWait)
	}
	if c.Verdict == CheckOK && c.Note == "" && t.took > ackWait && len(t.sent) == 1 {
		c.Note = "it takes long and says so in time (+WPI)"
	}
}

// ackWait is how long a worker has until it answers or says that it is still at it.
const ackWait = 30 * time.Second

// unsettled says why something was not settled in time.
func (t *trial) unsettled() string {
	for seq := range t.sent {
		if _, known := t.acked[seq]; !known && t.consumer.Delivered < seq {
			return fmt.Sprintf("not all was delivered: %d wait, and %d are in work", t.consumer.Pending, t.consumer.AckPending)
		}
	}
	return "it was delivered, and neither acked nor reported"
}
