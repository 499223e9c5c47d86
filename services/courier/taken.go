package courier

import (
	"sync"

	"github.com/google/uuid"
)

// maxTaken is how many messages are remembered as taken and not stored so; of
// more, a mail may be sent twice.
const maxTaken = 10_000

// Taken are the messages that a mail server has taken while the store could not
// be told. Their events come again, and they are then settled instead of sent,
// by each [Service] that shares them. The zero value holds none; it is safe for
// concurrent use, and not to be copied.
type Taken struct {
	mu       sync.Mutex
	messages map[uuid.UUID]int // attempts by id
}

func (t *Taken) add(id uuid.UUID, attempts int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.messages == nil {
		t.messages = map[uuid.UUID]int{}
	}
	if len(t.messages) < maxTaken {
		t.messages[id] = attempts
	}
}

func (t *Taken) attempts(id uuid.UUID) (int, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, ok := t.messages[id]
	return n, ok
}

func (t *Taken) remove(id uuid.UUID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.messages, id)
}
