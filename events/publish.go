package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
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
type Publisher struct {
	nc *nats.Conn
	js jetstream.JetStream
}

// NewPublisher makes the publisher of a connection; one per connection is enough.
func NewPublisher(nc *nats.Conn) (*Publisher, error) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncTimeout(ackTime))
	if err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	return &Publisher{nc: nc, js: js}, nil
}

// PublishTogether publishes messages as one atomic batch (ADR-50): the stream
// stores all of them behind each other, in their order, or none. After an error
// they may be stored all the same. A batch that holds a message which the stream
// knows already is refused; [Publisher.Publish] finds those.
//
// With sync always the stream waits for the disk about three times for a batch,
// whatever its size, and makes and removes a folder for it.
func (p *Publisher) PublishTogether(ctx context.Context, messages []Message) ([]Ack, error) {
	ctx, cancel := context.WithTimeout(ctx, ackTime)
	defer cancel()
	id := nuid.Next()
	last := len(messages) - 1
	for n, m := range messages {
		msg := m.msg()
		msg.Header.Set(jetstream.ExpectedStreamHeader, Stream)
		msg.Header.Set("Nats-Batch-Id", id)
		msg.Header.Set("Nats-Batch-Sequence", strconv.Itoa(n+1))
		if n < last {
			if err := p.nc.PublishMsg(msg); err != nil {
				return nil, err
			}
			continue
		}
		msg.Header.Set("Nats-Batch-Commit", "1")
		reply, err := p.nc.RequestMsgWithContext(ctx, msg)
		if err != nil {
			return nil, err
		}
		return batchAcks(reply.Data, len(messages))
	}
	return nil, nil
}

// batchAcks reads the answer to a batch: the place of its last message.
func batchAcks(reply []byte, n int) ([]Ack, error) {
	var ack struct {
		Error    *jetstream.APIError `json:"error"`
		Sequence uint64              `json:"seq"`
		Count    int                 `json:"count"`
	}
	if err := json.Unmarshal(reply, &ack); err != nil {
		return nil, err
	}
	if ack.Error != nil {
		return nil, ack.Error
	}
	if ack.Count != n || ack.Sequence < uint64(n) {
		return nil, fmt.Errorf("batch of %d: the stream stored %d", n, ack.Count)
	}
	acks := make([]Ack, n)
	for i := range acks {
		acks[i].StreamSeq = ack.Sequence - uint64(n-1-i)
	}
	return acks, nil
}

// Publish publishes messages without waiting in between, and then for all
// acknowledgements or the end of ctx. The answer has one Ack for each message.
// One without error is stored, now or by an earlier Publish; one with an error
// may be stored all the same, and is published again safely. Messages that must
// not change places do not belong into one Publish: one of them can be lost.
// With sync always the stream waits for the disk once for each message.
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

// IsFull tells whether err says that the stream has reached a limit of its size, or
// its servers that of their stores. It takes events again when the limit is raised,
// or older events end. A restart of the bus helps only where [IsStoreFull], and not always.
func IsFull(err error) bool {
	var refused *jetstream.APIError
	return IsStoreFull(err) || errors.As(err, &refused) && strings.Contains(refused.Description, "maximum bytes exceeded")
}

// IsStoreFull tells whether err says that the servers have stored as much as they may. A
// server that is not told how much chooses that at its start, by what its disk has free then.
func IsStoreFull(err error) bool {
	const storeFull = 10023
	var refused *jetstream.APIError
	return errors.As(err, &refused) && refused.ErrorCode == storeFull
}

// Retry is an event on its way to one hook alone.
type Retry struct {
	Hook, EventID string
	// MessageID is the retry's own: that of the event is known to the stream.
	MessageID string
	Attempt   int // from 1
	// Deadline is when it is of no use to anybody any more, which only a check has.
	Deadline time.Time
	// Payload is the event's canonical JSON. That of a check need not be an event.
	Payload []byte
}

// PublishRetry returns once the stream has stored r, with its place there.
// Publishing the same message id again within the stream's duplicate window
// stores nothing and gives the same place.
func (p *Publisher) PublishRetry(ctx context.Context, r Retry) (streamSeq uint64, err error) {
	if err := CheckName(r.Hook); err != nil {
		return 0, fmt.Errorf("publish retry: %w", err)
	}
	msg := Message{ID: r.MessageID, Payload: r.Payload}.msg()
	msg.Subject = RetrySubject(r.Hook)
	msg.Header.Set(HeaderEventID, r.EventID)
	msg.Header.Set(HeaderAttempt, strconv.Itoa(r.Attempt))
	if !r.Deadline.IsZero() {
		msg.Header.Set(HeaderDeadline, strconv.FormatInt(r.Deadline.UnixMilli(), 10))
	}
	ctx, cancel := context.WithTimeout(ctx, ackTime)
	defer cancel()
	ack, err := p.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(Stream))
	if err != nil {
		return 0, fmt.Errorf("publish retry of %s: %w", r.EventID, err)
	}
	return ack.Sequence, nil
}

func (m Message) msg() *nats.Msg {
	header := nats.Header{
		jetstream.MsgIDHeader: {m.ID},
		headerContentType:     {ContentType},
	}
	if m.TraceParent != "" {
		header[HeaderTraceParent] = []string{m.TraceParent}
	}
	return &nats.Msg{Subject: Subject(m.Type), Header: header, Data: m.Payload}
}
