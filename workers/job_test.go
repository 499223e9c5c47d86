package workers_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/workers"
)

// job is a worker that runs.
type job struct {
	t    testing.TB
	end  context.CancelFunc
	done chan error
	log  *logs
	// attempts are those that were observed.
	attempts chan workers.Attempt
}

type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func logTo(l *logs) *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// run runs a worker with one handler on the connection of the bus.
func (b *bus) run(name string, handle func(context.Context, created) error, options ...workers.Option) *job {
	b.t.Helper()
	ctx, end := context.WithCancel(context.WithoutCancel(b.t.Context()))
	j := &job{t: b.t, end: end, done: make(chan error, 1), log: &logs{}, attempts: make(chan workers.Attempt, 10_000)}
	w := workers.New(name, append([]workers.Option{
		workers.WithConn(b.hooks),
		workers.Logger(logTo(j.log)),
		workers.Observe(func(a workers.Attempt) { j.attempts <- a }),
	}, options...)...)
	workers.On(w, handle)
	go func() { j.done <- w.Run(ctx) }()
	b.t.Cleanup(end)
	return j
}

// next waits for n attempts.
func (j *job) next(n int) []workers.Attempt {
	j.t.Helper()
	var all []workers.Attempt
	for range n {
		all = append(all, receive(j.t, j.attempts, "an attempt"))
	}
	return all
}

// stop ends the worker and gives the result of Run.
func (j *job) stop() error {
	j.t.Helper()
	j.end()
	return receive(j.t, j.done, "the end of Run")
}

// mustStop wants Run to return nil.
func (j *job) mustStop() {
	j.t.Helper()
	if err := j.stop(); err != nil {
		j.t.Errorf("Run = %v, want nil", err)
	}
}

func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("no %s within 20 s", what)
		panic("unreachable")
	}
}

// waitFor polls until ok.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
