package pages

import "slices"

// section is a part of a page with forms of one purpose.
type section struct {
	id          string
	title, lead string // may be empty
	forms       []*form
}

// sections deals the forms of a flow out: those of settings by what they change, those
// of all others belong together. What a recovery has led here for comes first, and nothing
// once that is done.
func sections(f *selfService, k flowKind, say *words, forms []*form) []section {
	switch {
	case k != settings:
		return []section{{forms: forms}}
	case f.renewed():
		return nil // so that what comes next is another matter
	}
	var all []section
	for _, each := range forms {
		at := slices.IndexFunc(all, func(s section) bool { return s.id == sectionID(each.group) })
		if at < 0 {
			at = len(all)
			all = append(all, newSection(each.group, say))
		}
		all[at].forms = append(all[at].forms, each)
	}
	if f.recovering() {
		password := sectionID(groupPassword)
		slices.SortStableFunc(all, func(a, b section) int {
			switch {
			case a.id == password && b.id != password:
				return -1
			case b.id == password && a.id != password:
				return 1
			}
			return 0
		})
	}
	return all
}

func sectionID(group string) string { return "section-" + group }

func newSection(group string, say *words) section {
	s := section{id: sectionID(group)}
	switch group {
	case groupProfile:
		s.title = say.Profile
	case groupPassword:
		s.title = say.Password
	case groupProviders:
		s.title, s.lead = say.Providers, say.ProvidersHow
	}
	return s
}
