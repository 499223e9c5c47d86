// Package operator is about those who use the console: who they are, how they sign
// in, and what they may do. They are no identities: nothing here is a registration,
// and their sessions are not those of the product's people.
package operator

import (
	"errors"
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
	// ErrLastOwner says that nobody would be left who manages operators.
	ErrLastOwner = errors.New("the last owner stays")
)

// Busy says that too many tries were wrong.
type Busy struct{ RetryIn time.Duration }

func (b *Busy) Error() string {
	return "too many tries: try again in " + b.RetryIn.Round(time.Second).String()
}
