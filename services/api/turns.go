package api

import (
	"context"
	"sync"

	"github.com/google/uuid"
)

// turns lets submits of one flow come one after the other in this process. Each
// of them replaces the session of the former: were they answered at once, the
// answer that comes last could carry a session that is dead already.
type turns struct {
	mu     sync.Mutex
	queues map[uuid.UUID]*queue
}

type queue struct {
	turn    chan struct{} // holds what is having its turn
	present int           // having their turn or waiting for it
}

// take waits for the turn of a request about id. It tells whether another was
// before; done ends the turn.
func (t *turns) take(ctx context.Context, id uuid.UUID) (waited bool, done func(), err error) {
	t.mu.Lock()
	q := t.queues[id]
	if q == nil {
		if t.queues == nil {
			t.queues = map[uuid.UUID]*queue{}
		}
		q = &queue{turn: make(chan struct{}, 1)}
		t.queues[id] = q
	}
	waited = q.present > 0
	q.present++
	t.mu.Unlock()
	select {
	case q.turn <- struct{}{}:
		return waited, func() { <-q.turn; t.leave(id, q) }, nil
	case <-ctx.Done():
		t.leave(id, q)
		return waited, nil, ctx.Err()
	}
}

func (t *turns) leave(id uuid.UUID, q *queue) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if q.present--; q.present == 0 {
		delete(t.queues, id)
	}
}
