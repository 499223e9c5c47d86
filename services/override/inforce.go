package override

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// InForce is what a process goes by. It follows from the configuration file and the
// revisions alone, see [Choose].
type InForce struct {
	Newest Revision
	// Number is the revision in force: that of Newest, an earlier one where Newest was
	// refused, 0 where it is the file alone.
	Number int64
	// Values are those in force, and what the next save is made from.
	Values Values
	// Unknown are names in the revision in force that no setting of this version has:
	// a newer version's, or written by hand. They are left out of Values, and the next
	// save drops them.
	Unknown []string
	// Refused says why Newest is not in force.
	Refused []string
}

// Follower puts the newest revision that holds in force in this process.
type Follower interface {
	// Follow returns once what was saved before the call is in force, or refused.
	Follow(ctx context.Context) (InForce, error)
}

// furthestBack is how many revisions before the newest are tried.
const furthestBack = 100

// Earlier gives the revisions below a number, the newest first.
type Earlier func(ctx context.Context, before int64, limit int) ([]Revision, error)

// Choose gives what is to be in force: the newest revision that holds with the file,
// of the newest hundred, or the file alone. So all processes with the same file go by
// the same, whether they start, follow or read the file again, and in whatever order
// the two were changed. hold says why values do not hold with the file, known tells
// whether this version has a setting. An error says that the file alone does not
// hold, or that the earlier revisions cannot be read.
func Choose(ctx context.Context, newest Revision, earlier Earlier, known func(name string) bool, hold func(Values) error) (InForce, error) {
	chosen, err := try(newest, known, hold)
	if err == nil {
		chosen.Newest = newest
		return chosen, nil
	}
	refused := Reasons(err)
	var rest []Revision
	if newest.Number > 1 {
		if rest, err = earlier(ctx, newest.Number, furthestBack); err != nil {
			return InForce{}, fmt.Errorf("earlier revisions of the settings: %w", err)
		}
	}
	for _, r := range append(rest, Revision{Values: Values{}}) {
		if chosen, err = try(r, known, hold); err == nil {
			chosen.Newest, chosen.Refused = newest, refused
			return chosen, nil
		}
	}
	return InForce{}, err
}

func try(r Revision, known func(string) bool, hold func(Values) error) (InForce, error) {
	if r.Damaged {
		return InForce{}, ErrDamaged
	}
	values, unknown := r.Values.split(known)
	return InForce{Number: r.Number, Values: values, Unknown: unknown}, hold(values)
}

// split gives the values that settings have, and the names of the others, sorted.
func (v Values) split(known func(string) bool) (values Values, unknown []string) {
	values = Values{}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if known(name) {
			values[name] = v[name]
		} else {
			unknown = append(unknown, name)
		}
	}
	return values, unknown
}
