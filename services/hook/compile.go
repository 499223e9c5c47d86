package hook

import (
	"fmt"
	"slices"
)

// Compile places the configured hooks of a method.
//
// The web_hooks come from the method's list if that holds any, else from the
// global one, and so do the workers, each kind by itself. Session and
// show_verification_ui do not count in that choice, so turning them on or off
// moves no other hook. Neither does the flow type: it is not asked for.
//
// A worker runs before the commit, whatever is said of it: it has no way to
// the answer.
func Compile(method string, l Lists) Plan {
	p := Plan{
		Method:     method,
		Before:     []Step{},
		Waiting:    []Step{},
		Background: []Step{},
		Notes:      notes(l.Method),
		Session:    session(l),
	}
	for _, c := range l.Before {
		p.Before = append(p.Before, c.step())
	}
	for _, c := range chosen(l) {
		switch {
		case c.Kind == KindShowVerification:
			if !p.ShowsVerification() {
				p.Waiting = append(p.Waiting, c.step())
			}
		case c.timing() == Refusing:
			p.Before = append(p.Before, c.step())
		case c.Timing == Waiting:
			p.Waiting = append(p.Waiting, c.step())
		case c.Timing == Background:
			if !slices.ContainsFunc(p.Background, func(s Step) bool { return s.Endpoint == c.Endpoint }) {
				p.Background = append(p.Background, c.step())
			}
		}
	}
	return p
}

// chosen gives what runs besides session: the web_hooks and the workers of the
// list that runs, and show_verification_ui where it stands.
func chosen(l Lists) []Configured {
	hooks := slices.DeleteFunc(slices.Clone(l.Method), func(c Configured) bool { return c.Kind == KindSession })
	for _, c := range calls(l.Global) {
		if !has(l.Method, c.Kind) {
			hooks = append(hooks, c)
		}
	}
	if l.ShowVerification {
		hooks = append(hooks, Configured{Kind: KindShowVerification})
	}
	return hooks
}

// calls gives the hooks that call somebody: web_hooks and workers.
func calls(list []Configured) []Configured {
	return slices.DeleteFunc(slices.Clone(list), func(c Configured) bool { return !c.calls() })
}

func (c Configured) calls() bool { return c.Kind == KindWebHook || c.Kind == KindWorker }

// timing says when a hook runs that calls somebody.
func (c Configured) timing() Timing {
	if c.Kind == KindWorker {
		return Refusing
	}
	return c.Timing
}

func session(l Lists) Session {
	s := Session{On: l.AutoSession, ByItself: l.AutoSession}
	if n := firstSession(l.Method); n >= 0 {
		s = Session{On: true, Line: l.Method[n].Line}
	}
	s.Bypass = s.On && l.Gated
	return s
}

// firstSession gives its index, or -1.
func firstSession(list []Configured) int {
	return slices.IndexFunc(list, func(c Configured) bool { return c.Kind == KindSession })
}

// notes finds what may modify the answer and is written behind session.
// Background hooks may not: they run from the event.
func notes(list []Configured) []Note {
	notes := []Note{}
	first := firstSession(list)
	if first < 0 {
		return notes
	}
	for _, c := range list[first:] {
		var does string
		switch {
		case c.Kind == KindSession:
			continue
		case c.Kind == KindShowVerification:
			does = "adds to the answer, so it runs before session"
		case c.timing() == Refusing:
			does = "may refuse the registration or change the identity, so it runs before the commit"
		case c.Timing == Waiting:
			does = "may turn the answer into an error, so it runs before session"
		default:
			continue
		}
		notes = append(notes, Note{Line: c.Line, Text: fmt.Sprintf(
			"%s is written behind session%s but %s: write it above session",
			c.step().name(), inLine(list[first].Line), does)})
	}
	return notes
}

func inLine(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (line %d)", n)
}

func (c Configured) step() Step {
	return Step{Kind: c.Kind, Endpoint: c.Endpoint, Asked: c.Asked, Line: c.Line}
}
