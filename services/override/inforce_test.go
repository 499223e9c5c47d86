package override_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/usher-auth/usher/services/override"
)

// What is in force is the newest revision, or the file alone: never an earlier one.
func TestChoose(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		newest  override.Revision
		number  int64
		values  int
		refused int
	}{
		"nothing saved": {newest: override.Revision{}},
		"it holds":      {newest: override.Revision{Number: 3, Values: override.Values{"good": true}}, number: 3, values: 1},
		"it does not":   {newest: override.Revision{Number: 3, Values: override.Values{"good": true, "bad": true}}, refused: 1},
		"damaged":       {newest: override.Revision{Number: 3, Damaged: true}, refused: 1},
	} {
		hold := func(v override.Values) error {
			if v["bad"] != nil {
				return &override.Refused{Reasons: []string{"bad"}}
			}
			return nil
		}
		got, err := override.Choose(tt.newest, func(string) bool { return true }, hold)
		if err != nil || got.Number != tt.number || len(got.Values) != tt.values || len(got.Refused) != tt.refused || got.Newest.Number != tt.newest.Number {
			t.Errorf("%s: Choose = %+v, %v; want revision %d", name, got, err, tt.number)
		}
	}
}

func TestChooseNeedsAFileThatHolds(t *testing.T) {
	t.Parallel()
	broken := errors.New("no schema")
	_, err := override.Choose(override.Revision{}, func(string) bool { return true }, func(override.Values) error { return broken })
	if !errors.Is(err, broken) {
		t.Errorf("Choose = %v, want why the file alone does not hold", err)
	}
}

func TestChooseLeavesUnknownNamesOut(t *testing.T) {
	t.Parallel()
	r := override.Revision{Number: 1, Values: override.Values{"good": true, "colour": "red"}}
	got, err := override.Choose(r, func(name string) bool { return name == "good" }, func(override.Values) error { return nil })
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
