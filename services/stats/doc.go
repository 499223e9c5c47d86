// Package stats is the last hour of an installation in memory: what its processes
// counted, ten seconds at a time.
//
// Each process tells what it has counted by a broadcast, which may be lost: a report
// repeats the last minute, and what could not be sent is sent later. Who collects adds
// each slot of each process once. So collectors that ran for the same time hold the
// same, and nothing is asked of the database or of a request.
//
//	counters of a process → Sampler → report → Collector of each process with API or console → Hour
package stats

import "time"

const (
	// Step is the length of a slot. Slots begin at its multiples.
	Step = 10 * time.Second
	// Slots make the hour that is kept.
	Slots = int(time.Hour / Step)
)

// Counters. Registrations and logins are followed by the outcome, such as
// "registrations.ok".
const (
	Registrations  = "registrations."
	Logins         = "logins."
	Requests       = "requests"       // by HTTP, but those that only look at the installation
	RequestErrors  = "request_errors" // answered with 500 and above
	SessionErrors  = "session_errors" // requests to a session worker that it could not do
	HooksDone      = "hooks_done"     // attempts of background hooks that succeeded
	HooksFailed    = "hooks_failed"   // attempts that did not
	MailsSent      = "mails_sent"     // of the hooks' attempts, the courier's
	MailsFailed    = "mails_failed"   // those of them that did not send
	Published      = "published"      // events
	RelayErrors    = "relay_errors"   // rounds of the relay that are tried again
	maxOutcomeName = 32
)

// Durations.
const (
	Hop  = "hop"  // from a registration to the session worker and back
	Hook = "hook" // one attempt of a background hook
)

// Totals are what a process has counted since it began.
type Totals struct {
	Counts map[string]int64
	Times  map[string]Histogram
}

// Gauges are how much waits at one time. One process tells them: who leads.
type Gauges struct {
	// OutboxDepth is how many committed events wait for the relay, and
	// OutboxOldest the age of the oldest in seconds.
	OutboxDepth  int64   `json:"outbox_depth"`
	OutboxOldest float64 `json:"outbox_oldest_seconds"`
	// DeadLetters and Retries are events that hooks have given up, and that wait
	// for another attempt.
	DeadLetters int64 `json:"dead_letters"`
	Retries     int64 `json:"retries"`
}

// larger is the larger of each: two may have led within one slot, and whoever is
// heard first must not matter.
func (g Gauges) larger(other Gauges) Gauges {
	return Gauges{
		OutboxDepth:  max(g.OutboxDepth, other.OutboxDepth),
		OutboxOldest: max(g.OutboxOldest, other.OutboxOldest),
		DeadLetters:  max(g.DeadLetters, other.DeadLetters),
		Retries:      max(g.Retries, other.Retries),
	}
}

// slotOf is the number of the slot that holds t.
func slotOf(t time.Time) int64 {
	ms, step := t.UnixMilli(), Step.Milliseconds()
	if ms < 0 {
		return 0
	}
	return ms / step
}

// beginning is when a slot begins.
func beginning(slot int64) time.Time { return time.UnixMilli(slot * Step.Milliseconds()).UTC() }
