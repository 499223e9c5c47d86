package stats

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// The bounds of a report: what is beyond them is no report.
const (
	maxReport   = 32 << 10 // bytes
	reportSlots = 6        // a minute
	maxName     = 64       // bytes of a name
	maxParts    = 8
	maxNames    = 64      // counters of a slot
	maxCount    = 1 << 40 // of anything within ten seconds
)

// report is what a process tells on the bus.
type report struct {
	// Instance is one life of a process.
	Instance  string    `json:"instance"`
	Host      string    `json:"host"`
	Version   string    `json:"version"`
	Parts     []string  `json:"parts"`
	StartedAt time.Time `json:"started_at"`
	Slots     []slot    `json:"slots"` // by number, ended ones only
}

// slot is what a process counted within ten seconds. What is zero is left out.
type slot struct {
	N      int64              `json:"n"` // Unix time divided by ten
	Counts map[string]int64   `json:"counts,omitempty"`
	Times  map[string][]int64 `json:"times,omitempty"` // by bucket
	Gauges *Gauges            `json:"gauges,omitempty"`
}

var errReport = errors.New("no report")

// decodeReport reads a report; what it gives is within all bounds.
func decodeReport(message []byte) (r report, err error) {
	if len(message) > maxReport {
		return r, fmt.Errorf("%w: %d bytes", errReport, len(message))
	}
	if err := json.Unmarshal(message, &r); err != nil {
		return r, fmt.Errorf("%w: %w", errReport, err)
	}
	for _, name := range append([]string{r.Instance, r.Host, r.Version}, r.Parts...) {
		if len(name) > maxName || strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }) {
			return r, fmt.Errorf("%w: a name is too long or cannot be printed", errReport)
		}
	}
	if year := r.StartedAt.UTC().Year(); year < 1970 || year > 9999 {
		return r, fmt.Errorf("%w: it began in the year %d", errReport, year)
	}
	if r.Instance == "" || len(r.Parts) > maxParts || len(r.Slots) == 0 || len(r.Slots) > reportSlots {
		return r, fmt.Errorf("%w: %d parts, %d slots", errReport, len(r.Parts), len(r.Slots))
	}
	for n, s := range r.Slots {
		if n > 0 && s.N <= r.Slots[n-1].N {
			return r, fmt.Errorf("%w: slots in no order", errReport)
		}
		if err := s.check(); err != nil {
			return r, fmt.Errorf("%w: slot %d: %w", errReport, s.N, err)
		}
	}
	return r, nil
}

func (s slot) check() error {
	if s.N <= 0 || len(s.Counts) > maxNames || len(s.Times) > maxNames {
		return errors.New("too much, or of no time")
	}
	wrong := func(n int64) bool { return n < 0 || n > maxCount }
	for _, n := range s.Counts {
		if wrong(n) {
			return errors.New("no count")
		}
	}
	for _, buckets := range s.Times {
		if len(buckets) != len(Histogram{}) || slices.ContainsFunc(buckets, wrong) {
			return errors.New("no histogram")
		}
	}
	if g := s.Gauges; g != nil && (g.OutboxDepth < 0 || g.OutboxOldest < 0 || g.DeadLetters < 0 || g.Retries < 0) {
		return errors.New("less than nothing waits")
	}
	return nil
}

// counter tells whether a name is one of a counter. Those of a later version that
// this one does not know are left out.
func counter(name string) bool {
	switch name {
	case Requests, RequestErrors, SessionErrors, HooksDone, HooksFailed, MailsSent, MailsFailed, Published, RelayErrors:
		return true
	}
	for _, kind := range []string{Registrations, Logins} {
		if outcome, ok := strings.CutPrefix(name, kind); ok {
			return outcome != "" && len(outcome) <= maxOutcomeName &&
				!strings.ContainsFunc(outcome, func(c rune) bool { return c != '_' && (c < 'a' || c > 'z') })
		}
	}
	return false
}

// slotSince is what was counted between two totals.
func slotSince(n int64, former, now Totals) slot {
	s := slot{N: n, Counts: map[string]int64{}, Times: map[string][]int64{}}
	for name, count := range now.Counts {
		if d := count - former.Counts[name]; d > 0 {
			s.Counts[name] = d
		}
	}
	for name, h := range now.Times {
		if d := h.minus(former.Times[name]); d.Count() > 0 {
			s.Times[name] = d[:]
		}
	}
	return s
}
