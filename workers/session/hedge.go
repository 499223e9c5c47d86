package session

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/session"
)

// askTwice asks once more when half of the time to the deadline is over: the
// first question may be with a worker that is frozen, or gone with it. Both
// carry the same request id, so the service does the work once. The first
// answer counts; that nobody is there is known at once and not asked again.
func askTwice(ctx context.Context, nc *nats.Conn, r session.Request) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the slower question is not waited for
	type answer struct {
		data []byte
		err  error
	}
	answers := make(chan answer, 2)
	ask := func(r session.Request) {
		payload, err := encodeRequest(r)
		if err == nil {
			payload, err = events.Ask(ctx, nc, events.SubjectSessionIssue, r.ID, r.Deadline, payload)
		}
		answers <- answer{payload, err}
	}
	go ask(r)
	half := time.NewTimer(time.Until(r.Deadline) / 2)
	defer half.Stop()
	for open := 1; ; {
		select {
		case <-half.C:
			open++
			r.Again = true
			go ask(r)
		case a := <-answers:
			open--
			var refused *events.Refused
			if a.err == nil || errors.As(a.err, &refused) || open == 0 {
				return a.data, a.err
			}
		}
	}
}
