package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Status says how a thing is.
type Status string

// The statuses, the worst last.
const (
	// Skipped was not looked at, since it stands on what another finding is about.
	Skipped Status = "skipped"
	// Green is as it should be.
	Green Status = "green"
	// Yellow works, and should be looked at.
	Yellow Status = "yellow"
	// Red does not work, or loses something.
	Red Status = "red"
)

var order = []Status{Skipped, Green, Yellow, Red}

// Worse tells whether s is worse than other.
func (s Status) Worse(other Status) bool { return slices.Index(order, s) > slices.Index(order, other) }

// Finding is what was seen of one thing.
type Finding struct {
	// Check is one of the names of [Checks], such as "database.migrations". Several
	// findings may have one.
	Check  string `json:"check"`
	Status Status `json:"status"`
	// Seen is in words, without a secret.
	Seen string `json:"seen"`
	// Mend is what to do, often a command; empty if nothing is to be done.
	Mend string `json:"mend,omitempty"`
}

// Group is what the finding belongs to: the first part of its check.
func (f Finding) Group() string {
	group, _, _ := strings.Cut(f.Check, ".")
	return group
}

// Report is all that was found. Its JSON is described in schemas/doctor.schema.json.
type Report struct {
	// Status is the worst of the findings.
	Status Status `json:"status"`
	// Configuration says where it comes from.
	Configuration string `json:"configuration"`
	Version       string `json:"version"`
	// At is when the look began, Seconds how long it took.
	At      time.Time `json:"at"`
	Seconds float64   `json:"seconds"`
	// Findings are in the order of [Checks].
	Findings []Finding `json:"findings"`
}

// Count gives how many findings have a status.
func (r Report) Count(s Status) (n int) {
	for _, f := range r.Findings {
		if f.Status == s {
			n++
		}
	}
	return n
}

// findings collects what one check has seen.
type findings []Finding

func (f *findings) add(status Status, check, seen, mend string) {
	*f = append(*f, Finding{Check: check, Status: status, Seen: shortened(seen), Mend: shortened(mend)})
}

// longest is how much of a text a finding has: some of it comes from others.
const longest = 2000

func shortened(text string) string {
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "…"
}

func (f *findings) green(check, format string, args ...any) {
	f.add(Green, check, fmt.Sprintf(format, args...), "")
}

func (f *findings) skip(because string, checks ...string) {
	for _, c := range checks {
		f.add(Skipped, c, because, "")
	}
}
