package hook

import (
	"fmt"
	"slices"
)

// Compile places the configured hooks of a method.
//
// The web_hooks come from the method's list if that holds any, else from the
// global one. Session does not count in that choice, so turning it on or off
// moves no other hook. Neither does the flow type: it is not asked for.
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
		switch c.Timing {
		case Refusing:
			p.Before = append(p.Before, c.step())
		case Waiting:
			p.Waiting = append(p.Waiting, c.step())
		case Background:
			if !slices.ContainsFunc(p.Background, func(s Step) bool { return s.Endpoint == c.Endpoint }) {
				p.Background = append(p.Background, c.step())
			}
		}
	}
	return p
}

// chosen gives the web_hooks of the list that runs.
func chosen(l Lists) []Configured {
	if hooks := webHooks(l.Method); len(hooks) > 0 {
		return hooks
	}
	return webHooks(l.Global)
}

func webHooks(list []Configured) []Configured {
	return slices.DeleteFunc(slices.Clone(list), func(c Configured) bool { return c.Kind != KindWebHook })
}

func session(l Lists) Session {
	if n := firstSession(l.Method); n >= 0 {
		return Session{On: true, Line: l.Method[n].Line}
	}
	return Session{On: l.AutoSession, ByItself: l.AutoSession}
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
		case c.Kind != KindWebHook:
			continue
		case c.Timing == Refusing:
			does = "may refuse the registration or change the identity, so it runs before the commit"
		case c.Timing == Waiting:
			does = "may turn the answer into an error, so it runs before session"
		default:
			continue
		}
		notes = append(notes, Note{Line: c.Line, Text: fmt.Sprintf(
			"%s %s is written behind session%s but %s: write it above session",
			c.Kind, c.Endpoint, inLine(list[first].Line), does)})
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
	return Step{Kind: c.Kind, Endpoint: c.Endpoint, Line: c.Line}
}
