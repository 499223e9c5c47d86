package operator

import (
	"fmt"
	"unicode/utf8"

	"github.com/usher-auth/usher/services/password"
)

// MinPassword is how many characters a password of an operator has at least.
const MinPassword = 12

var policy = password.Policy{MinLength: MinPassword, Similarity: true, ServiceWords: []string{"usher console", "usher-console"}}

// checkPassword says what is wrong with a new password.
func checkPassword(name string, p password.Plain) error {
	if n := utf8.RuneCountInString(p.Reveal()); n < MinPassword {
		return &Invalid{fmt.Sprintf("use at least %d characters; this password has %d", MinPassword, n)}
	}
	v := policy.Check(p, []string{name})
	if v == nil {
		return nil
	}
	switch v.Rule {
	case "max_length":
		return &Invalid{fmt.Sprintf("use at most %v bytes", v.Context["max_length"])}
	case "similar":
		return &Invalid{"this password is too close to the name"}
	case "listed":
		return &Invalid{"this password is one of those that attackers try first"}
	}
	return &Invalid{fmt.Sprintf("this password is easy to guess: %v", v.Context["reason"])}
}
