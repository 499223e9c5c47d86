package stats

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"time"
)

// Sampler tells what one process counts. All fields but Gauges are needed.
type Sampler struct {
	// Host, Version and Parts say which process this is.
	Host, Version string
	Parts         []string
	// Read gives what was counted so far. It is called every ten seconds.
	Read func() Totals
	// Gauges gives how much waits, nil where another process tells that.
	Gauges func() *Gauges
	// Send broadcasts a report. What it fails at is sent again, for up to an hour.
	Send func(report []byte) error
	Now  func() time.Time

	instance  string
	startedAt time.Time
	former    Totals
	last      int64
	// slots are what is to be sent: what could not be sent, and the last minute.
	slots  []slot
	unsent int
}

// Run tells what is counted at the end of each slot until ctx ends; [Sampler.Tell] then
// tells the rest. What was counted before it is told too.
func (s *Sampler) Run(ctx context.Context) error {
	for {
		wait := beginning(slotOf(s.Now()) + 1).Sub(s.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
			s.tell(slotOf(s.Now()) - 1)
		}
	}
}

// Tell tells what was counted since the last time, as that of the slot that is not
// over: for the end of a process, after Run has ended.
func (s *Sampler) Tell() { s.tell(slotOf(s.Now())) }

// setBack is how many slots a clock may be set back without another life: what is
// counted meanwhile is told later.
const setBack = reportSlots

// tell sends what was counted since the last time as that of slot n.
func (s *Sampler) tell(n int64) {
	if s.instance == "" || n < s.last-setBack {
		// A collector counts each slot of a life once: whose clock goes back begins anew.
		s.instance, s.startedAt, s.last, s.slots, s.unsent = rand.Text(), s.Now().UTC(), 0, nil, 0
	}
	if n <= s.last {
		return
	}
	read := s.Read()
	next := slotSince(n, s.former, read)
	if s.Gauges != nil {
		next.Gauges = s.Gauges()
	}
	s.former, s.last = read, n
	s.slots, s.unsent = append(s.slots, next), s.unsent+1
	s.send()
}

// send sends what was not sent, in pieces, the last of which fills the minute.
func (s *Sampler) send() {
	for s.unsent > 0 {
		from := len(s.slots) - s.unsent
		piece := s.slots[from:min(from+reportSlots, len(s.slots))]
		if len(piece) < reportSlots {
			piece = s.slots[max(0, len(s.slots)-reportSlots):]
		}
		message, err := json.Marshal(report{
			Instance: s.instance, Host: s.Host, Version: s.Version, Parts: s.Parts, StartedAt: s.startedAt, Slots: piece,
		})
		if err != nil || s.Send(message) != nil {
			break
		}
		s.unsent -= min(s.unsent, reportSlots)
	}
	if keep := max(reportSlots, min(s.unsent, Slots)); len(s.slots) > keep {
		s.slots = append([]slot(nil), s.slots[len(s.slots)-keep:]...)
	}
	s.unsent = min(s.unsent, len(s.slots))
}
