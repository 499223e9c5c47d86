package workers

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/usher-auth/usher/events"
)

// Permanent makes err final: the event becomes a dead letter and does not come
// again unless an operator asks for it. It is nil if err is.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanent{err}
}

type permanent struct{ error }

func (p *permanent) Unwrap() error { return p.error }

// RetryIn makes the event come again in d, which may be hours, up to a day.
// Without it, and for a d of 0 or less, the worker's ladder decides. It is nil,
// and the event done, if err is nil. The number of attempts has an end either way.
func RetryIn(d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &retryIn{err, d}
}

type retryIn struct {
	error
	after time.Duration
}

func (r *retryIn) Unwrap() error { return r.error }

// undecodable is a message that is no event, or whose data is not that of its
// type. The text is for reports, the cause for the log.
type undecodable struct {
	text  string
	cause error
}

func (u *undecodable) Error() string { return "decode: " + u.text + ": " + u.cause.Error() }
func (u *undecodable) Unwrap() error { return u.cause }

// panicked is a panic of a handler.
type panicked struct{ value any }

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// crashed is an event that was delivered again and again without an outcome.
type crashed struct{ deliveries int }

func (c *crashed) Error() string {
	return fmt.Sprintf(events.ReasonCrash+": delivered %d times without an outcome", c.deliveries)
}

// late is a handler that has not ended in its time.
type late struct{ timeout time.Duration }

func (l *late) Error() string { return fmt.Sprintf("timeout: no outcome within %s", l.timeout) }

// Attempt is one attempt at one event and what became of it.
type Attempt struct {
	Worker string
	// Event is zero if it could not be decoded.
	Event  events.Event
	Number int // of attempts by this worker, from 1
	// Deliveries counts those of the message, from 1: more than one if an earlier
	// one had no outcome.
	Deliveries int
	Outcome    Outcome
	// Err is what the handler returned, or its panic.
	Err error
	// Report is what was reported of a failure.
	Report *events.HookFailed
	Took   time.Duration
	// Next is when the event comes again, as far as that is known.
	Next time.Duration
	// TraceID is the trace of the attempt, empty where it is not recorded, see [Traces].
	TraceID string
}

// Outcome is what became of an attempt.
type Outcome string

// The outcomes of attempts.
const (
	Done    Outcome = "done"
	Skipped Outcome = "skipped" // no handler for the type, or a check that is over
	Retry   Outcome = "retry"   // failed, comes again
	Dead    Outcome = "dead"    // failed, is a dead letter
	// Unreported has failed, and nobody has taken the report: the bus delivers it again.
	Unreported Outcome = "unreported"
)

// report is what the hooks service is told of an attempt that ended with err.
func report(err error, attempt int) *events.HookFailed {
	r := &events.HookFailed{Attempt: attempt, Reason: reason(err)}
	var (
		final *permanent
		wrong *undecodable
		crash *crashed
		again *retryIn
	)
	r.Permanent = errors.As(err, &final) || errors.As(err, &wrong) || errors.As(err, &crash)
	if !r.Permanent && errors.As(err, &again) {
		r.After = max(again.after, 0).Seconds()
	}
	return r
}

// reason is a class and err's text without what must not leave this program:
// it is shown to operators and kept. What an address looks like is taken out;
// whoever writes a handler keeps the rest of persons out of its errors.
func reason(err error) string {
	var (
		wrong *undecodable
		shown interface{ Error() string } = err
		class string
	)
	switch {
	case errors.As(err, &wrong):
		class, shown = "decode: ", errors.New(wrong.text) // the cause may quote the data
	case is[*permanent](err):
		class = "permanent: "
	case is[*panicked](err), is[*crashed](err), is[*late](err): // their texts begin with it
	case errors.Is(err, context.DeadlineExceeded):
		class = "timeout: "
	default:
		class = "error: "
	}
	return events.CleanReason(class + address.ReplaceAllString(shown.Error(), "[address]"))
}

// address is what looks like a mail address or a telephone number.
var address = regexp.MustCompile(`[^\s<>"'(),:;=]+@[^\s<>"'(),:;]+|\+\d[\d ()/-]{6,}\d`)

// is tells whether an error of type E is in err's chain.
func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}
