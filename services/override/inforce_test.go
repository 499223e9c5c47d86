package override_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/usher-auth/usher/services/override"
)

// What is in force is the newest revision that holds, whatever was before.
func TestChoose(t *testing.T) {
	t.Parallel()
	good := func(n int64) override.Revision {
		return override.Revision{Number: n, Values: override.Values{"good": true}}
	}
	bad := func(n int64) override.Revision {
		return override.Revision{Number: n, Values: override.Values{"bad": true}}
	}
	damaged := override.Revision{Number: 3, Damaged: true}
	away := errors.New("away")
	for name, tt := range map[string]struct {
		newest  override.Revision
		earlier []override.Revision
		failing error
		number  int64
		refused int
		err     error
	}{
		"nothing saved":    {newest: override.Revision{}},
		"newest holds":     {newest: good(3), failing: away, number: 3},
		"an earlier holds": {newest: bad(3), earlier: []override.Revision{bad(2), good(1)}, number: 1, refused: 1},
		"the newest first": {newest: bad(3), earlier: []override.Revision{good(2), good(1)}, number: 2, refused: 1},
		"none holds":       {newest: bad(2), earlier: []override.Revision{bad(1)}, refused: 1},
		"only one, bad":    {newest: bad(1), failing: away, refused: 1},
		"damaged":          {newest: damaged, earlier: []override.Revision{good(2)}, number: 2, refused: 1},
		"cannot be read":   {newest: bad(3), failing: away, err: away},
	} {
		earlier := func(_ context.Context, before int64, _ int) ([]override.Revision, error) {
			if before != tt.newest.Number {
				t.Errorf("%s: asked below %d", name, before)
			}
			return tt.earlier, tt.failing
		}
		known := func(name string) bool { return name != "colour" }
		hold := func(v override.Values) error {
			if v["bad"] != nil {
				return errors.New("it clashes")
			}
			return nil
		}
		got, err := override.Choose(t.Context(), tt.newest, earlier, known, hold)
		if !errors.Is(err, tt.err) || err == nil && (got.Number != tt.number || len(got.Refused) != tt.refused || got.Newest.Number != tt.newest.Number) {
			t.Errorf("%s: Choose = %+v, %v; want revision %d", name, got, err, tt.number)
		}
	}
}

func TestChooseNeedsAFileThatHolds(t *testing.T) {
	t.Parallel()
	broken := errors.New("no schema")
	_, err := override.Choose(t.Context(), override.Revision{}, nil, func(string) bool { return true }, func(override.Values) error { return broken })
	if !errors.Is(err, broken) {
		t.Errorf("Choose = %v, want why the file alone does not hold", err)
	}
}

func TestChooseLeavesUnknownNamesOut(t *testing.T) {
	t.Parallel()
	r := override.Revision{Number: 1, Values: override.Values{"good": true, "colour": "red"}}
	got, err := override.Choose(t.Context(), r, nil, func(name string) bool { return name == "good" }, func(override.Values) error { return nil })
	if err != nil || got.Number != 1 || len(got.Values) != 1 || !slices.Equal(got.Unknown, []string{"colour"}) || len(r.Values) != 2 {
		t.Errorf("Choose = %+v, %v", got, err)
	}
}

// What is shown before a save and what is saved are made from the same.
func TestPreviewAndSaveBuildOnWhatIsInForce(t *testing.T) {
	t.Parallel()
	d := &desk{rows: []override.Revision{{Number: 1, Damaged: true}}}
	var refused *override.Refused
	if _, err := d.service().Save(t.Context(), 1, off, ann); !errors.As(err, &refused) || len(d.rows) != 1 {
		t.Errorf("Save upon what cannot be read = %v, %d rows", err, len(d.rows))
	}
	if p, err := d.service().Preview(t.Context(), off); err != nil || len(p.Refused) != 1 {
		t.Errorf("Preview upon it = %q, %v", p.Refused, err)
	}
	if _, err := d.service().Revert(t.Context(), 1, 0, ann); err != nil {
		t.Errorf("Revert = %v, want that it goes on", err)
	}
}
