package delivery

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/usher-auth/usher/events"
)

const (
	// tries is how many in a row must fail until a hook is paused.
	tries = 20
	// shortestPause doubles up to longestPause while the hook goes on failing.
	shortestPause = time.Second
	longestPause  = 5 * time.Minute
	// remembered is how many failed messages of a hook are known without asking
	// the database: more than are acked between a report and its ack.
	remembered = 128
)

// health is how a hook has done lately, as far as this process knows: it sees
// the reports that it gets, and all acks.
type health struct {
	failures int // in a row
	pause    time.Duration
	until    time.Time
	reported []uint64 // stream sequences, the last ones
}

// remember keeps that a message has failed.
func (h *health) remember(seq uint64) {
	if seq != 0 {
		h.reported = append(h.reported, seq)
		h.reported = h.reported[max(0, len(h.reported)-remembered):]
	}
}

// noSuccess says that the ack of a message ends no row of failures.
func (s *Service) noSuccess(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.health[m.hook]; h != nil {
		h.remember(m.seq)
	}
}

// endsFailures tells whether the ack of a message may be a success that ends a
// row of failures.
func (s *Service) endsFailures(m message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.health[m.hook]
	return h != nil && !slices.Contains(h.reported, m.seq)
}

// pauseOrder is a pause that a hook has earned.
type pauseOrder struct {
	hook     string
	until    time.Time // zero: the pause that this process made ends
	former   time.Time // when that ends
	failures int
	first    bool // of an outage
}

// failed counts a failed attempt. Those that were under way when a pause began
// do not make it longer.
func (s *Service) failed(m message) {
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.health[m.hook]
	if h == nil {
		h = &health{}
		s.health[m.hook] = h
	}
	h.failures++
	h.remember(m.seq)
	if h.failures < tries || now.Before(h.until) {
		return
	}
	first := h.pause == 0
	pause := min(max(2*h.pause, shortestPause), longestPause)
	select {
	case s.pauses <- pauseOrder{m.hook, now.Add(pause), time.Time{}, h.failures, first}:
		h.pause, h.until = pause, now.Add(pause)
	default: // at the next failure
	}
}

// succeeded ends a row of failures, and the pause that came of it.
func (s *Service) succeeded(ctx context.Context, hook string) {
	s.mu.Lock()
	h := s.health[hook]
	delete(s.health, hook)
	s.mu.Unlock()
	if h == nil || !s.Now().Before(h.until) {
		return
	}
	if err := s.pause(ctx, pauseOrder{hook: hook, former: h.until}); err != nil && ctx.Err() == nil {
		s.Log.Error("resume hook", "hook", hook, "error", err)
	}
}

// pause pauses a hook's consumer or ends such a pause. One that somebody else
// made, and that lasts longer, stays.
func (s *Service) pause(ctx context.Context, o pauseOrder) error {
	consumers, err := s.Consumers.Consumers(ctx)
	if err != nil {
		return fmt.Errorf("pause %s: %w", o.hook, err)
	}
	c, ok := consumers[o.hook]
	if !ok {
		return nil
	}
	ends := o.until
	if ends.IsZero() {
		ends = o.former
	}
	if c.PausedUntil.After(ends.Add(time.Millisecond)) { // the bus may round
		return nil
	}
	if o.first {
		said := event(system, events.HookPaused{Hook: o.hook, Failures: o.failures}, s.Now())
		if err := s.Ledger.Append(ctx, said); err != nil {
			s.notPaused(o.hook)
			return fmt.Errorf("say that %s is paused: %w", o.hook, err)
		}
	}
	if err := s.Consumers.Pause(ctx, o.hook, o.until); err != nil {
		return fmt.Errorf("pause %s: %w", o.hook, err)
	}
	if o.until.IsZero() {
		s.Log.Info("hook works again", "hook", o.hook)
		return nil
	}
	s.Log.Warn("hook fails all the time and is paused", "hook", o.hook, "failures", o.failures, "until", o.until)
	return nil
}

// notPaused says that a first pause could not be told and was not made: the next
// failure orders it again.
func (s *Service) notPaused(hook string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.health[hook]; h != nil {
		h.pause, h.until = 0, time.Time{}
	}
}

// Paused tells how many hooks this process has paused now.
func (s *Service) Paused() (n int) {
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.health {
		if now.Before(h.until) {
			n++
		}
	}
	return n
}
