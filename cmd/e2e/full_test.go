package e2e_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
)

// TestTheStreamIsFull: people register and are signed in, the doctor says what is
// wrong, and when the stream is given more room all events come, each once.
func TestTheStreamIsFull(t *testing.T) {
	t.Parallel()
	background := newEndpoint(t)
	over := signInAndTell(background)
	over["bus"] = settings{"max_bytes": "1MB"}
	s := newSystem(t, "parts", over)
	w := ward{s, t}
	eventually(t, 20*time.Second, func() error { return s.says("hooks-1", "usher_stream_max_bytes 1.048576e+06") })
	room := func(status string) error {
		e := w.doctor(nil, "--only", "bus")
		for _, f := range e.Findings {
			if f.Check == "bus.room" && f.Status == status {
				t.Logf("%s: %s → %s", status, f.Seen, f.Mend)
				return nil
			}
		}
		return fmt.Errorf("bus.room is not %s: %s", status, e.text)
	}
	if err := room("green"); err != nil {
		t.Error(err)
	}
	s.fillStream()
	for range 10 {
		if status, with := registerOnce(t, s.apis[0]); status != http.StatusOK || !with {
			t.Errorf("registration while the stream is full = %d, session %t", status, with)
		}
	}
	eventually(t, 20*time.Second, func() error {
		if waiting := len(s.identities()) - len(s.events("type=identity.created")); waiting != 10 {
			return fmt.Errorf("%d registrations wait to be published, want 10", waiting)
		}
		return room("red")
	})
	s.write(merge(s.base, merge(over, settings{"bus": settings{"max_bytes": "64MB"}})))
	s.whole(background)
	eventually(t, 20*time.Second, func() error { return room("green") })
}

// says tells whether the metrics of a process have a line.
func (s *system) says(process, line string) error {
	s.t.Helper()
	a := newApp(s.t, strings.TrimSuffix(s.health[process], "/health/ready")).must("GET", "/metrics", nil, nil)
	if !slices.Contains(strings.Split(string(a.body), "\n"), line) {
		return fmt.Errorf("the metrics of %s have no %q", process, line)
	}
	return nil
}

// fillStream leaves room for no event.
func (s *system) fillStream() {
	s.t.Helper()
	nc, err := events.Connect(s.t.Context(), events.ConnectOptions{
		URL: s.busURL, CredentialsFile: filepath.Join(s.dir, "bus", "creds", events.UserAPIEvents+".creds"), User: events.UserAPIEvents,
		Name: "test", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	defer nc.Close()
	publisher, err := events.NewPublisher(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	for size, n := 200<<10, 0; size > 0; n++ {
		filler := events.Message{ID: fmt.Sprint("filler-", n), Type: "test.filler", Payload: make([]byte, size)}
		switch err := publisher.Publish(s.t.Context(), []events.Message{filler})[0].Err; {
		case events.IsFull(err):
			size /= 4
		case err != nil:
			s.t.Fatal(err)
		}
	}
}
