package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

// ledger is what the workers of the soak do: they write each delivery into a
// file, and an effect into another one, unless the event's is there already.
type ledger struct {
	mu                  sync.Mutex
	deliveries, effects *os.File
	done                map[string]int // by event id
	steady              bool           // no event fails
}

func openLedger(dir string) (*ledger, error) {
	l := &ledger{}
	for name, file := range map[string]**os.File{"deliveries": &l.deliveries, "effects": &l.effects} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		*file = f
	}
	var err error
	l.done, err = countLines(l.effects.Name())
	return l, err
}

// The last character of its id decides what the worker does with an event.
const (
	poison    = "0" // it never works: a dead letter
	stumbling = "1" // the first attempt fails
)

var (
	errPoison    = errors.New("this one never works")
	errStumbling = errors.New("the first attempt fails")
)

// take takes a moment, in which the worker may be killed.
func (l *ledger) take(ctx context.Context, e events.Event) error {
	attempt := workers.AttemptNumber(ctx)
	if err := l.write(l.deliveries, fmt.Sprintf("%s %d", e.ID, attempt)); err != nil {
		return err
	}
	time.Sleep(10 * time.Millisecond) // the work
	switch {
	case l.steady:
	case strings.HasSuffix(e.ID, poison):
		return workers.Permanent(errPoison)
	case strings.HasSuffix(e.ID, stumbling) && attempt == 1:
		return errStumbling
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done[e.ID] > 0 {
		return nil
	}
	l.done[e.ID]++
	return l.write(l.effects, e.ID) // one write: key and effect in one step
}

func (l *ledger) write(f *os.File, line string) error {
	_, err := f.WriteString(line + "\n")
	return err
}

// serveLedger is the main function of a worker's process.
func serveLedger(dir string, steady bool) error {
	l, err := openLedger(dir)
	if err != nil {
		return err
	}
	l.steady = steady
	w := workers.New("ledger")
	workers.OnAny(w, l.take)
	return w.Run(context.Background())
}

// shellLedger is the same as a command for each event. A folder is key and effect in
// one step: a command that is killed between two leaves the one without the other.
const shellLedger = `cd "$1"
echo "$USHER_EVENT_ID $USHER_ATTEMPT" >>deliveries
mkdir -p "$USHER_EVENT_ID"
`

// effectsIn counts the effects of a ledger by event: lines of a file, or folders.
func effectsIn(dir string) (map[string]int, error) {
	effects, err := countLines(filepath.Join(dir, "effects"))
	if !errors.Is(err, fs.ErrNotExist) {
		return effects, err
	}
	entries, err := os.ReadDir(dir)
	effects = map[string]int{}
	for _, e := range entries {
		if e.IsDir() {
			effects[e.Name()]++
		}
	}
	return effects, err
}

// countLines counts how often each line is in a file.
func countLines(file string) (map[string]int, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := map[string]int{}
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		lines[scan.Text()]++
	}
	return lines, scan.Err()
}
