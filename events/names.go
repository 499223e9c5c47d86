package events

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

const (
	maxName   = 64
	maxReason = 200 // characters
)

// lowerKebab is what a name must be: it becomes part of subjects, where a dot or
// a wildcard would reach further. It is never a number, of which acks have many.
var lowerKebab = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// CheckName says what is wrong with the name of a worker or a hook, which is the
// name of its durable consumer and its credential too.
func CheckName(name string) error {
	if len(name) > maxName || !lowerKebab.MatchString(name) {
		return fmt.Errorf("name %q: want up to %d lower-case letters, digits and single hyphens, a letter first, as in \"crm-sync\"", name, maxName)
	}
	return nil
}

// CleanReason makes one line of why something failed, without what a terminal
// obeys, of at most 200 characters.
func CleanReason(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r):
			return ' '
		case unicode.IsPrint(r) || unicode.IsSpace(r):
			return r
		}
		return -1 // it may turn what follows around
	}, strings.ToValidUTF8(text, "?"))
	text = strings.Join(strings.Fields(text), " ")
	if long := []rune(text); len(long) > maxReason {
		text = string(long[:maxReason-1]) + "…"
	}
	return text
}
