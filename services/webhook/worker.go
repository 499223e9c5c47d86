package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
)

// Worker is an answering worker as a hook list names it.
type Worker struct {
	Name string
	// Timeout is how long it may take for its answer.
	Timeout time.Duration
	// Optional goes on as if it had not been asked when it is missing, late or broken.
	Optional bool
}

// Asker asks answering workers on the bus.
type Asker interface {
	// Ask gives the JSON of a worker's answer. What callers tell apart are
	// [events.ErrNoWorker], [events.ErrTimeout] and [*events.Refused].
	Ask(ctx context.Context, worker, requestID string, timeout time.Duration, question []byte) ([]byte, error)
}

// Asked is how the question to a worker went.
type Asked struct {
	Worker string
	Answer string // one of the constants below
	Took   time.Duration
	// Err is why there is no usable answer. It never holds question or answer.
	Err error
	// WentOn: nobody is told of Err but through this, see [Worker].
	WentOn bool
}

// The answers of workers.
const (
	Accepted = "ok"
	Refused  = "refused"
	Missing  = "missing" // nobody listens, or the bus is away
	Late     = "late"    // no answer in time
	Broken   = "broken"  // an error, or what is no answer
)

// Ask asks an answering worker before the commit, once, what a parsing endpoint
// is asked without a template: the whole context as JSON. Its answer does the
// same: it changes call.Identity or is a [*Refusal]. What is no answer is a
// [*Failed], or nil where the worker is optional and ctx has not ended.
func (c *Client) Ask(ctx context.Context, w Worker, call *Call) error {
	started := c.now()
	a := Asked{Worker: w.Name, Answer: Accepted}
	err := c.ask(ctx, w, call)
	if err != nil && ctx.Err() != nil {
		return err // nobody waits any more, which says nothing about the worker
	}
	a.Took = c.now().Sub(started)
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		a.Answer = Refused
	case err != nil:
		a.Answer, a.Err, a.WentOn = kindOf(err), err, w.Optional
	}
	if c.asked != nil {
		c.asked(a)
	}
	if a.WentOn {
		return nil
	}
	return err
}

// ask asks and does as it is told. Its errors are [*Refusal] and [*Failed].
func (c *Client) ask(ctx context.Context, w Worker, call *Call) error {
	failed := func(err error) error { return &Failed{Endpoint: w.Name, Kind: "worker", Err: err} }
	question, err := json.Marshal(c.bodyContext(call))
	if err != nil {
		return failed(errors.New("its question cannot be encoded")) // err may quote it
	}
	if c.workers == nil {
		return failed(events.ErrNoWorker)
	}
	reply, err := c.workers.Ask(ctx, w.Name, uuid.NewString(), w.Timeout, question)
	if errors.Is(err, events.ErrTimeout) || errors.Is(err, &events.Refused{Code: events.CodeLate}) {
		err = fmt.Errorf("%w: %w", err, context.DeadlineExceeded)
	}
	if err == nil {
		err = c.obey(call, reply)
	}
	var refusal *Refusal
	if err == nil || errors.As(err, &refusal) {
		return err
	}
	return failed(err)
}

// obey does what a worker's reply says, or changes nothing.
func (c *Client) obey(call *Call, reply []byte) error {
	var head *struct {
		Status   int               `json:"status"`
		Messages []json.RawMessage `json:"messages"`
	}
	if err := json.Unmarshal(reply, &head); err != nil || head == nil {
		return errors.New("reply is not the JSON of an answer") // err may quote it
	}
	said, err := readMessages(reply)
	if err != nil {
		return err
	}
	status := head.Status
	switch {
	case status == 0 && len(head.Messages) == 0:
		status = http.StatusOK
	case status == 0:
		status = http.StatusBadRequest
	}
	switch {
	case status >= 400 && len(said) > 0:
		return &Refusal{Messages: said}
	case status == http.StatusOK:
		return change(call.Identity, reply, c.now())
	case status > 200 && status < 300:
		return nil
	}
	return fmt.Errorf("replied %d with %d messages", head.Status, len(said))
}

// kindOf is the class of what a worker did not do.
func kindOf(err error) string {
	switch {
	case errors.Is(err, events.ErrNoWorker):
		return Missing
	case errors.Is(err, context.DeadlineExceeded):
		return Late
	}
	return Broken
}
