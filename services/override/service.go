package override

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
)

// MaxSize is how large the values of a revision may be, in bytes of JSON.
const MaxSize = 64 << 10

// followLimit is how long a save waits for this process to go by it.
const followLimit = 5 * time.Second

// source is the part that settings.changed comes from.
const source = "/usher/settings"

// Store keeps the revisions for ever.
type Store interface {
	// SaveSettings stores a revision with its event if r.Number-1 is the newest, or
	// gives [Stale].
	SaveSettings(ctx context.Context, r Revision, e events.Event) error
	// NewestSettings gives the newest revision; the zero one if there is none.
	NewestSettings(ctx context.Context) (Revision, error)
	// SettingsBefore gives the revisions below a number, the newest first; 0 is
	// above all of them.
	SettingsBefore(ctx context.Context, before int64, limit int) ([]Revision, error)
}

// Service shows, saves and takes back settings. All fields are needed but Saved.
type Service struct {
	Store         Store
	Configuration Configuration
	Follower      Follower
	// Saved is told after each commit.
	Saved func()
	Now   func() time.Time
}

// Snapshot is all settings at one revision, and what they do.
type Snapshot struct {
	Revision Revision `json:"revision"`
	// InForce is the number of the revision in force, 0 where it is the file alone,
	// see [InForce]. Settings and Effect are its.
	InForce  int64   `json:"in_force"`
	Settings []State `json:"settings"`
	Effect   Effect  `json:"effect"`
	// Refused says why Revision is not the one in force.
	Refused []string `json:"refused,omitempty"`
	// Unknown are saved names that no setting has: the next save drops them.
	Unknown []string `json:"unknown,omitempty"`
}

// Change is what somebody wants to be otherwise: values to set, and names of
// settings that are to be as the file says.
type Change struct {
	Set   Values   `json:"set"`
	Reset []string `json:"reset"`
}

// Preview is what a change would make of the settings, and of what they do.
type Preview struct {
	Settings []State `json:"settings"`
	Today    Effect  `json:"today"`
	// After is empty when the change is refused.
	After   Effect   `json:"after"`
	Refused []string `json:"refused"`
}

// Current gives the settings as they are. This process goes by them then.
func (s *Service) Current(ctx context.Context) (Snapshot, error) {
	now, err := s.Follower.Follow(ctx)
	if err != nil {
		return Snapshot{}, fmt.Errorf("current settings: %w", err)
	}
	effect, err := s.Configuration.Effect(ctx, now.Values)
	if err != nil {
		return Snapshot{}, fmt.Errorf("effect of settings: %w", err)
	}
	return Snapshot{
		Revision: now.Newest, InForce: now.Number, Settings: s.Configuration.Settings(now.Values), Effect: effect,
		Refused: now.Refused, Unknown: now.Unknown,
	}, nil
}

// Preview gives what a change of what is in force would do, as Save would make it. It
// changes nothing.
func (s *Service) Preview(ctx context.Context, c Change) (Preview, error) {
	now, err := s.Follower.Follow(ctx)
	if err != nil {
		return Preview{}, fmt.Errorf("preview settings: %w", err)
	}
	p := Preview{After: NoEffect(), Refused: []string{}}
	if p.Today, err = s.Configuration.Effect(ctx, now.Values); err != nil {
		return Preview{}, fmt.Errorf("effect of settings: %w", err)
	}
	values, err := s.changed(now, c)
	if err == nil {
		p.After, err = s.Configuration.Effect(ctx, values)
	}
	if err == nil {
		err = sameHooks(p.Today, p.After)
	}
	var refused *Refused
	switch {
	case errors.As(err, &refused):
		p.Settings, p.After, p.Refused = s.Configuration.Settings(now.Values), NoEffect(), refused.Reasons
	case err != nil:
		return Preview{}, fmt.Errorf("preview settings: %w", err)
	default:
		p.Settings = s.Configuration.Settings(values)
	}
	return p, nil
}

// NoEffect is the effect of nothing.
func NoEffect() Effect {
	return Effect{Rows: []Row{}, Answers: []Answer{}, Background: map[string][]string{}, Warnings: []string{}}
}

// Save makes a new revision of what is in force with a change, and returns once this
// process goes by it. The error is [Stale] when the newest revision is not the one
// that was seen, [Refused] when the change could not hold, or when the newest cannot be
// read: what it held is not to be lost unseen.
func (s *Service) Save(ctx context.Context, seen int64, c Change, by audit.Author) (Snapshot, error) {
	now, err := s.Follower.Follow(ctx)
	if err != nil {
		return Snapshot{}, fmt.Errorf("save settings: %w", err)
	}
	if now.Newest.Number != seen {
		return Snapshot{}, &Stale{now.Newest}
	}
	values, err := s.changed(now, c)
	if err != nil {
		return Snapshot{}, err
	}
	today, err := s.Configuration.Effect(ctx, now.Values)
	if err != nil {
		return Snapshot{}, fmt.Errorf("effect of settings: %w", err)
	}
	after, err := s.Configuration.Effect(ctx, values)
	if err != nil {
		return Snapshot{}, fmt.Errorf("save settings: %w", err)
	}
	if err := sameHooks(today, after); err != nil {
		return Snapshot{}, err
	}
	return s.save(ctx, "saved", now.Newest, values, after, by)
}

// sameHooks refuses what would change which hooks run from events: no setting may,
// but a list of hooks that a setting empties may let another list count.
func sameHooks(today, after Effect) error {
	var reasons []string
	for method, hooks := range after.Background {
		for _, hook := range hooks {
			if !slices.Contains(today.Background[method], hook) {
				reasons = append(reasons, fmt.Sprintf("with %s, %s would run, which does not today: the list of hooks for that method would be empty, and the one for all methods would count; change the lists in the file instead", method, hook))
			}
		}
		for _, hook := range today.Background[method] {
			if !slices.Contains(hooks, hook) {
				reasons = append(reasons, fmt.Sprintf("with %s, %s would run no more: change the lists in the file instead", method, hook))
			}
		}
	}
	if len(reasons) > 0 {
		slices.Sort(reasons)
		return &Refused{reasons}
	}
	return nil
}

// Revert makes a new revision with the values of an earlier one; 0 is nothing
// saved. Its errors are those of Save, [ErrNoRevision] and [ErrDamaged].
func (s *Service) Revert(ctx context.Context, seen, to int64, by audit.Author) (Snapshot, error) {
	newest, err := s.newest(ctx, seen)
	if err != nil {
		return Snapshot{}, err
	}
	earlier := Revision{Values: Values{}}
	if to != 0 {
		found, err := s.Store.SettingsBefore(ctx, to+1, 1)
		switch {
		case err != nil:
			return Snapshot{}, fmt.Errorf("revert settings: %w", err)
		case to < 0 || len(found) == 0 || found[0].Number != to:
			return Snapshot{}, ErrNoRevision
		case found[0].Damaged:
			return Snapshot{}, ErrDamaged
		}
		earlier = found[0]
	}
	values, _ := earlier.Values.split(s.known)
	effect, err := s.Configuration.Effect(ctx, values)
	if err != nil {
		return Snapshot{}, fmt.Errorf("revert settings: %w", err)
	}
	return s.save(ctx, "reverted", newest, values, effect, by)
}

// History gives revisions below a number, the newest first; 0 is above all.
func (s *Service) History(ctx context.Context, before int64, limit int) ([]Revision, error) {
	found, err := s.Store.SettingsBefore(ctx, before, limit)
	if err != nil {
		return nil, fmt.Errorf("history of settings: %w", err)
	}
	return found, nil
}

// newest gives the newest revision if it is the one that was seen.
func (s *Service) newest(ctx context.Context, seen int64) (Revision, error) {
	newest, err := s.Store.NewestSettings(ctx)
	if err != nil {
		return newest, fmt.Errorf("newest settings: %w", err)
	}
	if newest.Number != seen {
		return newest, &Stale{newest}
	}
	return newest, nil
}

// save stores values, which have an effect, behind a revision and follows.
func (s *Service) save(ctx context.Context, action string, newest Revision, values Values, effect Effect, by audit.Author) (Snapshot, error) {
	if text, err := json.Marshal(values); err != nil || len(text) > MaxSize {
		return Snapshot{}, &Refused{[]string{fmt.Sprintf("want %d bytes at most", MaxSize)}}
	}
	r := Revision{Number: newest.Number + 1, Values: values, Actor: by.Actor, At: s.Now().UTC().Truncate(time.Microsecond)}
	told := events.SettingsChanged{Action: action, Revision: r.Number, Changed: Differ(newest.Values, values)}
	if err := s.Store.SaveSettings(ctx, r, events.New(told, r.At, by.About(source))); err != nil {
		return Snapshot{}, fmt.Errorf("save settings: %w", err)
	}
	if s.Saved != nil {
		s.Saved()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), followLimit)
	defer cancel()
	now, err := s.Current(ctx)
	if err != nil { // it is saved all the same
		now = Snapshot{Revision: r, InForce: r.Number, Settings: s.Configuration.Settings(values), Effect: effect, Refused: []string{
			"it is saved, and will be in force when the database can be read again",
		}}
	}
	return now, nil
}

// known tells whether there is such a setting.
func (s *Service) known(name string) bool {
	return slices.ContainsFunc(s.Configuration.Settings(nil), func(one State) bool { return one.Name == name })
}

// changed gives the values in force with a change of them, or [Refused].
func (s *Service) changed(from InForce, c Change) (Values, error) {
	if n := from.Newest; n.Damaged {
		return nil, &Refused{[]string{fmt.Sprintf(
			"revision %d cannot be read, so what it held would be lost unseen: first take an earlier revision back, or 0 for what the file says", n.Number,
		)}}
	}
	values := maps.Clone(from.Values)
	if values == nil {
		values = Values{}
	}
	known := map[string]State{}
	for _, one := range s.Configuration.Settings(nil) {
		known[one.Name] = one
	}
	var reasons []string
	for _, name := range c.Reset {
		if known[name].Name == "" && !slices.Contains(from.Unknown, name) {
			reasons = append(reasons, unknown(name, known))
		}
		delete(values, name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Set)) {
		one, ok := known[name]
		switch {
		case !ok:
			reasons = append(reasons, unknown(name, known))
			continue
		case one.Source == Locked:
			reasons = append(reasons, name+": console.locked of the configuration file names it: only there it is changed")
			continue
		case slices.Contains(c.Reset, name):
			reasons = append(reasons, name+": either set or reset it")
			continue
		}
		v, err := one.Accept(c.Set[name])
		if err != nil {
			reasons = append(reasons, name+": "+err.Error())
			continue
		}
		values[name] = v
	}
	if len(reasons) == 0 && len(c.Set)+len(c.Reset) == 0 {
		reasons = append(reasons, "nothing is to be set or reset")
	}
	if len(reasons) > 0 {
		return nil, &Refused{reasons}
	}
	return values, nil
}

func unknown(name string, known map[string]State) string {
	return fmt.Sprintf("%.100q is no setting: want one of %v", name, slices.Sorted(maps.Keys(known)))
}

// Differ gives the names that two sets of values have otherwise, sorted.
func Differ(a, b Values) []string {
	names := []string{}
	for name := range a {
		if v, ok := b[name]; !ok || !reflect.DeepEqual(v, a[name]) {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
