package hook

import (
	"fmt"
	"slices"
)

// Compile places the configured hooks of a method.
//
// The web_hooks come from the method's list if that holds any, else from the
// global one. Session and show_verification_ui do not count in that choice, so
// turning them on or off moves no other hook. Neither does the flow type: it is
// not asked for.
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
		case c.Timing == Refusing:
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

// chosen gives what runs besides session: the web_hooks of the list that runs,
// and show_verification_ui where it stands.
func chosen(l Lists) []Configured {
	hooks := slices.DeleteFunc(slices.Clone(l.Method), func(c Configured) bool { return c.Kind == KindSession })
	if !slices.ContainsFunc(hooks, isWebHook) {
		hooks = append(hooks, webHooks(l.Global)...)
	}
	if l.ShowVerification {
		hooks = append(hooks, Configured{Kind: KindShowVerification})
	}
	return hooks
}

func webHooks(list []Configured) []Configured {
	return slices.DeleteFunc(slices.Clone(list), func(c Configured) bool { return !isWebHook(c) })
}

func isWebHook(c Configured) bool { return c.Kind == KindWebHook }

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
		case c.Timing == Refusing:
			does = "may refuse the registration or change the identity, so it runs before the commit"
		case c.Timing == Waiting:
			does = "may turn the answer into an error, so it runs before session"
		default:
			continue
		}
		notes = append(notes, Note{Line: c.Line, Text: fmt.Sprintf(
			"%s is written behind session%s but %s: write it above session",
			c.step(), inLine(list[first].Line), does)})
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
