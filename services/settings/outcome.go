package settings

import (
	"errors"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/session"
)

// Outcome tells how a change went.
type Outcome struct {
	Change string // "profile", "password", "link" or "unlink"
	Result string
}

const (
	profile     = "profile"
	setPassword = "password"
	linking     = "link"
	unlinking   = "unlink"
)

// What a change can come to.
const (
	OK         = "ok"
	Unchanged  = "unchanged"   // it was so already
	Invalid    = "invalid"     // input that a person can mend, such as another's account or the last way to sign in
	Stale      = "stale"       // it needs a fresh session
	Denied     = "denied"      // the session is not valid any more
	HookFailed = "hook_failed" // it was changed, and a hook behind it gave no usable answer
	Busy       = "busy"        // the queue of hashes is full
	Broken     = "error"       // a part of this system failed
)

func (s *Service) observe(change, result string, err error) {
	if s.Observe == nil {
		return
	}
	var invalid *flow.Invalid
	switch {
	case errors.Is(err, ErrNotLinked):
		result = Unchanged
	case errors.As(err, &invalid), errors.Is(err, identity.ErrExists):
		result = Invalid
	case errors.Is(err, ErrNotFresh):
		result = Stale
	case errors.Is(err, session.ErrIdentityInactive):
		result = Denied
	case errors.Is(err, password.ErrBusy):
		result = Busy
	case result == HookFailed:
	case err != nil:
		result = Broken
	}
	s.Observe(Outcome{Change: change, Result: result})
}
