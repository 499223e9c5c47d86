package events

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ackTime is how long an acknowledgement is waited for: a lost one would hold
// its place in the window for ever.
const ackTime = 5 * time.Second

// Message is an event on its way to the stream.
type Message struct {
	// ID is the event's. Publishing it again within the stream's duplicate
	// window stores nothing.
	ID          string
	Type        string // "identity.created"
	TraceParent string
	Payload     []byte // canonical JSON of the event
}

// Ack says where the stream holds a message, or why it does not.
type Ack struct {
	StreamSeq uint64
	Err       error
}

// Publisher publishes events to the stream. It is safe for concurrent use;
// [NewPublisher] makes it.
type Publisher struct{ js jetstream.JetStream }

// NewPublisher makes the publisher of a connection; one per connection is enough.
func NewPublisher(nc *nats.Conn) (*Publisher, error) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncTimeout(ackTime))
	if err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	return &Publisher{js: js}, nil
}

// Publish publishes messages in their order without waiting in between, then
// waits for all acknowledgements or the end of ctx. The answer has one Ack for
// each message. One without error is stored, now or by an earlier Publish; one
// with an error may be stored all the same, and is published again safely.
func (p *Publisher) Publish(ctx context.Context, messages []Message) []Ack {
	acks := make([]Ack, len(messages))
	futures := make([]jetstream.PubAckFuture, len(messages))
	for n, m := range messages {
		futures[n], acks[n].Err = p.js.PublishMsgAsync(m.msg(), jetstream.WithExpectStream(Stream))
	}
	for n, f := range futures {
		if f == nil {
			continue
		}
		select {
		case ack := <-f.Ok():
			acks[n].StreamSeq = ack.Sequence
		case acks[n].Err = <-f.Err():
		case <-ctx.Done():
			acks[n].Err = ctx.Err()
		}
	}
	for n, m := range messages {
		if acks[n].Err != nil {
			acks[n].Err = fmt.Errorf("publish %s %s: %w", m.Type, m.ID, acks[n].Err)
		}
	}
	return acks
}

func (m Message) msg() *nats.Msg {
	header := nats.Header{
		jetstream.MsgIDHeader: {m.ID},
		headerContentType:     {contentTypeEvent},
	}
	if m.TraceParent != "" {
		header[HeaderTraceParent] = []string{m.TraceParent}
	}
	return &nats.Msg{Subject: Subject(m.Type), Header: header, Data: m.Payload}
}
