package events

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// Why a request has no answer.
var (
	// ErrNoWorker says that the request reached nobody: no worker listens, or
	// the bus is away. It is known at once, or after a moment in which the bus could
	// have come back.
	ErrNoWorker = errors.New("no worker")
	// ErrTimeout says that nobody answered by the deadline. Whether a worker did
	// what was asked is unknown.
	ErrTimeout = errors.New("no answer by the deadline")
	// ErrBroken says that the connection broke before there was an answer, as it does
	// when it goes over to another credential. Whether a worker did what was asked is
	// unknown.
	ErrBroken = errors.New("the connection broke before the answer")
	// ErrNoRight says, besides ErrTimeout, that the bus did not let the request
	// through. [Explain] says what mends it.
	ErrNoRight = errors.New("no right to ask")
)

// Codes of [Refused] that every service may answer with.
const (
	// CodeLate says that the deadline had passed when the worker came to it:
	// nothing was done.
	CodeLate = "late"
	// CodeError says that the worker failed; why stands in its log.
	CodeError = "error"
	// CodeInvalid says that the request does not make sense.
	CodeInvalid = "invalid"
)

// Refused is a service's answer that it does not do what was asked. Its text is
// shown by the bus's own tools, so it holds no personal data.
type Refused struct{ Code, Text string }

// Error gives code and text.
func (r *Refused) Error() string { return "refused (" + r.Code + "): " + r.Text }

// Is tells whether target is a refusal with the same code.
func (r *Refused) Is(target error) bool {
	other, ok := target.(*Refused)
	return ok && other.Code == r.Code
}

// answerTravel is how long after the deadline an answer may still arrive, of a
// worker that was done just before it.
const answerTravel = 50 * time.Millisecond

// Ask sends a request to a service and waits for its answer, until shortly
// after the deadline or the end of ctx. Asking again with the same requestID is safe where the
// service is idempotent. The service is told the trace context of ctx. Errors that a caller tells apart are [*Refused],
// [ErrNoWorker], [ErrTimeout], [ErrBroken] and [ErrNoRight].
func Ask(ctx context.Context, nc *nats.Conn, subject, requestID string, deadline time.Time, payload []byte) ([]byte, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(answerTravel))
	defer cancel()
	left := max(time.Until(deadline)+time.Millisecond-1, 0)
	former := nc.LastError()
	header := nats.Header{
		HeaderRequestID: {requestID},
		HeaderDeadline:  {strconv.FormatInt(deadline.UnixMilli(), 10)},
		HeaderTimeout:   {strconv.FormatInt(left.Milliseconds(), 10)},
	}
	if parent := TraceParent(ctx); parent != "" {
		header[HeaderTraceParent] = []string{parent}
	}
	message := &nats.Msg{Subject: subject, Header: header, Data: payload}
	reply, err := nc.RequestMsgWithContext(ctx, message)
	if errors.Is(err, nats.ErrReconnectBufExceeded) && comesBack(ctx, nc) {
		reply, err = nc.RequestMsgWithContext(ctx, message)
	}
	switch {
	case errors.Is(err, nats.ErrNoResponders), away(err):
		return nil, fmt.Errorf("ask %s: %w: %w", subject, ErrNoWorker, err)
	case errors.Is(err, nats.ErrDisconnected):
		return nil, fmt.Errorf("ask %s: %w", subject, ErrBroken)
	case errors.Is(err, context.DeadlineExceeded) && violated(nc, former, subject):
		return nil, fmt.Errorf("ask %s: %w: %w", subject, ErrTimeout, ErrNoRight)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("ask %s: %w", subject, ErrTimeout)
	case err != nil:
		return nil, fmt.Errorf("ask %s: %w", subject, err)
	}
	if code := reply.Header.Get(micro.ErrorCodeHeader); code != "" {
		return nil, fmt.Errorf("ask %s: %w", subject, &Refused{Code: code, Text: reply.Header.Get(micro.ErrorHeader)})
	}
	return reply.Data, nil
}

// violated tells whether the bus has refused what was sent to a subject since the
// connection's last error was former. It says so on the connection, not where
// somebody waits for an answer.
func violated(nc *nats.Conn, former error, subject string) bool {
	refused, ok := Violation(ErrorSince(nc, former))
	return ok && refused == subject
}

// ErrorSince gives the last error of a connection, nil if that is still former:
// it stays until there is another. The same violation again is another error.
func ErrorSince(nc *nats.Conn, former error) error {
	if err := nc.LastError(); err != former { //nolint:errorlint // this one, not one like it
		return err
	}
	return nil
}

// moment is how long a request waits for a connection: one that goes over to another
// credential, or to another server, is there again within it.
const moment = 100 * time.Millisecond

// comesBack waits a moment for a connection and tells whether it is there.
func comesBack(ctx context.Context, nc *nats.Conn) bool {
	back := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(back)
	if nc.IsConnected() {
		return true
	}
	timer := time.NewTimer(moment)
	defer timer.Stop()
	select {
	case <-back:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// away tells whether err means that the message did not leave this process.
func away(err error) bool {
	return errors.Is(err, nats.ErrReconnectBufExceeded) ||
		errors.Is(err, nats.ErrConnectionClosed) ||
		errors.Is(err, nats.ErrConnectionDraining)
}
