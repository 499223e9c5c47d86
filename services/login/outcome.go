package login

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/webhook"
)

// source is what the events of logins name as theirs.
const source = "/usher/login"

// Outcome is how one submit went.
type Outcome struct {
	Method, Result string
	// Durations of the steps that were reached: Hash is the comparison of the
	// password, Hop to the session worker and back.
	Hash, Hop time.Duration
	// Trouble is what broke and changed nothing of the answer; it is for a log.
	Trouble error
}

// The results of submits.
const (
	OK         = "ok"
	Refreshed  = "refreshed"
	Invalid    = "invalid"     // something was not entered, cannot be linked, or is of another issuer
	HookFailed = "hook_failed" // a hook gave no usable answer
	NoSession  = "no_session"  // it was the right person, but no session could be issued
	Busy       = "busy"
	Broken     = "error"

	// The next are also the reasons of login.failed.

	WrongCredentials = "credentials"
	Disabled         = "inactive"
	NotVerified      = "unverified" // the gate waits for a verified address
	Refused          = "refused"    // a hook said no
)

// denied is a login that was judged, and not in favour of the person.
type denied struct {
	reason string
	err    error // what the edge is told
}

func (d *denied) Error() string { return d.err.Error() }
func (d *denied) Unwrap() error { return d.err }

// observe tells how a submit went that ended with err.
func (s *Service) observe(o Outcome, err error) {
	if s.Observe == nil || errors.Is(err, errUnknown) { // a question, which may become a registration
		return
	}
	if err != nil {
		o.Result = result(err)
	}
	s.Observe(o)
}

func result(err error) string {
	var (
		judged *denied
		input  *flow.Invalid
		failed *webhook.Failed
	)
	switch {
	case errors.As(err, &judged):
		return judged.reason
	case errors.As(err, &input), errors.Is(err, identity.ErrOtherIssuer):
		return Invalid
	case errors.As(err, &failed):
		return HookFailed
	case errors.Is(err, ErrNoSession):
		return NoSession
	case errors.Is(err, password.ErrBusy):
		return Busy
	}
	return Broken
}

// How many login.failed a process stores: in a second, and at once. Beyond
// that an attack would fill the log of events.
const (
	failuresPerSecond = 20
	failuresAtOnce    = 100
)

// tellTimeout bounds how long an answer waits for its login.failed.
const tellTimeout = time.Second

// Failures bounds the events of failed logins. The zero value is ready; it is
// safe for concurrent use.
type Failures struct {
	once  sync.Once
	limit *rate.Limiter
}

func (f *Failures) allow(now time.Time) bool {
	f.once.Do(func() { f.limit = rate.NewLimiter(failuresPerSecond, failuresAtOnce) })
	return f.limit.AllowN(now, 1)
}

// tell stores login.failed where err is a denial of i, who is nil if the
// identifier is nobody's. It takes the same steps for both: the event has no
// sequence, so nothing of the identity is counted or locked.
func (s *Service) tell(ctx context.Context, i *identity.Identity, in Submit, err error, t *timer) {
	var d *denied
	if !errors.As(err, &d) || !s.Failures.allow(s.Now()) {
		return
	}
	data := events.LoginFailed{Method: in.Method, Reason: d.reason, FlowID: in.Flow.ID.String(), Network: events.Network(in.Client.Addr)}
	about := events.About{Source: source, Actor: "client", RequestID: in.Client.RequestID, TraceParent: in.Client.TraceParent}
	if i != nil {
		data.IdentityID, about.Subject = i.ID.String(), i.ID.String()
		if d.reason != WrongCredentials { // whoever it is has proven it
			about.Actor = "person:" + i.ID.String()
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout)
	defer cancel()
	if err := s.Store.AppendSoon(ctx, events.New(data, s.Now(), about)); err != nil {
		t.trouble(fmt.Errorf("tell of failed login: %w", err))
	}
}

// timer takes the time between steps, and what went wrong beside them.
type timer struct {
	now     func() time.Time
	last    time.Time
	outcome Outcome
}

// step adds the time since the last step to d, if that is not nil.
func (t *timer) step(d *time.Duration) time.Time {
	now := t.now()
	if d != nil {
		*d += now.Sub(t.last)
	}
	t.last = now
	return now
}

func (t *timer) trouble(err error) {
	t.outcome.Trouble = errors.Join(t.outcome.Trouble, err)
}
