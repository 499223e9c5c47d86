package console

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/usher-auth/usher/services/override"
)

// draft is a form of the settings: what the operator saw, and what they want. Only
// what differs from what they saw is a change of theirs, so that a form that was
// open for long takes nothing back that others have saved.
type draft struct {
	read  bool
	seen  int64             // revision
	was   map[string]string // what they saw, by name
	want  map[string]string
	reset []string // to be as the file says
}

// Prefixes of the fields of a setting.
const (
	fieldWas   = "was:"
	fieldValue = "value:"
	fieldReset = "reset"
)

func readDraft(form url.Values) draft {
	d := draft{read: true, seen: revisionOf(form, "revision"), was: map[string]string{}, want: map[string]string{}, reset: form[fieldReset]}
	for field := range form {
		name, ok := strings.CutPrefix(field, fieldWas)
		if !ok {
			continue
		}
		d.was[name] = form.Get(field)
		d.want[name] = strings.TrimSpace(form.Get(fieldValue + name))
	}
	return d
}

// change is one of a setting: from what is in force to something else.
type change struct {
	override.State
	from, to string
	// reset says that it is to be as the file says.
	reset bool
	// fileBefore and fileAfter say of a saved revision that it has no value there:
	// what the file said then is not known.
	fileBefore, fileAfter bool
	// clash is what somebody else has made of it meanwhile, empty if nothing.
	clash string
}

// changes are what the operator wants of the settings, in their order.
func (d draft) changes(states []override.State) (all []change) {
	for _, s := range states {
		was, shown := d.was[s.Name]
		if !shown || s.Source == override.Locked {
			continue
		}
		now := standing(s)
		c := change{State: s, from: now, to: normal(s.Kind, d.want[s.Name])}
		if now == override.Partly && d.want[s.Name] == "" {
			c.to = now // neither was pressed
		}
		if slices.Contains(d.reset, s.Name) && s.Source == override.Saved {
			c.to, c.reset = textOf(s.Kind, s.File), true
		}
		if !c.reset && (c.to == normal(s.Kind, was) || c.to == now) {
			continue
		}
		if now != was {
			c.clash = now
		}
		all = append(all, c)
	}
	return all
}

// others are what somebody else has changed since the operator looked.
func (d draft) others(states []override.State) (all []change) {
	for _, s := range states {
		now := standing(s)
		if was, shown := d.was[s.Name]; shown && was != now {
			all = append(all, change{State: s, from: was, to: now})
		}
	}
	return all
}

// wanted is what the admin API is asked for.
func wanted(changes []change) override.Change {
	w := override.Change{Set: override.Values{}, Reset: []string{}}
	for _, c := range changes {
		switch {
		case c.reset:
			w.Reset = append(w.Reset, c.Name)
		case c.Kind == override.Switch:
			w.Set[c.Name] = c.to == "true"
		default:
			w.Set[c.Name] = c.to
		}
	}
	return w
}

// standing is what a setting stands at as forms hold it.
func standing(s override.State) string {
	if s.Kind == override.Switch && s.Stands() == override.Partly {
		return override.Partly
	}
	return textOf(s.Kind, s.Value)
}

// textOf is a value as forms hold it.
func textOf(kind override.Kind, value any) string {
	if value == nil {
		return ""
	}
	return normal(kind, fmt.Sprint(value))
}

// normal is the one way to write a value: what cannot be read stays as it is, for
// the admin API to refuse.
func normal(kind override.Kind, text string) string {
	switch kind {
	case override.Switch:
		if text == override.Partly {
			return text
		}
		return strconv.FormatBool(text == "true")
	case override.Duration:
		if d, err := override.ParseDuration(text); err == nil {
			return override.ShortDuration(d)
		}
	case override.Choice:
	}
	return text
}

// said is a value as people say it.
func said(kind override.Kind, text string) string {
	switch kind {
	case override.Switch:
		if text == "true" {
			return override.On
		}
		if text == override.Partly {
			return text
		}
		return override.Off
	case override.Duration:
		if d, err := override.ParseDuration(text); err == nil && d < 10*time.Second && d%time.Second == 0 {
			return fmt.Sprintf("%d s", d/time.Second) // nobody has measured it
		} else if err == nil {
			return span(d)
		}
	case override.Choice:
	}
	if text == "" {
		return "nothing"
	}
	return text
}

// between are the changes from one set of saved values to another, as the settings
// of this version say them.
func between(from, to override.Values, states []override.State) (all []change) {
	known := map[string]override.State{}
	for _, s := range states {
		known[s.Name] = s
	}
	names := maps.Clone(map[string]any(from))
	if names == nil {
		names = map[string]any{}
	}
	maps.Copy(names, to)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		s, ok := known[name]
		if !ok { // of another version
			s = override.State{Setting: override.Setting{Name: name, Label: name}}
		}
		before, wasSaved := from[name]
		after, isSaved := to[name]
		c := change{State: s, from: textOf(s.Kind, before), to: textOf(s.Kind, after), fileBefore: !wasSaved, fileAfter: !isSaved}
		if wasSaved != isSaved || c.from != c.to {
			all = append(all, c)
		}
	}
	return all
}

// before and after are the two values in words.
func (c change) before() string { return savedText(c.Kind, c.from, !c.fileBefore) }
func (c change) after() string  { return savedText(c.Kind, c.to, !c.fileAfter) }

// savedText is what a revision says of a setting, in words.
func savedText(kind override.Kind, text string, saved bool) string {
	if !saved {
		return "as the file says"
	}
	return said(kind, text)
}

// labelOf is what a setting is called.
func labelOf(s override.Setting) string {
	switch {
	case s.Name == override.SignIn:
		return "Sign In After Registration"
	case s.Label != "":
		return s.Label
	}
	return s.Name
}

// rangeOf says between what a duration must be, as people write it.
func rangeOf(s override.State) string {
	from, to, ok := strings.Cut(s.Range, " to ")
	if !ok {
		return ""
	}
	return "From " + said(s.Kind, from) + " to " + said(s.Kind, to) + "."
}
