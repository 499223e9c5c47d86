package events_test

import (
	"testing"

	"github.com/usher-auth/usher/events"
)

// A batch that holds messages which the stream knows is refused whole; one by
// one each of them is stored once, and each ack says where.
func TestPublishTogether(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	js := b.provision(events.StreamOptions{})
	p, err := events.NewPublisher(b.connect(events.UserAPIEvents))
	if err != nil {
		t.Fatal(err)
	}
	acks, err := p.PublishTogether(t.Context(), messages(1, 20))
	if err != nil || len(acks) != 20 {
		t.Fatalf("PublishTogether: %d acks, %v", len(acks), err)
	}
	for n, a := range acks {
		if a.Err != nil || a.StreamSeq != uint64(n+1) {
			t.Errorf("message %d has stream sequence %d (%v), want %d", n+1, a.StreamSeq, a.Err, n+1)
		}
	}
	if _, err := p.PublishTogether(t.Context(), messages(11, 40)); err == nil {
		t.Error("PublishTogether stored a batch with known messages")
	}
	if got := stored(t, js); got != 20 {
		t.Errorf("the stream holds %d messages after a refused batch, want 20", got)
	}
	for n, a := range publish(t, b, messages(11, 40)...) {
		if want := uint64(n + 11); a.StreamSeq != want {
			t.Errorf("Publish again: message %d has stream sequence %d, want %d", n+11, a.StreamSeq, want)
		}
	}
	if got := stored(t, js); got != 40 {
		t.Errorf("the stream holds %d messages, want 40", got)
	}
}
