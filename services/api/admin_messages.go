package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/identity"
)

// Messages reads the mails of the courier, newest first.
type Messages interface {
	Messages(ctx context.Context, q courier.Query) ([]courier.Message, error)
	// MessageByID gives a message, or [courier.ErrNotFound].
	MessageByID(ctx context.Context, id uuid.UUID) (*courier.Message, error)
}

var errNoMessage = &problem{status: http.StatusNotFound, reason: "There is no message with this id."}

// maskedMail is shown in place of what a mail says: it may hold a code.
const maskedMail = "[shown in development only]"

type messageView struct {
	ID           uuid.UUID      `json:"id"`
	Status       courier.Status `json:"status"`
	Type         string         `json:"type"`
	Recipient    string         `json:"recipient"`
	Body         string         `json:"body"`
	Subject      string         `json:"subject"`
	TemplateType string         `json:"template_type"`
	Channel      string         `json:"channel"`
	SendCount    int            `json:"send_count"`
	LastError    string         `json:"last_error,omitempty"` // not the contract's; why it has not gone
	CreatedAt    stamp          `json:"created_at"`
	UpdatedAt    stamp          `json:"updated_at"`
}

func (s *Server) viewMessage(m *courier.Message) messageView {
	v := messageView{
		ID:           m.ID,
		Status:       m.Status,
		Type:         "email",
		Recipient:    m.Recipient,
		Body:         maskedMail,
		Subject:      maskedMail,
		TemplateType: m.Template,
		Channel:      "email",
		SendCount:    m.Attempts,
		CreatedAt:    stamp(m.CreatedAt),
		UpdatedAt:    stamp(m.UpdatedAt),
	}
	if m.Status != courier.Sent {
		v.LastError = m.LastError
	}
	if s.ShowMails {
		v.Body, v.Subject = m.Content.Plain.Reveal(), m.Content.Subject.Reveal()
	}
	return v
}

// listMessages gives a page of mails, newest first.
func (s *Server) listMessages(x *exchange) error {
	q := courier.Query{Status: courier.Status(x.query("status"))}
	if !slices.Contains([]courier.Status{"", courier.Queued, courier.Sent, courier.Processing, courier.Abandoned}, q.Status) {
		return refuse("status must be %s, %s, %s or %s", courier.Queued, courier.Sent, courier.Processing, courier.Abandoned)
	}
	size, err := x.limit("page_size", usualPage, maxPage)
	if err != nil {
		return err
	}
	if token := x.query("page_token"); token != "" {
		if q.Before, err = parseCursor(token); err != nil {
			return err
		}
	}
	q.Limit = size + 1
	var found []courier.Message
	if q.Recipient, err = recipient(x.query("recipient")); err == nil { // else nobody was written to
		found, err = s.Messages.Messages(x.r.Context(), q)
		if err != nil {
			return fmt.Errorf("list messages: %w", err)
		}
	}
	next := ""
	if len(found) > size {
		found = found[:size]
		next = formatCursor(found[size-1].N)
	}
	x.linkKeyPages(size, next, "status", "recipient")
	views := make([]messageView, len(found))
	for n := range found {
		views[n] = s.viewMessage(&found[n])
	}
	return x.encode(http.StatusOK, views)
}

// recipient gives the canonical address of a filter, "" for none.
func recipient(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	return identity.Canonical(text)
}

// showMessage gives one mail.
func (s *Server) showMessage(x *exchange) error {
	id, err := x.pathID(errNoMessage)
	if err != nil {
		return err
	}
	m, err := s.Messages.MessageByID(x.r.Context(), id)
	if errors.Is(err, courier.ErrNotFound) {
		return errNoMessage
	}
	if err != nil {
		return fmt.Errorf("show message: %w", err)
	}
	return x.encode(http.StatusOK, s.viewMessage(m))
}
