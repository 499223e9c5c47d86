package hook

import (
	"fmt"
	"slices"
)

// LoginLists are the configured hooks of login with one method.
type LoginLists struct {
	// Method is the list after.<method>.hooks.
	Method []Configured
	// Global is after.hooks. It runs where Method is empty; the two are never merged.
	Global []Configured
}

// LoginPlan says what runs for a login with one method, and when. Encoded as
// JSON it is what operators see.
type LoginPlan struct {
	Method string `json:"method"`
	// Before run once the password was right, in order, and may refuse.
	Before []Step `json:"before"`
	// RequireVerified is the gate: no session without a verified address.
	RequireVerified bool `json:"require_verified_address"`
	// RevokeOthers ends the identity's other sessions once the new one is there.
	RevokeOthers bool `json:"revoke_active_sessions"`
	// Verification opens a verification flow for an address that is not verified,
	// ShowVerification also says so in the answer. Neither keeps anybody out.
	Verification     bool `json:"verification"`
	ShowVerification bool `json:"show_verification_ui"`
	// Waiting run before the session is issued, in order: the answer waits for them.
	Waiting []Step `json:"waiting"`
	// Background run from login.succeeded, each endpoint once.
	Background []Step `json:"background"`
	// Lines are where the kinds that are on are written first, by kind.
	Lines map[string]int `json:"lines,omitempty"`
	// Notes are about what does not do what it seems to. No notes, nothing to mend.
	Notes []Note `json:"notes"`
}

// AfterPlan says what runs behind a verification or a recovery.
type AfterPlan struct {
	// Waiting run once it is committed, in order; the answer waits for them.
	Waiting []Step `json:"waiting"`
	// Background run from its event, address.verified or recovery.completed, each endpoint once.
	Background []Step `json:"background"`
}

// CompileLogin places the configured hooks of login with a method. One of the
// two lists runs, whatever is in it, so a web_hook in the method's list takes
// the place of a gate or a worker in the global one: a note says so. Within a
// list neither order nor repetition nor web_hooks decide whether the gate is there.
func CompileLogin(method string, l LoginLists) LoginPlan {
	list := l.Method
	if len(list) == 0 {
		list = l.Global
	}
	p := LoginPlan{
		Method:           method,
		Before:           timed(list, Refusing),
		RequireVerified:  has(list, KindRequireVerified),
		RevokeOthers:     has(list, KindRevoke),
		Verification:     has(list, KindVerification),
		ShowVerification: has(list, KindShowVerification),
		Waiting:          timed(list, Waiting),
		Background:       once(timed(list, Background)),
		Notes:            loginNotes(list, l),
	}
	for _, c := range list {
		if _, before := p.Lines[c.Kind]; before || c.calls() || c.Line == 0 {
			continue
		}
		if p.Lines == nil {
			p.Lines = map[string]int{}
		}
		p.Lines[c.Kind] = c.Line
	}
	return p
}

// CompileAfter places the configured hooks of verification.after or recovery.after, all
// of them web_hooks. There is nothing left to refuse: what does not run in the
// background is waited for.
func CompileAfter(list []Configured) AfterPlan {
	p := AfterPlan{Waiting: []Step{}, Background: once(timed(list, Background))}
	for _, c := range list {
		if c.Kind == KindWebHook && c.Timing != Background {
			p.Waiting = append(p.Waiting, c.step())
		}
	}
	return p
}

// timed gives the web_hooks and workers with a timing, in the order of the list.
func timed(list []Configured, timing Timing) []Step {
	steps := []Step{}
	for _, c := range calls(list) {
		if c.timing() == timing {
			steps = append(steps, c.step())
		}
	}
	return steps
}

// once leaves of each endpoint the first step.
func once(steps []Step) []Step {
	seen := map[string]bool{}
	return slices.DeleteFunc(steps, func(s Step) bool {
		again := seen[s.Endpoint]
		seen[s.Endpoint] = true
		return again
	})
}

// first gives the index of the first entry of a kind, or -1.
func first(list []Configured, kind string) int {
	return slices.IndexFunc(list, func(c Configured) bool { return c.Kind == kind })
}

func has(list []Configured, kind string) bool { return first(list, kind) >= 0 }

// loginNotes finds what does not do what it seems to: a gate, a revocation or a
// worker in a list that does not run, a call on the wrong side of the gate, and
// a verification that is shown but never opened.
func loginNotes(list []Configured, l LoginLists) []Note {
	notes := []Note{}
	if len(l.Method) > 0 {
		for _, c := range l.Global {
			if slices.Contains([]string{KindRequireVerified, KindRevoke, KindWorker}, c.Kind) && !has(list, c.Kind) {
				notes = append(notes, Note{Line: c.Line, Text: c.step().name() +
					" is written in after.hooks, which the method's own list takes the place of: it does not run; write it into that list too"})
			}
		}
	}
	if at := first(list, KindShowVerification); at >= 0 && !has(list, KindVerification) {
		notes = append(notes, Note{Line: list[at].Line, Text: KindShowVerification +
			" shows nothing without " + KindVerification + ", which opens the flow: write both"})
	}
	gate := first(list, KindRequireVerified)
	if gate < 0 {
		return notes
	}
	at := inLine(list[gate].Line)
	for n, c := range list {
		var does string
		switch {
		case !c.calls():
			continue
		case n > gate && c.timing() == Refusing:
			does = fmt.Sprintf("behind %s%s but may refuse the login, so it runs before it, also where the gate refuses: write it above", KindRequireVerified, at)
		case n < gate && c.timing() == Waiting:
			does = fmt.Sprintf("above %s%s but runs only for whom the gate lets through: write it behind", KindRequireVerified, at)
		default:
			continue
		}
		notes = append(notes, Note{Line: c.Line, Text: c.step().name() + " is written " + does})
	}
	return notes
}

// Rows gives the plan from the first step to the last. Background hooks stand
// last, though they may run at the same time as what is above them.
func (p LoginPlan) Rows() []Row {
	var rows []Row
	add := func(on bool, when, kind string) {
		if on {
			rows = append(rows, Row{When: when, Step: kind, Line: p.Lines[kind]})
		}
	}
	rows = append(rows, rowsOf("once the password is right", p.Before)...)
	add(p.RequireVerified, "once the password is right", KindRequireVerified)
	rows = append(rows, rowsOf("before the session", p.Waiting)...)
	add(p.RevokeOthers, "behind the session", KindRevoke)
	add(p.Verification, "behind the session", KindVerification)
	add(p.ShowVerification && p.Verification, "in the answer", KindShowVerification)
	return append(rows, rowsOf("from the event", p.Background)...)
}

// Rows gives the plan from the first step to the last, like [LoginPlan.Rows].
func (p AfterPlan) Rows() []Row {
	return append(rowsOf("before the answer", p.Waiting), rowsOf("from the event", p.Background)...)
}

func rowsOf(when string, steps []Step) []Row {
	var rows []Row
	for _, s := range steps {
		rows = append(rows, Row{When: when, Step: s.String(), Line: s.Line})
	}
	return rows
}
