package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoDurable says that no durable consumer has that name.
var ErrNoDurable = errors.New("no such durable consumer")

// DurableState is how far a durable consumer is.
type DurableState struct {
	Name      string
	CreatedAt time.Time
	// Pending events wait for their first delivery, AckPending for their ack;
	// Redelivered of these have been delivered before.
	Pending                 uint64
	AckPending, Redelivered int
	// Waiting are requests of workers for events: 0 if no worker runs, or all are busy.
	Waiting int
	// PausedUntil is zero if it is not paused.
	PausedUntil time.Time
	// Delivered and AckFloor are stream sequences: of the last event that was
	// delivered, and up to where all are acked. An ack floor ends before the
	// oldest event without an ack, whatever is behind that.
	Delivered, AckFloor uint64
	// DeliveredAt is when that was, zero if never.
	DeliveredAt time.Time
	// Origin is who has declared it, empty for one that is built in.
	Origin Origin
	// Undeclared is what [MarkUndeclared] has said since it was declared; zero if nothing.
	Undeclared time.Time
}

// Durables gives the state of all durable consumers, in the bus's order. The
// users [UserDelivery] and [UserProvision] may ask.
func Durables(ctx context.Context, nc *nats.Conn) ([]DurableState, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("durable consumers: %w", err)
	}
	stream, err := js.Stream(ctx, Stream)
	if err != nil {
		return nil, fmt.Errorf("durable consumers: %w", err)
	}
	var all []DurableState
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		all = append(all, durableState(info))
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("durable consumers: %w", err)
	}
	return all, nil
}

func durableState(info *jetstream.ConsumerInfo) DurableState {
	s := DurableState{
		Name: info.Name, CreatedAt: info.Created, Pending: info.NumPending,
		AckPending: info.NumAckPending, Redelivered: info.NumRedelivered, Waiting: info.NumWaiting,
		Delivered: info.Delivered.Stream, AckFloor: info.AckFloor.Stream,
	}
	s.Origin = Origin(info.Config.Metadata[metaOrigin])
	if since, err := time.Parse(time.RFC3339, info.Config.Metadata[metaUndeclared]); err == nil {
		s.Undeclared = since
	}
	if info.Delivered.Last != nil {
		s.DeliveredAt = *info.Delivered.Last
	}
	if info.Paused && info.Config.PauseUntil != nil {
		s.PausedUntil = *info.Config.PauseUntil
	}
	return s
}

// PauseDurable stops the deliveries of a durable consumer until a time; what has
// been delivered is acked as usual. A time that is zero or past resumes it. The
// error is [ErrNoDurable] if there is none. The users [UserDelivery] and
// [UserProvision] may do so.
func PauseDurable(ctx context.Context, nc *nats.Conn, name string, until time.Time) error {
	js, err := durable(nc, name)
	if err == nil {
		_, err = js.PauseConsumer(ctx, Stream, name, until)
	}
	if err != nil {
		return fmt.Errorf("pause durable consumer %s: %w", name, noDurable(err))
	}
	return nil
}

// MarkUndeclared writes on a durable consumer since when nobody has declared it,
// until [Provision] declares it again. The user [UserProvision] may do so.
func MarkUndeclared(ctx context.Context, nc *nats.Conn, name string, since time.Time) error {
	js, err := durable(nc, name)
	if err == nil {
		err = markUndeclared(ctx, js, name, since)
	}
	if err != nil {
		return fmt.Errorf("mark durable consumer %s: %w", name, noDurable(err))
	}
	return nil
}

func markUndeclared(ctx context.Context, js jetstream.JetStream, name string, since time.Time) error {
	consumer, err := js.Consumer(ctx, Stream, name)
	if err != nil {
		return err
	}
	config := consumer.CachedInfo().Config
	if config.Metadata == nil {
		config.Metadata = map[string]string{}
	}
	config.Metadata[metaUndeclared] = since.UTC().Format(time.RFC3339)
	_, err = js.UpdateConsumer(ctx, Stream, config)
	return err
}

// RemoveDurable deletes a durable consumer, if it is there: the credential of
// its worker is powerless from then on. The user [UserProvision] may do so.
func RemoveDurable(ctx context.Context, nc *nats.Conn, name string) error {
	js, err := durable(nc, name)
	if err == nil {
		err = js.DeleteConsumer(ctx, Stream, name)
	}
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("remove durable consumer %s: %w", name, err)
	}
	return nil
}

func durable(nc *nats.Conn, name string) (jetstream.JetStream, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	return jetstream.New(nc)
}

func noDurable(err error) error {
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return ErrNoDurable
	}
	return err
}

// ackSample is what the bus says of an ack.
type ackSample struct {
	Type       string `json:"type"`
	Consumer   string `json:"consumer"`
	StreamSeq  uint64 `json:"stream_seq"`
	Deliveries int    `json:"deliveries"`
	// When the bus got the ack, and how long after the delivery, in nanoseconds.
	Timestamp time.Time     `json:"timestamp"`
	AckTime   time.Duration `json:"ack_time"`
}

// ackSampleType tells it from what somebody has the bus send to its subject.
const ackSampleType = "io.nats.jetstream.metric.v1.consumer_ack"

// ackSampleOf reads a sample; false if it is none of the durable in its subject.
func ackSampleOf(subject string, data []byte) (s ackSample, ok bool) {
	durable, ok := strings.CutPrefix(subject, subjectAcks)
	ok = ok && json.Unmarshal(data, &s) == nil && s.Type == ackSampleType && s.Consumer == durable
	return s, ok
}

// AckSamples calls acked for each ack of a worker, whatever its language, until
// the subscription ends: one after another, not always in the order of the acks.
// Deliveries counts those of this message. It is good for watching, not for
// promises: what the bus says while nobody listens is not said again. The user
// [UserDelivery] may listen.
func AckSamples(nc *nats.Conn, acked func(durable string, streamSeq uint64, deliveries int)) (*nats.Subscription, error) {
	sub, err := nc.Subscribe(subjectAcks+"*", func(m *nats.Msg) {
		if s, ok := ackSampleOf(m.Subject, m.Data); ok {
			acked(s.Consumer, s.StreamSeq, s.Deliveries)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listen to acks: %w", err)
	}
	return sub, nil
}

// Acked is an ack as the bus has seen it.
type Acked struct {
	Durable   string
	StreamSeq uint64
	// Deliveries counts those of this message.
	Deliveries int
	At         time.Time
	// Took is from the last delivery to the ack.
	Took time.Duration
}

// ShareAcks is [AckSamples] for several processes: of all that listen this way
// one is told of each ack.
func ShareAcks(nc *nats.Conn, acked func(Acked)) (*nats.Subscription, error) {
	sub, err := nc.QueueSubscribe(subjectAcks+"*", queueAcks, func(m *nats.Msg) {
		if s, ok := ackSampleOf(m.Subject, m.Data); ok {
			acked(Acked{s.Consumer, s.StreamSeq, s.Deliveries, s.Timestamp, s.AckTime})
		}
	})
	if err != nil {
		return nil, fmt.Errorf("share acks: %w", err)
	}
	return sub, nil
}

// queueAcks is the queue group of those that share acks.
const queueAcks = "deliveries"
