// Package answer is how the API asks answering workers on the bus. What they
// are asked and what their answer does is in services/webhook; they themselves
// are made with package workers.
//
//	services/webhook ─ Client ─▶ usher.svc.v1.hook.answer.<name> ─▶ a worker of yours
package answer

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
)

// Client asks answering workers over a connection of [events.UserAPIAuth].
type Client struct{ Conn *nats.Conn }

// Ask gives the reply of one of the workers that run under a name, see
// [events.Ask].
func (c *Client) Ask(ctx context.Context, worker, requestID string, timeout time.Duration, question []byte) ([]byte, error) {
	return events.Ask(ctx, c.Conn, events.SubjectHookAnswer(worker), requestID, time.Now().Add(timeout), question)
}
