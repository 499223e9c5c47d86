package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/usher-auth/usher/events"
)

const (
	// hookAge is how long a hook is believed, missAge how long that there is none,
	// and what it may see: a new one may fail at once, one that is removed sees nobody.
	hookAge = 2 * time.Second
	missAge = 100 * time.Millisecond
)

// Provisioner makes durable consumers on the bus, and deletes them.
type Provisioner interface {
	// Provision makes the durable of a hook, or mends it. A new one starts with the
	// first event behind CreatedAt.
	Provision(ctx context.Context, h Hook) error
	// Remove deletes a durable; one that is gone is no error.
	Remove(ctx context.Context, name string) error
}

// Catalogue is all hooks that there are: those that are built in, those of the
// configuration file and those of the table. All fields are needed but Changed;
// it is safe for concurrent use.
//
// What is built in or in the file goes before the table, also where another
// process has another file: the file is never written into the table. Of a
// webhook in the file the table holds that it is disabled, in a row of its URL
// without secrets, which is no hook by itself.
type Catalogue struct {
	Table Hooks
	// Fixed gives the hooks that are not in the table, built in or of the file, in a
	// new map each time.
	Fixed func() map[string]Hook
	Bus   Provisioner
	Log   *slog.Logger
	Now   func() time.Time
	// Changed is told, after each change that is made here; nil is fine.
	Changed func()

	// looking is held by who reads the table. Others wait for it as long as they
	// like, and not at all if what was read is new enough.
	looking chan struct{}
	once    sync.Once
	last    atomic.Pointer[snapshot]
	changes atomic.Int64 // that were made here
}

// snapshot is all hooks as they were at a time, behind so many changes.
type snapshot struct {
	all     map[string]Hook
	rows    []Hook
	at      time.Time
	changes int64
}

// All looks now and gives all hooks, by name. The map is not to be changed.
func (c *Catalogue) All(ctx context.Context) (map[string]Hook, error) {
	all, _, err := c.look(ctx, 0)
	return all, err
}

// Hook gives a hook as it was two seconds ago at most, or [ErrNoHook].
func (c *Catalogue) Hook(ctx context.Context, name string) (Hook, error) {
	for _, age := range []time.Duration{hookAge, missAge} {
		all, _, err := c.look(ctx, age)
		if err != nil {
			return Hook{}, err
		}
		if h, ok := all[name]; ok {
			return h, nil
		}
	}
	return Hook{}, ErrNoHook
}

// Last gives all hooks as they were when anybody looked last. It asks nobody.
// The map is not to be changed.
func (c *Catalogue) Last() map[string]Hook {
	if last := c.last.Load(); last != nil {
		return last.all
	}
	return nil
}

// Declared gives the traits that a worker's declaration lists; ok is false if
// there is no such worker.
func (c *Catalogue) Declared(ctx context.Context, worker string) (traits []string, ok bool, err error) {
	all, _, err := c.look(ctx, missAge)
	h, ok := all[worker]
	return h.Traits, ok && h.Kind == Worker, err
}

// look gives all hooks, and the rows, as they were so long ago at most.
func (c *Catalogue) look(ctx context.Context, age time.Duration) (map[string]Hook, []Hook, error) {
	if last := c.fresh(age); last != nil {
		return last.all, last.rows, nil
	}
	c.once.Do(func() { c.looking = make(chan struct{}, 1) })
	select {
	case c.looking <- struct{}{}:
		defer func() { <-c.looking }()
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("declared hooks: %w", ctx.Err())
	}
	if last := c.fresh(age); last != nil { // somebody else has looked
		return last.all, last.rows, nil
	}
	now := snapshot{at: c.Now(), changes: c.changes.Load()}
	var err error
	if now.rows, err = c.Table.Hooks(ctx); err != nil {
		return nil, nil, fmt.Errorf("declared hooks: %w", err)
	}
	now.all = merge(c.Fixed(), now.rows)
	c.last.Store(&now)
	return now.all, now.rows, nil
}

// fresh gives what was read last, nil if that is older or was changed here since.
func (c *Catalogue) fresh(age time.Duration) *snapshot {
	last := c.last.Load()
	if last == nil || last.changes != c.changes.Load() || c.Now().Sub(last.at) >= age {
		return nil
	}
	return last
}

// merge adds to the fixed hooks those of the table, and which of them are disabled.
func merge(fixed map[string]Hook, rows []Hook) map[string]Hook {
	for _, row := range rows {
		h, ok := fixed[row.Name]
		switch {
		case !ok && !row.mark():
			fixed[row.Name] = row
		case ok && row.disables(h):
			h.Disabled, h.UpdatedAt = row.Disabled, row.UpdatedAt
			fixed[row.Name] = h
		}
	}
	return fixed
}

// mark tells whether a row only says whether a webhook of the file is disabled.
func (h Hook) mark() bool { return h.Kind == Webhook && len(h.Secrets) == 0 }

// disables tells whether a row says of a webhook whether it is disabled.
func (h Hook) disables(webhook Hook) bool {
	return h.Kind == Webhook && webhook.Kind == Webhook && webhook.URL != "" && h.URL == webhook.URL
}

// fixed tells whether a hook is changed in the file only, or not at all.
func (h Hook) fixed() bool { return h.InFile || h.CreatedAt.IsZero() }

// now gives a hook as it is, or [ErrNoHook].
func (c *Catalogue) now(ctx context.Context, name string) (Hook, error) {
	all, err := c.All(ctx)
	if err != nil {
		return Hook{}, err
	}
	h, ok := all[name]
	if !ok {
		return Hook{}, ErrNoHook
	}
	return h, nil
}

// create declares a hook. The error is [ErrHookExists], [*NameUsed], or
// [ErrUnready] with a hook that is declared.
func (c *Catalogue) create(ctx context.Context, h Hook, said events.Event) error {
	if _, err := c.now(ctx, h.Name); !errors.Is(err, ErrNoHook) {
		if err == nil {
			err = ErrHookExists
		}
		return err
	}
	if err := c.Table.CreateHook(ctx, h, said); err != nil {
		return fmt.Errorf("create hook %q: %w", h.Name, err)
	}
	defer c.changed()
	if h.Kind == Answer {
		return nil
	}
	if err := c.Bus.Provision(ctx, h); err != nil {
		return fmt.Errorf("%w: %w", ErrUnready, err)
	}
	return nil
}

// own gives a hook of the table as it is. The error is [ErrNoHook], [ErrFixed] or
// refuse's, if that says why not.
func (c *Catalogue) own(ctx context.Context, name string, refuse func(Hook) error) (Hook, error) {
	h, err := c.now(ctx, name)
	if err == nil {
		err = refuse(h)
	}
	if err == nil && h.fixed() {
		err = ErrFixed
	}
	return h, err
}

// update changes a hook of the table, again if another process has changed it
// meanwhile. The error is that of [Catalogue.own], or change's.
func (c *Catalogue) update(ctx context.Context, name string, said events.Event, refuse func(Hook) error, change func(*Hook) error) error {
	return c.persist(name, func() error {
		former, err := c.own(ctx, name, refuse)
		if err != nil {
			return err
		}
		h := former
		if err := change(&h); err != nil {
			return err
		}
		return c.save(ctx, former, h, said)
	})
}

// disable says why nothing is delivered to a webhook; the empty reason ends
// that. One that is not as wanted is left alone. The error is [ErrNoHook].
func (c *Catalogue) disable(ctx context.Context, name, why string, said events.Event, wanted func(Hook) bool) error {
	return c.persist(name, func() error {
		all, rows, err := c.look(ctx, 0)
		if err != nil {
			return err
		}
		h := all[name]
		switch {
		case h.URL == "":
			return ErrNoHook
		case h.Disabled == why || !wanted(h):
			return nil
		}
		at := slices.IndexFunc(rows, func(row Hook) bool { return row.Name == name && row.disables(h) })
		if at >= 0 {
			row := rows[at]
			row.Disabled = why
			return c.save(ctx, rows[at], row, said)
		}
		h.Secrets, h.Disabled, h.CreatedAt, h.UpdatedAt, h.ReuseName = nil, why, c.Now(), c.Now(), true
		if err := c.Table.CreateHook(ctx, h, said); err != nil {
			return err
		}
		c.changed()
		return nil
	})
}

// save replaces a row that is still as it was.
func (c *Catalogue) save(ctx context.Context, former, h Hook, said events.Event) error {
	h.UpdatedAt = c.Now()
	if least := former.UpdatedAt.Add(time.Microsecond); h.UpdatedAt.Before(least) {
		h.UpdatedAt = least // or nobody would see that it has changed
	}
	if err := c.Table.UpdateHook(ctx, former.UpdatedAt, h, said); err != nil {
		return err
	}
	c.changed()
	return nil
}

// persist changes again what another process has changed meanwhile.
func (c *Catalogue) persist(name string, change func() error) (err error) {
	for range saveTries {
		err = change()
		if !errors.Is(err, ErrHookChanged) && !errors.Is(err, ErrHookExists) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("hook %q: %w", name, err)
	}
	return nil
}

// remove removes a hook of the table with its failures, unless refuse says why
// not. Where the bus is away its durable consumer goes once the bus is back:
// whoever leads sees to it. The error is that of [Catalogue.own].
func (c *Catalogue) remove(ctx context.Context, name string, said events.Event, refuse func(Hook) error) error {
	if _, err := c.own(ctx, name, refuse); err != nil {
		return err
	}
	if err := c.Table.DeleteHook(ctx, name, said); err != nil {
		return fmt.Errorf("remove hook %q: %w", name, err)
	}
	defer c.changed()
	if err := c.Bus.Remove(ctx, name); err != nil {
		c.Log.WarnContext(ctx, "the durable consumer of a removed hook is still there, and is deleted once the bus is", "hook", name, "err", err)
	}
	return nil
}

// changed lets whoever asks next look again, and tells that there is something new.
func (c *Catalogue) changed() {
	c.changes.Add(1)
	if c.Changed != nil {
		c.Changed()
	}
}
