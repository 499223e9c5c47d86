// Package override is about the settings that operators save: they lie over the
// configuration file, in the database, and every instance follows them. Each save is
// a revision of its own, made from the one that the operator saw.
//
//	settings of a revision → preview (plans today, after) → save → every instance follows
//
// In force is the newest revision, or the file alone where that does not hold, see
// [Choose]: a function of the two, not of what a process was doing when they changed.
package override

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Values are saved settings by name. What is not in it is as the file says.
type Values map[string]any

// Names of settings that are no key of the file: each stands for what is written
// in several lists.
const (
	// SignIn is "Sign In After Registration": false takes session out of the list
	// of every method, true puts it into those that lack it.
	SignIn = "sign_in_after_registration"
	// SocialSignIn lets social sign-in issue the session by itself, where its list
	// has no session: auto_session.
	SocialSignIn = "social_sign_in_by_itself"
	// Gate is the verification gate: require_verified_address in the login's lists.
	Gate = "require_verified_address"
)

// Kind says what the values of a setting are.
type Kind string

// The kinds. A duration is text such as "24h0m0s", as [time.Duration] prints it.
const (
	Switch   Kind = "switch"   // true or false
	Choice   Kind = "choice"   // one of Choices
	Duration Kind = "duration" // from Min to Max
)

// Setting is one thing that operators may set.
type Setting struct {
	// Name is a key of the file, or one of the names above.
	Name    string        `json:"name"`
	Label   string        `json:"label"`
	Help    string        `json:"help"`
	Kind    Kind          `json:"kind"`
	Choices []string      `json:"choices,omitempty"`
	Min     time.Duration `json:"-"`
	Max     time.Duration `json:"-"`
}

// Wanted says in words what values there are, such as "true or false".
func (s Setting) Wanted() string {
	switch s.Kind {
	case Switch:
		return "true or false"
	case Choice:
		return strings.Join(s.Choices, " or ")
	default:
		return ShortDuration(s.Min) + " to " + ShortDuration(s.Max)
	}
}

// ParseDuration reads a duration as [time.ParseDuration] does, or in days such as 7d.
func ParseDuration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n <= 36500 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	return time.ParseDuration(text)
}

// ShortDuration is d without the units that are zero: 24h, not 24h0m0s.
func ShortDuration(d time.Duration) string {
	text := d.String()
	if rest, ok := strings.CutSuffix(text, "m0s"); ok {
		text = rest + "m"
	}
	if rest, ok := strings.CutSuffix(text, "h0m"); ok {
		text = rest + "h"
	}
	return text
}

// Accept gives a value as it is kept, or an error that says what is wanted.
func (s Setting) Accept(v any) (any, error) {
	wrong := fmt.Errorf("want %s", s.Wanted())
	if s.Kind == Switch {
		if _, ok := v.(bool); !ok {
			return nil, wrong
		}
		return v, nil
	}
	text, ok := v.(string)
	if s.Kind == Choice {
		if !ok || !slices.Contains(s.Choices, text) {
			return nil, wrong
		}
		return text, nil
	}
	d, err := ParseDuration(text)
	if err != nil {
		return nil, fmt.Errorf("%w, such as 1h30m or 7d", wrong)
	}
	if d < s.Min || d > s.Max {
		return nil, fmt.Errorf("%w, not %s", wrong, ShortDuration(d))
	}
	return d.String(), nil
}

// Source says where a value in force comes from.
type Source string

// The sources.
const (
	FromFile Source = "file" // or its default
	Saved    Source = "saved"
	Locked   Source = "locked" // console.locked names it: the file's value counts
)

// State is a setting and its value in force.
type State struct {
	Setting
	// Range is [Setting.Wanted].
	Range  string `json:"range"`
	Value  any    `json:"value"`
	File   any    `json:"file"` // what counts when nothing is saved
	Source Source `json:"source"`
	// Partly are the methods for which a switch is on though Value is false: the file
	// has it in some lists. To save either value changes something then.
	Partly []string `json:"partly,omitempty"`
}

// Names of what a switch stands at.
const (
	On     = "on"
	Off    = "off"
	Partly = "partly"
)

// Standing is what a switch stands at, for those that show nothing else of a setting.
type Standing struct {
	Stands string `json:"stands"`
	// Methods are those for which it is on where it stands at [Partly].
	Methods []string `json:"methods,omitempty"`
}

// Stands says what a switch stands at: [On], [Off] or [Partly].
func (s State) Stands() string {
	switch {
	case s.Value == true:
		return On
	case len(s.Partly) > 0:
		return Partly
	}
	return Off
}

// Revision is what was saved at one time. The zero Revision is that of an
// installation where nothing was saved.
type Revision struct {
	Number int64     `json:"revision"`
	Values Values    `json:"values"`
	Actor  string    `json:"actor"`
	At     time.Time `json:"saved_at,omitzero"`
	// Damaged says that its values cannot be read; they are empty then.
	Damaged bool `json:"damaged,omitempty"`
}

// Row is one step of one flow, method and flow type.
type Row struct {
	Flow     string `json:"flow"`
	Method   string `json:"method"`
	FlowType string `json:"flow_type"`
	When     string `json:"when"`
	Step     string `json:"step"`
	Line     int    `json:"line,omitempty"`
}

// Answer is what a client of one method and flow type receives at the end of a
// successful registration.
type Answer struct {
	Method   string `json:"method"`
	FlowType string `json:"flow_type"`
	// Client says who receives it: "app", "browser (script)", "browser (page)".
	Client  string   `json:"client"`
	Fields  []string `json:"fields"`  // of the body
	Cookies []string `json:"cookies"` // that it sets, by name
	// Example is a whole answer: status line, headers, body.
	Example string `json:"example"`
}

// Effect is what a configuration does: what operators see before they save.
type Effect struct {
	Rows    []Row    `json:"rows"`
	Answers []Answer `json:"answers"`
	// Background are the hooks that run from events, by method: those that saving
	// a setting never changes.
	Background map[string][]string `json:"background"`
	Warnings   []string            `json:"warnings"`
}

// Errors that callers tell apart.
var (
	// ErrNoRevision says that there is no such revision.
	ErrNoRevision = errors.New("there is no such revision")
	// ErrDamaged says that what is stored of a revision cannot be read.
	ErrDamaged = errors.New("what was saved cannot be read")
)

// Stale says that somebody else has saved since.
type Stale struct{ Newest Revision }

func (s *Stale) Error() string {
	return fmt.Sprintf("%s has saved revision %d since", s.Newest.Actor, s.Newest.Number)
}

// Refused says why what was asked for cannot hold.
type Refused struct{ Reasons []string }

func (r *Refused) Error() string { return "refused: " + strings.Join(r.Reasons, "; ") }

// Reasons are those of a [Refused], or the error itself as the only one; none of nil.
func Reasons(err error) []string {
	var refused *Refused
	switch {
	case err == nil:
		return []string{}
	case errors.As(err, &refused):
		return refused.Reasons
	default:
		return []string{err.Error()}
	}
}

// Configuration knows what a set of saved values makes of the file. It is safe
// for concurrent use.
type Configuration interface {
	// Settings gives all settings with what v makes of them.
	Settings(v Values) []State
	// Effect gives what the file with v over it does, or [Refused].
	Effect(ctx context.Context, v Values) (Effect, error)
}
