package delivery

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/schemas"
	"github.com/usher-auth/usher/services/webhook"
)

// Kind says what a hook is.
type Kind string

// The kinds of hooks.
const (
	// Worker is a program that takes events from its durable consumer.
	Worker Kind = "worker"
	// Webhook is an endpoint that is called over HTTP (Standard Webhooks).
	Webhook Kind = "webhook"
	// Answer is a program that answers before the commit. It has no durable consumer.
	Answer Kind = "answer"
)

// Hook is what gets events, or is asked, as it was declared. Its name is that
// of its durable consumer.
type Hook struct {
	Name string
	Kind Kind
	// Types are the event types that it gets.
	Types []string
	// Traits are the names of the traits that a worker may ask for.
	Traits []string
	// URL and Secrets are a webhook's. The secrets sign, the newest first; two
	// while they rotate.
	URL     string
	Secrets []webhook.Secret
	// Disabled says why nothing is delivered, empty if it is.
	Disabled string
	// InFile says that the configuration file declares it: only there it is changed.
	InFile bool
	// CredentialUntil is how long a credential is good that was minted with this
	// change. It is kept with the name, and not given back.
	CredentialUntil time.Time
	// ReuseName declares it although there are credentials of a former hook of the
	// name, see [NameUsed]. It is not kept.
	ReuseName bool

	CreatedAt, UpdatedAt time.Time
}

// Errors that callers tell apart.
var (
	// ErrNoHook says that no hook has that name.
	ErrNoHook = errors.New("delivery: no such hook")
	// ErrHookExists says that the name is taken.
	ErrHookExists = errors.New("delivery: a hook has that name already")
	// ErrHookChanged says that a hook is not as it was any more.
	ErrHookChanged = errors.New("delivery: the hook was changed meanwhile")
	// ErrFixed says that the hook is of the configuration file or built in, and not
	// changed here.
	ErrFixed = errors.New("delivery: the hook is declared in the configuration file, or built in")
	// ErrUnready says that a hook is declared and its durable consumer is not there
	// yet: it is made later, and no event is lost.
	ErrUnready = errors.New("delivery: the hook is declared; the bus does not have it yet")
	// ErrNoEvent says that the event log does not hold an event.
	ErrNoEvent = errors.New("delivery: the event log does not hold the event")
	// ErrNoFailure says that the hook has not failed at that event.
	ErrNoFailure = errors.New("delivery: the hook has no failure of that event")
)

// traitName is the name of a trait, which is no path.
var traitName = regexp.MustCompile(`^[^\s./\pC]+$`)

// maxTrait is the longest name of a trait.
const maxTrait = 64

// EventTypes are the types that a hook can get, by name: each has a schema.
func EventTypes() (types []string) {
	const suffix = ".schema.json"
	files, _ := fs.Glob(schemas.Events, "events/*"+suffix) // the pattern is a good one
	for _, file := range files {
		if name := strings.TrimSuffix(path.Base(file), suffix); name != "envelope" {
			types = append(types, name)
		}
	}
	return types
}

// Known tells whether an event type is one of [EventTypes].
func Known(eventType string) bool { return slices.Contains(EventTypes(), eventType) }

// Check says what is wrong with a declaration. The event types are those that
// known knows, see [Known].
func (h *Hook) Check(known func(eventType string) bool) error {
	if err := events.CheckName(h.Name); err != nil {
		return err
	}
	if !slices.Contains([]Kind{Worker, Webhook, Answer}, h.Kind) {
		return fmt.Errorf("kind %q: want worker, webhook or answer", h.Kind)
	}
	for _, t := range h.Traits {
		if err := CheckTrait(t); err != nil {
			return err
		}
	}
	if h.Kind == Answer {
		return nil
	}
	if len(h.Types) == 0 {
		return errors.New("it names no event types")
	}
	for _, t := range h.Types {
		if !known(t) {
			return fmt.Errorf("%q is no event type", t)
		}
	}
	return nil
}

// CheckTrait says what is wrong with the name of a trait that a worker may ask for.
func CheckTrait(name string) error {
	if len(name) > maxTrait || !traitName.MatchString(name) {
		return fmt.Errorf("%q: want the name of a trait at the top of the schema, such as \"email\"", name)
	}
	return nil
}

// unique is names without those that are there already, in their order.
func unique(names []string) (once []string) {
	for _, name := range names {
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	return once
}
