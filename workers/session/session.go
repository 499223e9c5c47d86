// Package session puts the session service on the bus, and is how the API asks
// it there. It decodes, calls and encodes; the rules are in services/session.
//
//	registration ─ Client ─▶ usher.svc.v1.session.issue ─▶ Run ─▶ Issuer
package session

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/session"
)

// Issuer issues sessions, see [session.Service].
type Issuer interface {
	Issue(ctx context.Context, r session.Request) (*session.Session, error)
}

// Options say what [Run] runs. Service, Version and Log are needed.
type Options struct {
	Service Issuer
	Version string // of the program, for the bus's own tools
	Log     *slog.Logger
	// Concurrency is how many requests are handled at once, 0 means 16. Pending
	// is how many more may wait, 0 means 1024; what is beyond times out where it
	// was asked.
	Concurrency, Pending int
	// Kick wakes the relay, after each commit; nil leaves that to its poll.
	Kick func()
	// Tracer records a span for each request; nil is none.
	Tracer trace.Tracer
	// Observe is told of each answer: "ok" or a code, and how long it took. Ready
	// is called once requests come. Both may be nil.
	Observe func(outcome string, took time.Duration)
	Ready   func()
}

// Name is the service's on the bus.
const Name = "session"

const (
	usualConcurrency = 16
	usualPending     = 1024
)

// Run answers requests for sessions until ctx ends, then those that it had
// accepted, and returns nil.
func Run(ctx context.Context, nc *nats.Conn, o Options) error {
	if o.Concurrency == 0 {
		o.Concurrency = usualConcurrency
	}
	if o.Pending == 0 {
		o.Pending = usualPending
	}
	return events.Serve(ctx, nc, events.Service{
		Name:        Name,
		Version:     o.Version,
		Subject:     events.SubjectSessionIssue,
		Concurrency: o.Concurrency,
		Pending:     o.Pending,
		Handle:      o.issue,
		Log:         o.Log,
		Tracer:      o.Tracer,
		Observe:     o.Observe,
		Ready:       o.Ready,
	})
}

func (o Options) issue(ctx context.Context, in events.Request) ([]byte, error) {
	r, err := decodeRequest(in)
	if err != nil {
		return nil, refusal(err)
	}
	issued, err := o.Service.Issue(ctx, r)
	if err != nil {
		return nil, refusal(err)
	}
	if o.Kick != nil {
		o.Kick()
	}
	return encodeSession(issued)
}

// Client asks the session service over the bus. Conn is needed; it is safe for
// concurrent use.
type Client struct {
	Conn *nats.Conn

	spare spare
}

// Issue gives the session that a worker issued for r, or one of the errors of
// package session: [session.ErrUnavailable] when nobody answered by r's deadline,
// the worker failed, or gave an answer to something else.
func (c *Client) Issue(ctx context.Context, r session.Request) (*session.Session, error) {
	data, err := askAgain(ctx, c.Conn, &c.spare, r)
	if err != nil {
		return nil, understood(err)
	}
	issued, err := decodeSession(data, r)
	if err != nil {
		return nil, fmt.Errorf("%w: foreign answer: %w", session.ErrUnavailable, err)
	}
	return issued, nil
}
