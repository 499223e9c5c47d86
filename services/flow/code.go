package flow

import (
	"strings"
	"unicode"
)

// codeDigits is how many a code has.
const codeDigits = 6

// EnteredCode gives a code that was entered as it was sent: "123 456" and "123-456", as it
// is dictated and noted down, are 123456. What else was entered, such as the token of a
// link, only loses the blanks around it.
func EnteredCode(text string) string {
	digits := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) {
			return -1
		}
		return r
	}, text)
	if len(digits) == codeDigits && strings.Trim(digits, "0123456789") == "" {
		return digits
	}
	return strings.TrimSpace(text)
}
