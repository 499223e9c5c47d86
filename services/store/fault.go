package store

import "errors"

// Errors of this package. Those that use cases tell apart are theirs:
// identity.ErrExists, registration.ErrFlowUsed, session.ErrGrantUsed and so on.
var (
	// ErrNotMigrated says that the database has no keys yet: see [Store.Migrate].
	ErrNotMigrated = errors.New("store: the database is not migrated")
	// ErrSecret says that none of the given secrets opens the keys that are stored.
	ErrSecret = errors.New("store: no secret of secrets.cipher opens the stored keys; they were sealed with another one")
)

// unavailable is the error of a database that cannot be used now.
type unavailable struct{ err error }

func (u *unavailable) Error() string { return "database unavailable: " + u.err.Error() }
func (u *unavailable) Unwrap() error { return u.err }

// Unavailable tells callers that may not import this package.
func (*unavailable) Unavailable() bool { return true }

// taken is the error of a value that must be unique and is there already.
type taken struct {
	column string // "table.column"
	err    error
}

func (t *taken) Error() string { return t.err.Error() }
func (t *taken) Unwrap() error { return t.err }

// takenColumn gives the unique column that err is about, or "".
func takenColumn(err error) string {
	var t *taken
	if errors.As(err, &t) {
		return t.column
	}
	return ""
}
