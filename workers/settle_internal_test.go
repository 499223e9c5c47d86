package workers

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// delivered is a message that counts what the bus is told of it.
type delivered struct {
	jetstream.Msg // nil: whatever else is asked panics
	beats         int
	acked, naked  bool
}

func (d *delivered) InProgress() error                { d.beats++; return nil }
func (d *delivered) Ack() error                       { d.acked = true; return nil }
func (d *delivered) NakWithDelay(time.Duration) error { d.naked = true; return nil }

func jobOf(w *Worker, m *delivered) *job {
	return &job{run: &run{Worker: w}, Attempt: Attempt{Number: 1, Deliveries: 1}, msg: m, seq: 7, started: time.Now(), settled: make(chan struct{})}
}

func TestNoBeatFollowsTheOutcome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &delivered{}
		j := jobOf(New("w", Logger(slog.New(slog.DiscardHandler))), m)
		j.alive = keepAlive(m, time.Second, time.Hour, func() { t.Error("it is late") })
		defer j.alive.stop() // or the bubble would never end
		time.Sleep(2500 * time.Millisecond)
		j.settle(t.Context(), Done, nil)
		beats := m.beats
		time.Sleep(time.Minute)
		if beats != 2 || m.beats != beats || !m.acked {
			t.Errorf("%d beats before the ack (%t), %d after, want 2 and none", beats, m.acked, m.beats-beats)
		}
	})
}

// What this program survived is run again though it is delivered often, until
// it is settled; what may have killed a program is not.
func TestSurvivedUntilSettled(t *testing.T) {
	t.Parallel()
	untold := errors.New("nobody takes reports")
	w := New("w")
	answer := func(why, untold error) {
		m := &delivered{}
		j := jobOf(w, m)
		if err := j.answer(context.Background(), &Attempt{Err: why}, untold); err != nil || m.acked != (untold == nil) || m.naked == m.acked {
			t.Errorf("answer = %v, acked %t, naked %t", err, m.acked, m.naked)
		}
	}
	for _, step := range []struct {
		name        string
		why, untold error
		want        bool
	}{
		{"crashed", &crashed{6}, untold, false},
		{"failed, unreported", errors.New("broken"), untold, true},
		{"failed, reported", errors.New("broken"), nil, false},
		{"failed again, unreported", errors.New("broken"), untold, true},
		{"done", nil, nil, false},
	} {
		answer(step.why, step.untold)
		if got := w.survived.has(7); got != step.want {
			t.Errorf("%s: survived = %t, want %t", step.name, got, step.want)
		}
	}
}
