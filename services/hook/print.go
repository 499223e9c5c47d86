package hook

import (
	"fmt"
	"strings"
)

// Row is a line of the plan when it is printed as a table.
type Row struct {
	When string `json:"when"`
	Step string `json:"step"`
	// Line of the configuration file, 0 for what is not written there.
	Line int `json:"line,omitempty"`
}

// Rows gives the plan from the first step to the last. Background hooks follow
// what writes the answer, though they may run at the same time.
func (p Plan) Rows() []Row {
	var rows []Row
	add := func(when string, steps []Step) {
		for _, s := range steps {
			rows = append(rows, Row{When: when, Step: s.String(), Line: s.Line})
		}
	}
	add("before the commit", p.Before)
	add("before the answer", p.Waiting)
	if p.Session.On {
		add("last in the answer", []Step{{Kind: p.Session.kind(), Line: p.Session.Line}})
	}
	add("from the event", p.Background)
	return rows
}

// String names the hook, and says what follows when a worker does not answer.
func (s Step) String() string {
	if s.Kind == KindWorker {
		return fmt.Sprintf("%s (no answer in %s: %s)", s.name(), s.Timeout, s.OnMissing)
	}
	return s.name()
}

// name is the hook's kind, and whom it calls.
func (s Step) name() string { return strings.TrimSpace(s.Kind + " " + s.Endpoint) }

func (s Session) kind() string {
	kind := KindSession
	if s.ByItself {
		kind += " (by itself)"
	}
	if s.Bypass {
		kind += " (bypasses verification, once)"
	}
	return kind
}

// Warnings says in plain words what is dangerous about the plan. Mitigate is
// security.account_enumeration.mitigate.
func (p Plan) Warnings(mitigate bool) []string {
	if !p.Session.On || mitigate {
		return nil
	}
	return []string{"method " + p.Method + " has the session step, and security.account_enumeration.mitigate is false: " +
		"anybody can tell a taken address from a new one by the answer, since only a new one is signed in"}
}
