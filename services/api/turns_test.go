package api

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
)

func TestTurns(t *testing.T) {
	t.Parallel()
	var turns turns
	one, other := uuid.New(), uuid.New()
	var inside, most, waited atomic.Int64
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			w, done, err := turns.take(t.Context(), one)
			if err != nil {
				t.Error(err)
				return
			}
			if w {
				waited.Add(1)
			}
			if n := inside.Add(1); n > most.Load() {
				most.Store(n)
			}
			if _, free, err := turns.take(t.Context(), other); err == nil {
				free()
			}
			inside.Add(-1)
			done()
		})
	}
	all.Wait()
	if most.Load() != 1 || waited.Load() > 49 {
		t.Errorf("%d had their turn at once, %d of 50 waited, want 1 and at most 49", most.Load(), waited.Load())
	}

	_, done, err := turns.take(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if w, _, err := turns.take(ended, one); err == nil || !w {
		t.Errorf("take with an ended context = %t, %v, want that another is before, and the context's error", w, err)
	}
	done()
	if len(turns.queues) != 0 {
		t.Errorf("%d queues are left, want none", len(turns.queues))
	}
}
