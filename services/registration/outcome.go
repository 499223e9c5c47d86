package registration

import (
	"context"
	"errors"
	"time"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

// Outcome is how one submit went.
type Outcome struct {
	Method string
	Result string
	// Durations of the steps that were reached: Check holds the refusing hooks
	// too, Wait is for the waiting ones, Hop is to the session worker and back.
	Check, Hash, Commit, Wait, Hop time.Duration
}

// The results of submits.
const (
	OK         = "ok"
	Repeated   = "repeated"    // a flow that had made this identity
	NoSession  = "no_session"  // registered, but without the session that was planned
	Invalid    = "invalid"     // input that a person can mend
	Refused    = "refused"     // a hook said no
	HookFailed = "hook_failed" // a hook gave no usable answer
	FlowUsed   = "flow_used"
	Busy       = "busy"
	Broken     = "error"
)

// observe tells how a submit went that ended with err.
func (s *Service) observe(ctx context.Context, o Outcome, err error) {
	if s.Observe == nil {
		return
	}
	if err != nil && o.Result != NoSession {
		o.Result = result(err)
	}
	s.Observe(ctx, o)
}

func result(err error) string {
	var invalid *flow.Invalid
	var refusal *webhook.Refusal
	var failed *webhook.Failed
	switch {
	case errors.As(err, &refusal):
		return Refused
	case errors.As(err, &invalid):
		return Invalid
	case errors.As(err, &failed):
		return HookFailed
	case errors.Is(err, ErrFlowUsed):
		return FlowUsed
	case errors.Is(err, password.ErrBusy):
		return Busy
	}
	return Broken
}

// reason is the class of err for events.
func reason(err error) string {
	for _, known := range []struct {
		err  error
		name string
	}{
		{session.ErrUnavailable, "unavailable"},
		{session.ErrLate, "late"},
		{session.ErrGrantUsed, "grant_used"},
		{session.ErrIdentityGone, "identity_gone"},
		{session.ErrIdentityInactive, "identity_inactive"},
		{session.ErrInvalid, "invalid"},
	} {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	return "error"
}

// timer takes the time between steps.
type timer struct {
	now     func() time.Time
	last    time.Time
	outcome Outcome
}

// step adds the time since the last step to d.
func (t *timer) step(d *time.Duration) time.Time {
	now := t.now()
	*d += now.Sub(t.last)
	t.last = now
	return now
}
