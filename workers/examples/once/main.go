// Once counts registrations and counts none twice, although an event may come
// more than once: the note that an event is done and its effect are one line
// that is appended to a file. With a database they are one transaction.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

func main() {
	l, err := open("registrations.log")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	workers.Main(l.worker())
}

// ledger is a file with a line for each event.
type ledger struct {
	mu   sync.Mutex
	file *os.File
	done map[string]bool // by idempotency key
}

func open(path string) (*ledger, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	l, whole := &ledger{file: f, done: map[string]bool{}}, int64(0)
	for line := range strings.Lines(string(text)) {
		if key, ok := strings.CutSuffix(line, "\n"); ok {
			l.done[key] = true
			whole += int64(len(line))
		}
	}
	return l, f.Truncate(whole) // a line that a crash has cut off was not done
}

func (l *ledger) worker() *workers.Worker {
	w := workers.New("once")
	workers.On(w, func(ctx context.Context, _ workers.Event[events.IdentityCreated]) error {
		return l.add(workers.IdempotencyKey(ctx))
	})
	return w
}

// add returns once the line is on disk.
func (l *ledger) add(key string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done[key] {
		return nil
	}
	if _, err := fmt.Fprintln(l.file, key); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	l.done[key] = true
	return nil
}
