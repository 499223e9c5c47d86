package courier

import (
	"sync"

	"github.com/google/uuid"
)

// maxTaken is how many messages are remembered as taken and not stored so; of
// more, a mail may be sent twice.
const maxTaken = 10_000

// taken are the messages that a mail server has taken while the store could not
// be told. Their events come again, and they are then settled instead of sent.
type taken struct {
	mu       sync.Mutex
	messages map[uuid.UUID]int // attempts by id
}

func (t *taken) add(id uuid.UUID, attempts int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.messages == nil {
		t.messages = map[uuid.UUID]int{}
	}
	if len(t.messages) < maxTaken {
		t.messages[id] = attempts
	}
}

func (t *taken) attempts(id uuid.UUID) (int, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, ok := t.messages[id]
	return n, ok
}

func (t *taken) remove(id uuid.UUID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.messages, id)
}
