package console

// Patterns are those of all routes.
func Patterns() (all []string) {
	for _, r := range (&console{}).routes() {
		all = append(all, r.pattern)
	}
	return all
}
