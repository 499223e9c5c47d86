package courier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/usher-auth/usher/services/jsonnet"
)

// API is what takes mails over HTTP.
type API interface {
	// Call makes one request of input, with key as its idempotency key. status is what
	// was answered. It is 0 if nothing was, and err then says why; written, whether all of
	// the request went out.
	Call(ctx context.Context, key string, input any) (status int, written bool, err error)
}

// DefaultBody is the Jsonnet that makes the body of a request where there is no other:
// fields that a kind of mail does not have are null.
const DefaultBody = `function(ctx) {
  recipient: ctx.recipient,
  template_type: ctx.template_type,
  subject: ctx.subject,
  body: ctx.body,
} + {
  [name]: std.get(ctx.template_data, name)
  for name in ['to', 'verification_code', 'verification_url', 'recovery_code', 'recovery_url']
}
`

// HTTP is a [Sender] that hands messages to an API, with the message's id as the
// idempotency key of each attempt.
type HTTP struct{ API API }

// Send hands m over. A status of 2xx says that it was taken, and 4xx that it never
// will be, but for 408 and 429. 503 is that of an API which is away and has seen
// nothing; so are 401, 403 and 404 for one whose key or URL is not right (yet).
func (h HTTP) Send(ctx context.Context, m *Message) error {
	input, err := inputOf(m)
	if err != nil {
		return err
	}
	status, written, err := h.API.Call(ctx, m.ID.String(), input)
	switch {
	case errors.Is(err, jsonnet.ErrCancelled):
		return &Refused{Permanent: true, Err: err}
	case err != nil && written: // it may have been taken
		return &Refused{Err: fmt.Errorf("no answer: %w", err)}
	case err != nil:
		return fmt.Errorf("mail API: %w", err)
	case status >= 200 && status < 300:
		return nil
	}
	err = fmt.Errorf("mail API answered %d", status)
	switch status {
	case http.StatusServiceUnavailable, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return err
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return &Refused{Err: err}
	default:
		return &Refused{Permanent: status >= 400 && status < 500, Err: err}
	}
}

// input is what the template of a body sees, by the contract's names.
type input struct {
	Recipient    string         `json:"recipient"`
	Subject      string         `json:"subject"`
	Body         string         `json:"body"`
	HTMLBody     string         `json:"html_body"`
	TemplateType string         `json:"template_type"`
	TemplateData map[string]any `json:"template_data"`
	MessageType  string         `json:"message_type"`
}

func inputOf(m *Message) (input, error) {
	c := m.Content
	// What templates may ask for and mails do not know is there, and empty.
	data := map[string]any{"to": m.Recipient, "request_url": "", "transient_payload": map[string]any{}}
	if text := c.Data.Reveal(); text != "" { // none in a message that an older release wrote
		if json.Unmarshal([]byte(text), &data) != nil {
			return input{}, errors.New("what the templates saw is not a JSON object") // the cause may quote it
		}
	}
	return input{
		Recipient: m.Recipient, Subject: c.Subject.Reveal(), Body: c.Plain.Reveal(), HTMLBody: c.HTML.Reveal(),
		TemplateType: m.Template, TemplateData: data, MessageType: "email",
	}, nil
}
