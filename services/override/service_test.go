package override_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/override"
)

// desk is a store and a process that follows it, or cannot.
type desk struct {
	rows      []override.Revision
	following error // what Follow answers
	once      bool  // it answers well the first time
	overtake  bool  // another saves between the look and the commit
	moves     bool  // the switch moves a background hook
	locked    bool
}

func (d *desk) SaveSettings(_ context.Context, r override.Revision, _ events.Event) error {
	if d.overtake {
		return &override.Stale{Newest: override.Revision{Number: r.Number, Actor: "admin:bob"}}
	}
	d.rows = append(d.rows, r)
	return nil
}

func (d *desk) NewestSettings(context.Context) (override.Revision, error) {
	if len(d.rows) == 0 {
		return override.Revision{}, nil
	}
	return d.rows[len(d.rows)-1], nil
}

func (d *desk) SettingsBefore(context.Context, int64, int) ([]override.Revision, error) {
	return d.rows, nil
}

func (d *desk) Follow(ctx context.Context) (override.InForce, error) {
	newest, _ := d.NewestSettings(ctx)
	if d.once {
		d.once = false
		return override.InForce{Newest: newest, Number: newest.Number, Values: newest.Values}, nil
	}
	return override.InForce{Newest: newest, Number: newest.Number, Values: newest.Values}, d.following
}

func (d *desk) Settings(v override.Values) []override.State {
	on := override.State{Setting: override.Setting{Name: override.SignIn, Kind: override.Switch}, Value: true, File: true}
	if value, ok := v[override.SignIn]; ok {
		on.Value, on.Source = value, override.Saved
	}
	if d.locked {
		on.Source = override.Locked
	}
	return []override.State{on}
}

func (d *desk) Effect(_ context.Context, v override.Values) (override.Effect, error) {
	e := override.NoEffect()
	if d.moves && v[override.SignIn] == false {
		e.Background["password"] = []string{"web_hook tell"}
	}
	return e, nil
}

func (d *desk) service() *override.Service {
	return &override.Service{Store: d, Configuration: d, Follower: d, Now: time.Now}
}

var (
	off = override.Change{Set: override.Values{override.SignIn: false}}
	ann = audit.Author{Actor: "admin:ann"}
)

// No setting may change which hooks run from events (P5), nor what the file keeps to
// itself, and none is saved upon a revision that is not there yet.
func TestWhatNoSaveMayDo(t *testing.T) {
	t.Parallel()
	var refused *override.Refused
	var stale *override.Stale
	d := &desk{moves: true}
	if _, err := d.service().Save(t.Context(), 0, off, ann); !errors.As(err, &refused) || !strings.Contains(err.Error(), "web_hook tell") {
		t.Errorf("Save that adds a background hook = %v, want it refused by name", err)
	}
	if p, err := d.service().Preview(t.Context(), off); err != nil || len(p.Refused) != 1 {
		t.Errorf("Preview of it = %q, %v, want it refused", p.Refused, err)
	}
	d.locked, d.moves = true, false
	if _, err := d.service().Save(t.Context(), 0, off, ann); !errors.As(err, &refused) {
		t.Errorf("Save of what is locked = %v, want it refused", err)
	}
	d.locked = false
	for _, seen := range []int64{1, -1} {
		if _, err := d.service().Save(t.Context(), seen, off, ann); !errors.As(err, &stale) {
			t.Errorf("Save upon revision %d = %v, want that it is not the newest", seen, err)
		}
	}
	if len(d.rows) != 0 {
		t.Errorf("%d revisions were stored", len(d.rows))
	}
	d.rows = []override.Revision{{Number: 1, Damaged: true}}
	if _, err := d.service().Revert(t.Context(), 1, 1, ann); !errors.Is(err, override.ErrDamaged) || len(d.rows) != 1 {
		t.Errorf("Revert to what cannot be read = %v, want %v", err, override.ErrDamaged)
	}
}

// It is saved then: to call it an error would have the operator save once more.
func TestSavedThoughTheProcessCannotFollow(t *testing.T) {
	t.Parallel()
	d := &desk{following: errors.New("the database is away"), once: true}
	now, err := d.service().Save(t.Context(), 0, off, ann)
	if err != nil || now.Revision.Number != 1 || now.Settings[0].Value != false || len(now.Refused) != 1 {
		t.Errorf("Save = %+v, %v; want what was saved, and that it is not in force yet", now, err)
	}
}

func TestWhoIsOvertakenIsTold(t *testing.T) {
	t.Parallel()
	d := &desk{overtake: true}
	var stale *override.Stale
	if _, err := d.service().Save(t.Context(), 0, off, ann); !errors.As(err, &stale) || stale.Newest.Actor != "admin:bob" {
		t.Errorf("Save = %v, want who has saved meanwhile", err)
	}
	if _, err := d.service().Revert(t.Context(), 7, 0, ann); !errors.As(err, &stale) {
		t.Errorf("Revert of a revision that is not there = %v, want that it is not the newest", err)
	}
}

func TestSavedIsToldAfterTheCommitOnly(t *testing.T) {
	t.Parallel()
	d, told := &desk{}, 0
	s := d.service()
	s.Saved = func() { told++ }
	if _, err := s.Save(t.Context(), 0, override.Change{Set: override.Values{"colour": "red"}}, ann); err == nil || told != 0 {
		t.Errorf("Save of nonsense = %v, told %d times", err, told)
	}
	if _, err := s.Save(t.Context(), 0, off, ann); err != nil || told != 1 {
		t.Errorf("Save = %v, told %d times, want once", err, told)
	}
}

func TestAccept(t *testing.T) {
	t.Parallel()
	on := override.Setting{Kind: override.Switch}
	choice := override.Setting{Kind: override.Choice, Choices: []string{"degrade", "fail"}}
	life := override.Setting{Kind: override.Duration, Min: time.Second, Max: time.Hour}
	for _, tt := range []struct {
		setting override.Setting
		value   any
		want    any // text of an error: what it holds
	}{
		{on, true, true},
		{on, "true", "want true or false"},
		{on, nil, "want true or false"},
		{on, 1.0, "want true or false"},
		{choice, "fail", "fail"},
		{choice, "Fail", "want degrade or fail"},
		{choice, []any{"fail"}, "want degrade or fail"},
		{life, "0d", "want 1s to 1h"},
		{life, "90s", "1m30s"},
		{life, "1h", "1h0m0s"},
		{life, "61m", "want 1s to 1h, not 1h1m"},
		{life, "-1s", "want 1s to 1h"},
		{life, "", "such as 1h30m"},
		{life, map[string]any{}, "such as 1h30m"},
	} {
		got, err := tt.setting.Accept(tt.value)
		if err != nil {
			if text, _ := tt.want.(string); !strings.Contains(err.Error(), text) {
				t.Errorf("Accept(%v) = %v, want %v", tt.value, err, tt.want)
			}
			continue
		}
		if got != tt.want {
			t.Errorf("Accept(%v) = %v, want %v", tt.value, got, tt.want)
		}
	}
}

func TestDiffer(t *testing.T) {
	t.Parallel()
	a, b := override.Values{"a": true, "b": "1h", "c": "x"}, override.Values{"b": "2h", "c": "x", "d": false}
	if got := override.Differ(a, b); !slices.Equal(got, []string{"a", "b", "d"}) {
		t.Errorf("Differ = %v, want a, b and d", got)
	}
	if got := override.Differ(a, a); got == nil || len(got) != 0 {
		t.Errorf("Differ of the same = %v, want none", got)
	}
}
