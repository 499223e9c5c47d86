package override

import (
	"context"
	"maps"
	"slices"
)

// InForce is what a process goes by. It follows from the configuration file and the
// newest revision alone, see [Choose].
type InForce struct {
	Newest Revision
	// Number is the revision in force: that of Newest, or 0 where it is the file alone.
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

// Follower puts the newest revision in force in this process.
type Follower interface {
	// Follow returns once what was saved before the call is in force, or refused.
	Follow(ctx context.Context) (InForce, error)
}

// Choose gives what is to be in force: what the newest revision has saved, where it
// holds with the file, or else the file alone; no earlier revision, which might open
// what a later one has closed. So all processes with the same file go by the same,
// whether they start, follow or read the file again, and in whatever order the two
// were changed. hold says why values do not hold with the file, known tells whether
// this version has a setting. An error says that the file alone does not hold.
func Choose(newest Revision, known func(name string) bool, hold func(Values) error) (InForce, error) {
	chosen, err := try(newest, known, hold)
	if err == nil {
		chosen.Newest = newest
		return chosen, nil
	}
	alone, failed := try(Revision{Values: Values{}}, known, hold)
	if failed != nil {
		return InForce{}, failed
	}
	alone.Newest, alone.Refused = newest, Reasons(err)
	return alone, nil
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
