// Package password holds passwords: the type that hides them, the policy for
// new ones, and a bounded pool that hashes and verifies.
package password

import (
	"errors"
	"fmt"
	"log/slog"
)

// Errors of the pool.
var (
	// ErrBusy says that too many passwords wait to be hashed; nothing was computed.
	ErrBusy = errors.New("password: too many passwords are being hashed")
	// ErrMismatch says that the password is wrong.
	ErrMismatch = errors.New("password: does not match")
	// ErrTooLong says that the algorithm cannot hash all bytes of the password.
	// A [Policy] with the algorithm's MaxLength refuses such a password before.
	ErrTooLong = errors.New("password: too long for the algorithm")
	// ErrUnknownHash says that a stored hash is of no known form.
	ErrUnknownHash = errors.New("password: unknown form of hash")
	// ErrCostlyHash says that a hash would take too much time or memory to verify:
	// whoever knows the identifier could keep the server busy with it.
	ErrCostlyHash = errors.New("password: hash is too costly to verify")
)

// Plain is a password in the clear. However it is printed or encoded it shows
// as "[password]"; only Reveal gives the text.
type Plain struct{ text *string }

const hidden = "[password]"

// New wraps a password.
func New(text string) Plain { return Plain{text: &text} }

// Empty tells whether no password was given.
func (p Plain) Empty() bool { return p.text == nil || *p.text == "" }

// Reveal gives the text; empty for the zero Plain.
func (p Plain) Reveal() string {
	if p.text == nil {
		return ""
	}
	return *p.text
}

// String hides the password.
func (Plain) String() string { return hidden }

// GoString hides the password.
func (Plain) GoString() string { return hidden }

// Format hides the password whatever the verb.
func (Plain) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// LogValue hides the password.
func (Plain) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the password.
func (Plain) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MarshalJSON hides the password.
func (Plain) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }
