package webhook

import (
	"context"
	"encoding/json"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
)

// Submission is what somebody submitted to a flow, as far as hooks may see it.
type Submission struct {
	Flow *flow.Flow
	// TransientPayload is for hooks only.
	TransientPayload json.RawMessage
	Request          Request
	Client           flow.Client
}

// Input is what is kept for a background hook: it has no cookies.
func (s Submission) Input() Input {
	request := s.Request
	request.Cookies = nil
	return Input{
		Flow: Flow{
			ID:               s.Flow.ID.String(),
			Type:             string(s.Flow.Type),
			RequestURL:       s.Flow.RequestURL,
			ReturnTo:         s.Flow.ReturnTo,
			IssuedAt:         s.Flow.IssuedAt.UTC(),
			ExpiresAt:        s.Flow.ExpiresAt.UTC(),
			TransientPayload: s.TransientPayload,
		},
		Request:     request,
		RequestID:   s.Client.RequestID,
		TraceParent: s.Client.TraceParent,
	}
}

// Call is what a hook that is called at once is told, cookies included: nothing
// of it is stored. Behind the commit it is given an EventID.
func (s Submission) Call(i *identity.Identity) *Call {
	c := &Call{Input: s.Input(), Identity: i}
	c.Request.Cookies = s.Request.Cookies
	return c
}

// Refuser asks a parsing endpoint, see [Endpoints.Refuse].
type Refuser interface {
	Refuse(ctx context.Context, endpoint string, c *Call) error
}

// Answerer asks an answering worker, see [Client.Ask].
type Answerer interface {
	Ask(ctx context.Context, w Worker, c *Call) error
}

// Ask asks the endpoint or the answering worker of a step. Where it says no, the
// error is a [*Refusal].
func Ask(ctx context.Context, endpoints Refuser, workers Answerer, step hook.Step, c *Call) error {
	if step.Kind != hook.KindWorker {
		return endpoints.Refuse(ctx, step.Endpoint, c)
	}
	w := Worker{Name: step.Endpoint, Timeout: step.Timeout, Optional: step.OnMissing == hook.Continue}
	return workers.Ask(ctx, w, c)
}

// Form is what a refusing hook has to say, by node.
func (r *Refusal) Form() map[string][]flow.Message {
	messages := map[string][]flow.Message{}
	for _, m := range r.Messages {
		messages[m.Node] = append(messages[m.Node], flow.Message{ID: m.ID, Text: m.Text, Type: m.Type, Context: m.Context})
	}
	return messages
}
