package hook

import (
	"fmt"
	"slices"
)

// Plan says what runs for a registration with one method, and when. It is the
// same for each flow type and client. Encoded as JSON it is what operators see.
type Plan struct {
	Method string `json:"method"`
	// Before run before the commit, in order, and may refuse or change it.
	Before []Step `json:"before"`
	// Waiting run after the commit, in order; the answer waits for them. A step
	// without an endpoint adds to the answer.
	Waiting []Step `json:"waiting"`
	// Session is the step that issues the session. It is the last that may
	// write to the answer.
	Session Session `json:"session"`
	// Background run from the event, each on its own and each endpoint once.
	Background []Step `json:"background"`
	// Notes are about entries that may modify the answer and are written behind
	// session: they run before it all the same. No notes, nothing to mend.
	Notes []Note `json:"notes"`
}

// WithoutCalls is p for an answer that is given again: no endpoint is waited for.
func (p Plan) WithoutCalls() Plan {
	p.Waiting = slices.DeleteFunc(slices.Clone(p.Waiting), func(s Step) bool { return s.Kind == KindWebHook })
	return p
}

// Step is one hook at its place.
type Step struct {
	Kind     string `json:"kind"`
	Endpoint string `json:"endpoint,omitempty"` // of a web_hook; of a worker its name
	Asked           // of a worker
	Line     int    `json:"line,omitempty"`
}

// Session says whether a session is issued, and why.
type Session struct {
	On bool `json:"on"`
	// ByItself: nobody configured it.
	ByItself bool `json:"by_itself,omitempty"`
	// Bypass: it is issued although the next login needs a verified address.
	Bypass bool `json:"bypass,omitempty"`
	// Line is where it is written first.
	Line int `json:"line,omitempty"`
}

// ShowsVerification tells whether the answer says which verification flow the
// registration has opened.
func (p Plan) ShowsVerification() bool {
	return slices.ContainsFunc(p.Waiting, func(s Step) bool { return s.Kind == KindShowVerification })
}

// Note is something that an operator should know about the written order.
type Note struct {
	Line int    `json:"line"`
	Text string `json:"text"`
}

// In is the note as one line, with its place in the file that the plan was read from.
func (n Note) In(file string) string { return fmt.Sprintf("%s:%d: %s", file, n.Line, n.Text) }
