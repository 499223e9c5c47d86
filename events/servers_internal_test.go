package events

import (
	"fmt"
	"testing"
	"time"
)

// What a server says of itself is shown on a terminal, and how late it may be is
// known by how long the question took.
func TestServerState(t *testing.T) {
	t.Parallel()
	asked := time.Now().Add(-2 * time.Second)
	answer := fmt.Appendf(nil, `{
		"server": {"name": "n1\u001b[2J", "ver": "2.15.2\u202e", "time": %q},
		"data": {"jetstream": {"config": {"sync_always": true, "max_storage": 1000}, "stats": {"storage": 800}}}
	}`, asked.Add(11*time.Second).Format(time.RFC3339Nano))
	s, ok := serverState(answer, asked)
	if !ok || s.Name != "n1 [2J" || s.Version != "2.15.2" {
		t.Errorf("serverState = %q %q, %t, want it without what a terminal obeys", s.Name, s.Version, ok)
	}
	if !s.Streams || !s.SyncAlways || s.Store != 800 || s.MaxStore != 1000 {
		t.Errorf("serverState = %+v, want 800 bytes of 1000, synced", s)
	}
	if (s.Within-time.Second).Abs() > time.Second/2 || (s.Ahead-10*time.Second).Abs() > time.Second/2 {
		t.Errorf("a clock 10 s ahead, asked 2 s ago: %v ahead within %v, want 10s within 1s", s.Ahead, s.Within)
	}
	for _, none := range []string{"", "{}", `{"server": {"ver": "1"}}`} {
		if s, ok := serverState([]byte(none), asked); ok {
			t.Errorf("serverState(%s) = %+v, want none", none, s)
		}
	}
}
