package events_test

import (
	"testing"

	"github.com/usher-auth/usher/events"
)

// A batch that holds messages which the stream knows is refused whole; still
// each message is stored once, and each ack says where.
func TestPublishABatchWithKnownMessages(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	js := b.provision(events.StreamOptions{})
	publish(t, b, messages(1, 20)...)
	for n, a := range publish(t, b, messages(11, 40)...) {
		if want := uint64(n + 11); a.StreamSeq != want {
			t.Errorf("Publish again: message %d has stream sequence %d, want %d", n+11, a.StreamSeq, want)
		}
	}
	if got := stored(t, js); got != 40 {
		t.Errorf("the stream holds %d messages, want 40", got)
	}
}
