package admin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
)

// people are creations of p0@example.org and so on.
func people(count int) []admin.Creation {
	all := make([]admin.Creation, count)
	for n := range all {
		all[n] = admin.Creation{SchemaID: "person", Traits: json.RawMessage(fmt.Sprintf(`{"email":"p%d@example.org","name":{}}`, n)), Author: by}
	}
	return all
}

// outcomes are "" for what was made, in order.
func outcomes(t *testing.T, f *fakes, all []admin.Created) []string {
	t.Helper()
	said := make([]string, len(all))
	made := 0
	for n, c := range all {
		switch {
		case (c.Err == nil) == (c.Identity == nil):
			t.Errorf("result %d = %+v, want one of the two", n, c)
		case c.Err == nil:
			if !slices.Contains(f.batch, c.Identity) || c.Identity.Addresses[0].Value != fmt.Sprintf("p%d@example.org", n) {
				t.Errorf("result %d = %+v, which is not stored, or another's", n, c.Identity)
			}
			made++
		case errors.Is(c.Err, identity.ErrExists):
			said[n] = "exists"
		case errors.Is(c.Err, password.ErrBusy):
			said[n] = "busy"
		case errors.Is(c.Err, errUnavailable):
			said[n] = "unavailable"
		default:
			said[n] = "invalid"
		}
	}
	if len(f.batch) != made || len(f.events) != made {
		t.Errorf("%d stored and %d events, want %d", len(f.batch), len(f.events), made)
	}
	for n, e := range f.events {
		if e.Type != "identity.created" || e.Subject != f.batch[n].ID.String() || e.Actor != by.Actor || e.Sequence != "1" {
			t.Errorf("event %d = %+v, want that of %s", n, e, f.batch[n].ID)
		}
	}
	return said
}

func TestCreateEach(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		count   int
		change  func(*fakes, []admin.Creation)
		want    []string
		commits int
	}{
		"none":              {count: 0, want: []string{}, commits: 0},
		"all in one commit": {count: 3, want: []string{"", "", ""}, commits: 1},
		"one is invalid": {
			count: 3, change: func(_ *fakes, all []admin.Creation) { all[1].SchemaID = "none" }, want: []string{"", "invalid", ""}, commits: 1,
		},
		"one is there": {
			count: 3, change: func(f *fakes, _ []admin.Creation) { f.taken = "p0@example.org" }, want: []string{"exists", "", ""}, commits: 1,
		},
		"all are there": {
			count: 1, change: func(f *fakes, _ []admin.Creation) { f.taken = "p0@example.org" }, want: []string{"exists"}, commits: 0,
		},
		"two of one address": {
			count: 3, change: func(_ *fakes, all []admin.Creation) { all[2].Traits = all[0].Traits }, want: []string{"", "", "exists"}, commits: 1,
		},
		"two of one external id": {
			count: 3, change: func(_ *fakes, all []admin.Creation) { all[0].ExternalID, all[2].ExternalID = "7", "7" }, want: []string{"", "", "exists"}, commits: 1,
		},
		"two of which the first is invalid": {
			count: 2, change: func(_ *fakes, all []admin.Creation) {
				all[0].ExternalID, all[1].ExternalID, all[0].SchemaID = "7", "7", "none"
			}, want: []string{"invalid", ""}, commits: 1,
		},
		"somebody is faster": { // 4, 2 2, 1 1
			count: 4, change: func(f *fakes, _ []admin.Creation) { f.racers = []string{"p2@example.org"} }, want: []string{"", "", "exists", ""}, commits: 5,
		},
		"somebody is faster, and is seen": {
			count: 4, change: func(f *fakes, _ []admin.Creation) {
				f.racers, f.seen = []string{"p2@example.org", "p3@example.org"}, true
			}, want: []string{"", "", "exists", "exists"}, commits: 2,
		},
		"the store breaks in the middle": {
			count: 4, change: func(f *fakes, _ []admin.Creation) { f.racers, f.breaksAt = []string{"p3@example.org"}, 2 },
			want: []string{"unavailable", "unavailable", "", "exists"}, commits: 5,
		},
		"passwords that take too long": {
			count: 4, change: func(f *fakes, all []admin.Creation) {
				for n := range 3 {
					all[n].Password = password.New("x")
				}
				f.slow = 15 * time.Second
			}, want: []string{"", "", "busy", ""}, commits: 1,
		},
	} {
		f, all := newFakes(t), people(c.count)
		if c.change != nil {
			c.change(f, all)
		}
		got, err := f.service().CreateEach(t.Context(), all)
		if err != nil {
			t.Errorf("%s: CreateEach: %v", name, err)
			continue
		}
		if said := outcomes(t, f, got); !slices.Equal(said, c.want) || f.commits != c.commits {
			t.Errorf("%s: CreateEach gives %q in %d commits, want %q in %d", name, said, f.commits, c.want, c.commits)
		}
	}
	for name, disturb := range map[string]func(*fakes){
		"nobody can look":    func(f *fakes) { f.unavailable = errUnavailable },
		"nothing was stored": func(f *fakes) { f.breaksAt = 1 },
	} {
		f := newFakes(t)
		disturb(f)
		if got, err := f.service().CreateEach(t.Context(), people(2)); !errors.Is(err, errUnavailable) || got != nil {
			t.Errorf("%s: CreateEach = %v, %v, want %v", name, got, err, errUnavailable)
		}
	}
}

func TestCreateAll(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	made, err := f.service().CreateAll(t.Context(), people(3))
	if err != nil || f.commits != 1 || !slices.Equal(made, f.batch) || len(f.events) != 3 {
		t.Fatalf("CreateAll = %v, %v, in %d commits, want three in one", made, err, f.commits)
	}
	for name, c := range map[string]struct {
		change func(*fakes, []admin.Creation)
		want   error // nil for what is wrong with one
		index  int   // -1 for none
	}{
		"one is invalid":     {change: func(_ *fakes, all []admin.Creation) { all[1].SchemaID = "none" }, index: 1},
		"somebody is faster": {change: func(f *fakes, _ []admin.Creation) { f.racers = []string{"p2@example.org"} }, want: identity.ErrExists, index: -1},
		"one is taken": {change: func(f *fakes, _ []admin.Creation) {
			f.racers, f.taken = []string{"p2@example.org"}, "p2@example.org"
		}, want: identity.ErrExists, index: 2},
		"two are the same": {change: func(f *fakes, all []admin.Creation) {
			f.racers, all[1] = []string{"p0@example.org"}, all[0]
		}, want: identity.ErrExists, index: 1},
	} {
		f, all := newFakes(t), people(3)
		c.change(f, all)
		got, err := f.service().CreateAll(t.Context(), all)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || got != nil || len(f.batch)+len(f.events) != 0 {
			t.Errorf("%s: CreateAll = %v, %v, %d stored, want nothing but an error", name, got, err, len(f.batch))
		}
		var refused *admin.Refused
		if named := errors.As(err, &refused); named != (c.index >= 0) || named && refused.Index != c.index {
			t.Errorf("%s: CreateAll refuses %+v, want that at %d", name, refused, c.index)
		}
	}
	if made, err := newFakes(t).service().CreateAll(t.Context(), nil); made != nil || err != nil {
		t.Errorf("CreateAll of none = %v, %v, want nothing", made, err)
	}
}
