package workers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
)

// Question and Reply are what an answering worker gets and gives.
type (
	Question = events.HookQuestion
	Reply    = events.HookAnswer
)

const (
	// maxPending is how many questions wait while all places are taken: by then
	// whoever asks has gone on.
	maxPending = 256
	// maxAnswer is what Usher's bus takes in one message, less its own part.
	maxAnswer = 256_000 - 4<<10
)

// Answering is a worker that is asked before a commit, and may refuse or change
// what is about to be stored. [Answer] makes it.
type Answering struct {
	settings
	handle func(context.Context, Question) (Reply, error)
}

// Answer makes the worker that answers what the hook of that name is asked. Its
// credential is of a kind of its own and lets it do nothing else.
//
// The context of handle ends when nobody waits for the answer any more. An
// error, a panic and an answer over 250 kB are no answer: the declaration says
// whether the flow then goes on or not. Whoever asks sees none of their texts.
// The same question may come twice.
func Answer(name string, handle func(context.Context, Question) (Reply, error), opts ...AnswerOption) *Answering {
	a := &Answering{settings: defaults(name), handle: handle}
	for _, o := range opts {
		o.either(&a.settings)
	}
	a.log = a.log.With("worker", name)
	return a
}

// Refuse is the answer that refuses with a message to the person at a place of
// the form, such as "#/traits/email"; an empty pointer is the whole form.
func Refuse(pointer string, id int64, text string) Reply {
	return Reply{Messages: []events.HookMessages{{
		Pointer: pointer, Messages: []events.HookMessage{{ID: id, Text: text, Type: "error"}},
	}}}
}

// Run answers until ctx ends, and returns nil once what it had taken is answered.
// It connects as [Worker.Run] does. A credential that does not let it hear the
// questions, such as one for events, is an error at once.
func (a *Answering) Run(ctx context.Context) error {
	err := a.check()
	if err == nil {
		err = a.connected(ctx, a.serve)
	}
	if err != nil {
		return fmt.Errorf("worker %q: %w", a.name, err)
	}
	return nil
}

func (a *Answering) serve(ctx context.Context, nc *nats.Conn) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	var denied error
	former := nc.LastError()
	err := events.Serve(ctx, nc, events.Service{
		Name: a.name, Version: a.version, Subject: events.SubjectHookAnswer(a.name),
		Concurrency: a.concurrency, Pending: maxPending,
		Handle: func(ctx context.Context, r events.Request) ([]byte, error) { return a.Try(ctx, r.Data) },
		Log:    a.log,
		Ready: func() {
			if line, ok := events.Explain(a.name, events.ErrorSince(nc, former)); ok {
				denied = errors.New(line)
				end()
				return
			}
			a.log.LogAttrs(ctx, slog.LevelInfo, "answers", slog.String("subject", events.SubjectHookAnswer(a.name)))
		},
	})
	return errors.Join(denied, err)
}

// Try answers one question as it is on the bus, without the bus.
func (a *Answering) Try(ctx context.Context, question []byte) ([]byte, error) {
	var q Question
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, &events.Refused{Code: events.CodeInvalid, Text: "the question is not the JSON that it should be"} // err may quote it
	}
	reply, err := a.handle(ctx, q)
	if err != nil && ctx.Err() != nil {
		return nil, &events.Refused{Code: events.CodeLate, Text: "the deadline has passed"}
	}
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(reply)
	if err != nil {
		return nil, errors.New("the answer cannot be encoded") // err may quote it
	}
	if len(data) > maxAnswer {
		return nil, fmt.Errorf("the answer has %d bytes, at most %d go over the bus", len(data), maxAnswer)
	}
	return data, nil
}
