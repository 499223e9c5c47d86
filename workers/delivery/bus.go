package delivery

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
)

// Bus is the service's way to the stream and to the durable consumers of hooks:
// its Publisher and its Consumers. [NewBus] makes it.
type Bus struct {
	nc        *nats.Conn
	publisher *events.Publisher
}

// NewBus makes the bus of a connection of [events.UserDelivery].
func NewBus(nc *nats.Conn) (*Bus, error) {
	publisher, err := events.NewPublisher(nc)
	if err != nil {
		return nil, err
	}
	return &Bus{nc: nc, publisher: publisher}, nil
}

// PublishRetry is that of [delivery.Publisher].
func (b *Bus) PublishRetry(ctx context.Context, r delivery.Retry) (uint64, error) {
	return b.publisher.PublishRetry(ctx, r)
}

// Acks is that of [delivery.CheckBus].
func (b *Bus) Acks(acked func(hook string, streamSeq uint64, deliveries int)) (stop func(), err error) {
	samples, err := events.AckSamples(b.nc, acked)
	if err != nil {
		return nil, err
	}
	return func() { _ = samples.Unsubscribe() }, b.nc.Flush()
}

// Consumers is that of [delivery.Consumers].
func (b *Bus) Consumers(ctx context.Context) (map[string]delivery.Consumer, error) {
	durables, err := events.Durables(ctx, b.nc)
	if err != nil {
		return nil, err
	}
	all := make(map[string]delivery.Consumer, len(durables))
	for _, d := range durables {
		all[d.Name] = d
	}
	return all, nil
}

// Pause is that of [delivery.Consumers].
func (b *Bus) Pause(ctx context.Context, hook string, until time.Time) error {
	return events.PauseDurable(ctx, b.nc, hook, until)
}
