// Package operator is about those who use the console: who they are, how they sign
// in, and what they may do. They are no identities: nothing here is a registration,
// and their sessions are not those of the product's people.
//
//	Add, Reset, First → set-up link → SetUp → session
//	                    name, password → SignIn → session → Recognize … SignOut
package operator

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Role says what an operator may do.
type Role string

// The roles. An owner may do all that an operator may, and manages operators,
// tokens and secrets besides.
const (
	RoleOperator Role = "operator"
	RoleOwner    Role = "owner"
)

// Known tells whether there is such a role.
func (r Role) Known() bool { return r == RoleOperator || r == RoleOwner }

// Covers tells whether a role suffices where another is asked for.
func (r Role) Covers(asked Role) bool { return r == RoleOwner || r == asked && r == RoleOperator }

// Operator is somebody who may use the console.
type Operator struct {
	// Name is how they sign in, and in the audit trail as the actor "admin:<name>".
	Name string
	Role Role
	// SetUp tells whether they have a password. One that is asked to set a new one
	// has none.
	SetUp bool
	// SetUpUntil is when the link ends that sets the password; zero if there is none.
	SetUpUntil time.Time
	CreatedAt  time.Time
}

// Session is where an operator is signed in. The token is not in it.
type Session struct {
	Name      string
	Role      Role
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// Actor is who acts, as events name it.
func (s Session) Actor() string { return "admin:" + s.Name }

// Scope is what they may ask the admin listener for.
func (s Session) Scope() string {
	if s.Role == RoleOwner {
		return ScopeAdmin
	}
	return ScopeOperator
}

// Token is a token of the admin listener. The token itself is not in it.
type Token struct {
	Name      string    `json:"name"`
	Scope     string    `json:"scope"`
	CreatedAt time.Time `json:"created_at"`
}

// Scopes of the admin listener. What only an owner may do wants [ScopeAdmin].
const (
	ScopeAdmin    = "admin"
	ScopeOperator = "operator" // of people alone: no token has it
	ScopeEvents   = "events:read"
	ScopeMetrics  = "metrics"
)

// Scopes are what a token of the admin listener may be for.
func Scopes() []string { return []string{ScopeAdmin, ScopeEvents, ScopeMetrics} }

// Errors that callers tell apart.
var (
	// ErrWrong does not tell a wrong name from a wrong password.
	ErrWrong = errors.New("the name or the password is wrong")
	// ErrSignedOut says that a token is not, or no longer, that of a session.
	ErrSignedOut = errors.New("not signed in")
	// ErrLink says that a set-up link is wrong, was used, or is over.
	ErrLink = errors.New("this link was used or is over")
	// ErrExists says that the name is taken, ErrNotFound that nobody has it.
	ErrExists   = errors.New("there is an operator of this name")
	ErrNotFound = errors.New("there is no operator of this name")
	// ErrTokenExists says that a token has the name, ErrNoToken that none has it.
	ErrTokenExists = errors.New("there is a token of this name")
	ErrNoToken     = errors.New("there is no token of this name")
	// ErrTokenTaken says that another name has this very token.
	ErrTokenTaken = errors.New("another name has this token")
	// ErrLastOwner says that nobody would be left who manages operators.
	ErrLastOwner = errors.New("the last owner stays: nobody else could manage operators")
)

// Invalid says what is wrong with a name, a role, a scope or a new password.
type Invalid struct{ Reason string }

func (i *Invalid) Error() string { return i.Reason }

// Busy says that too many tries were wrong, or that too many are made at once.
type Busy struct{ RetryIn time.Duration }

func (b *Busy) Error() string {
	return "too many tries: try again in " + b.RetryIn.Round(time.Second).String()
}

// Secret is a session token, a set-up link's token, or a token of the admin listener.
// However it is printed or encoded it shows as "[secret]"; only Reveal gives the text.
type Secret struct{ text *string }

// NewSecret wraps a text.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal gives the text; empty for the zero Secret.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Format hides the text whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

// MarshalText hides the text.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// What a name may be: it stands in the audit trail for ever, so it is no address.
var named = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$`)

// reserved are names that other actors have.
const reserved = "local"

// canonical is how a name is stored, however it was typed.
func canonical(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// checkName refuses what cannot be the name of an operator or of a token.
func checkName(name string) error {
	switch {
	case strings.Contains(name, "@"):
		return &Invalid{"a name is no address: it stays in the audit trail for ever; use one such as ann"}
	case !named.MatchString(name):
		return &Invalid{"a name has 1 to 64 of the letters a to z, digits, '.', '_' and '-', and begins and ends with a letter or digit"}
	case name == "console": // its own reads of the audit trail
		return &Invalid{"the name " + name + " is the console's own"}
	case name == reserved:
		return &Invalid{"the name " + reserved + " is that of the command line"}
	}
	return nil
}
