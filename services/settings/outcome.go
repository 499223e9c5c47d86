package settings

import (
	"errors"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/session"
)

// Outcome tells how a change went.
type Outcome struct {
	Change string // "link" or "unlink"
	Result string
}

const (
	linking   = "link"
	unlinking = "unlink"
)

// What a change can come to.
const (
	OK        = "ok"
	Unchanged = "unchanged" // it was so already
	Invalid   = "invalid"   // another's account, or the last way to sign in
	Denied    = "denied"    // the session is not valid any more
	Broken    = "error"     // a part of this system failed
)

func (s *Service) observe(change, result string, err error) {
	if s.Observe == nil {
		return
	}
	var invalid *flow.Invalid
	switch {
	case errors.Is(err, ErrNotLinked):
		result = Unchanged
	case errors.As(err, &invalid):
		result = Invalid
	case errors.Is(err, session.ErrIdentityInactive):
		result = Denied
	case err != nil:
		result = Broken
	}
	s.Observe(Outcome{Change: change, Result: result})
}
