package api

import (
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// refuseUnknown refuses the first name that is none of those that are known, and
// says which was probably meant: one that is misspelt would give nothing, ever.
func refuseUnknown(what string, names, known []string) error {
	for _, name := range names {
		if slices.Contains(known, name) {
			continue
		}
		for _, one := range known {
			if levenshtein.ComputeDistance(name, one) <= 2 {
				return refuse("%s %q is not known; did you mean %s?", what, name, one)
			}
		}
		return refuse("%s %q is not known: want %s", what, name, strings.Join(known, ", "))
	}
	return nil
}

// traitNames are those at the top of the identities, in all schemas.
func (x *exchange) traitNames() (names []string) {
	for _, one := range x.Schemas.List() {
		if schema, ok := x.Schemas.Schema(one.ID); ok {
			names = append(names, schema.TraitNames()...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
