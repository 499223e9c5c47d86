package relay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/usher-auth/usher/events"
)

// What can go wrong with one step, drawn in advance.
const (
	fine      = iota
	notDone   // it is not done, and fails
	notKnown  // it is done, and fails
	faultKind = 3
)

// script gives one drawn fault after another, then none.
type script struct {
	mu     sync.Mutex
	faults []int
}

func (s *script) next() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) == 0 {
		return fine
	}
	fault := s.faults[0]
	s.faults = s.faults[1:]
	return fault
}

func drawScript(rt *rapid.T, name string) *script {
	return &script{faults: rapid.SliceOfN(rapid.IntRange(0, faultKind-1), 0, 60).Draw(rt, name)}
}

// scenario is what is committed and what goes wrong meanwhile.
type scenario struct {
	identities []string        // of the events, in the order of their commits
	pauses     []time.Duration // before each commit
	window     int
	relays     int // that believe they lead
	losses     []time.Duration
	ends       []time.Duration // of a relay, which another replaces
	publishing *script
	moving     *script
	reading    *script
}

func drawScenario(rt *rapid.T) scenario {
	ms := rapid.Map(rapid.IntRange(0, 3000), func(n int) time.Duration { return time.Duration(n) * time.Millisecond })
	s := scenario{
		identities: rapid.SliceOfN(rapid.SampledFrom([]string{"", "anna", "ben", "carl"}), 0, 30).Draw(rt, "identities"),
		window:     rapid.IntRange(1, 8).Draw(rt, "window"),
		relays:     rapid.IntRange(1, 3).Draw(rt, "relays"),
		losses:     rapid.SliceOfN(ms, 0, 4).Draw(rt, "losses"),
		ends:       rapid.SliceOfN(ms, 0, 4).Draw(rt, "ends"),
		publishing: drawScript(rt, "publishing"),
		moving:     drawScript(rt, "moving"),
		reading:    drawScript(rt, "reading"),
	}
	s.pauses = rapid.SliceOfN(ms, len(s.identities), len(s.identities)).Draw(rt, "pauses")
	return s
}

// TestEveryEventIsPublishedAndLoggedWhateverFails runs relays, several at once
// even, against faults of all kinds: in the end every event is in the stream and
// once in the log, and those of an identity are in order in both.
func TestEveryEventIsPublishedAndLoggedWhateverFails(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := drawScenario(rt)
		var stream, log []string
		synctest.Test(t, func(t *testing.T) { stream, log = s.play(t) })
		for name, ids := range map[string][]string{"stream": stream, "event log": log} {
			if err := s.check(ids); err != nil {
				rt.Errorf("%s: %v: %v", name, err, ids)
			}
		}
	})
}

// play gives the ids in the stream, by their first storing, and in the log.
func (s scenario) play(t *testing.T) (stream, log []string) {
	w := newWorld()
	w.stream.delay = 10 * time.Millisecond
	w.stream.fault = func(events.Message) (bool, error) {
		switch s.publishing.next() {
		case notDone:
			return false, errDown
		case notKnown:
			return true, errors.New("no ack")
		}
		return true, nil
	}
	w.outbox.move = func() (bool, error) {
		switch s.moving.next() {
		case notDone:
			return false, errDatabase
		case notKnown:
			return true, errDatabase
		}
		return true, nil
	}
	w.outbox.pending = func() error {
		if s.reading.next() != fine {
			return errDatabase
		}
		return nil
	}

	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for n := range s.relays {
		all.Go(func() { s.live(ctx, w, n) })
	}
	for n, identity := range s.identities {
		time.Sleep(s.pauses[n])
		w.outbox.add(identity)
		w.wake()
	}
	time.Sleep(10 * time.Minute)
	cancel()
	all.Wait()
	return w.stream.ids(), w.outbox.logged()
}

// live runs one relay after another, each until its end is drawn, on a lead that
// others may hold too.
func (s scenario) live(ctx context.Context, w *world, n int) {
	relay := w.Relay
	relay.Window, relay.Observe = s.window, nil
	l := &lead{}
	relay.Lead = l.Lead
	for _, after := range s.losses {
		time.AfterFunc(after*time.Duration(n+1), func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.held {
				close(l.lost)
				l.lost = make(chan struct{})
			}
		})
	}
	for _, after := range s.ends {
		life, end := context.WithTimeout(ctx, after)
		_ = relay.Run(life)
		end()
	}
	_ = relay.Run(ctx)
}

// check tells what is wrong with a list of the ids of all events.
func (s scenario) check(ids []string) error {
	last := map[string]int{}
	for n, identity := range s.identities {
		id := fmt.Sprintf("e%d", n+1)
		at := slices.Index(ids, id)
		switch {
		case at < 0:
			return fmt.Errorf("%s is missing", id)
		case slices.Contains(ids[at+1:], id):
			return fmt.Errorf("%s is there twice", id)
		case identity != "" && at < last[identity]:
			return fmt.Errorf("%s is before a former event of %s", id, identity)
		}
		last[identity] = at
	}
	if len(ids) != len(s.identities) {
		return fmt.Errorf("there are %d events, want %d", len(ids), len(s.identities))
	}
	return nil
}
