package config

import (
	"fmt"
	"slices"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/hook"
)

// Worker declares a custom worker.
type Worker struct {
	Name string `yaml:"name"`
	// Kind is worker, or answer for one that is asked before a commit.
	Kind string `yaml:"kind,omitempty"`
	// Events are the types that it gets.
	Events []string `yaml:"events,omitempty"`
	// Traits are those that it may ask for.
	Traits []string `yaml:"traits,omitempty"`
}

// DeclaredWorkers are the workers that the file declares, by name.
func (c *Config) DeclaredWorkers() map[string]delivery.Hook {
	all := map[string]delivery.Hook{}
	for _, w := range c.Workers {
		all[w.Name] = w.hook()
	}
	return all
}

// UndeclaredAnswers are the answering workers that a hook list asks and the file
// does not declare, sorted. They may be declared to the server.
func (c *Config) UndeclaredAnswers() []string {
	declared := c.DeclaredWorkers()
	names := []string{}
	for _, list := range c.hookLists() {
		for _, h := range list.hooks {
			if h.Kind == hook.KindWorker && declared[h.Config.Name].Kind != delivery.Answer {
				names = append(names, h.Config.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (w Worker) hook() delivery.Hook {
	kind := delivery.Worker
	if w.Kind != "" {
		kind = delivery.Kind(w.Kind)
	}
	return delivery.Hook{Name: w.Name, Kind: kind, Types: w.Events, Traits: w.Traits, InFile: true}
}

func (l *loader) checkWorkers(c *Config) {
	types, seen := delivery.EventTypes(), map[string]bool{}
	for _, h := range c.DeclaredWebhooks() {
		seen[h.Name] = true
	}
	for i, w := range c.Workers {
		key := entry("workers", i)
		for n, t := range w.Events {
			l.oneOf(entry(key+".events", n), t, types...)
		}
		for n, t := range w.Traits {
			if err := delivery.CheckTrait(t); err != nil {
				l.refuseKey(entry(key+".traits", n), "%w", err)
			}
		}
		h := w.hook()
		h.Traits = nil // checked above, each by its key
		err := h.Check(func(string) bool { return true })
		switch {
		case err == nil && h.Kind == delivery.Webhook:
			err = fmt.Errorf("kind %q: want worker or answer", w.Kind)
		case err == nil && events.Reserved(w.Name):
			err = fmt.Errorf("%q is the name of a part of Usher; another name, please", w.Name)
		case err == nil && seen[w.Name]:
			err = fmt.Errorf("%q is declared already", w.Name)
		}
		if err != nil {
			l.refuseKey(key, "%w", err)
		}
		seen[w.Name] = true
	}
}
