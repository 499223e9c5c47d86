package recovery

import (
	"errors"

	"github.com/usher-auth/usher/services/flow"
)

// Outcome is how one code or link went.
type Outcome struct {
	Method string
	Result string
}

// The results of codes and links.
const (
	OK        = "ok"
	Repeated  = "repeated"   // the same code of the same flow again
	NoSession = "no_session" // the right code, and no session for it
	Wrong     = "wrong"      // another code, or too many
	Invalid   = "invalid"    // input that a person can mend
	Done      = "done"       // the flow had passed
	Broken    = "error"
)

// observe tells how a code went that ended with err.
func (s *Service) observe(o Outcome, err error) {
	if s.Observe == nil {
		return
	}
	var invalid *flow.Invalid
	switch {
	case err == nil:
	case errors.Is(err, ErrNoSession):
		o.Result = NoSession
	case errors.Is(err, ErrWrongCode), errors.Is(err, ErrTooManyTries):
		o.Result = Wrong
	case errors.Is(err, ErrDone):
		o.Result = Done
	case errors.As(err, &invalid):
		o.Result = Invalid
	default:
		o.Result = Broken
	}
	s.Observe(o)
}
