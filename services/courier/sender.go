package courier

import (
	"context"
	"log/slog"
	"regexp"
)

// Sender hands messages over. Nil means that a message was taken, a [*Refused]
// that it was seen and not taken; any other error, that it was not seen.
type Sender interface {
	Send(ctx context.Context, m *Message) error
}

// Refused is the error of a message that a mail server or an API has seen and has
// not said to have taken. Its text holds neither recipient nor content.
type Refused struct {
	// Permanent says that it would be refused again.
	Permanent bool
	Err       error
}

func (r *Refused) Error() string {
	if r.Permanent {
		return "refused for good: " + r.Err.Error()
	}
	return "not taken: " + r.Err.Error()
}

// Unwrap gives the cause.
func (r *Refused) Unwrap() error { return r.Err }

// Mailbox takes messages in development: it sends nothing and says each in one
// line of the log, with its code or link. What it says stays in the store, if the
// service keeps content.
type Mailbox struct{ Log *slog.Logger }

// digits find the code in a plain body, which is the contract's way to find it.
var digits = regexp.MustCompile(`\b[0-9]{6}\b`)

// links find the link in a plain body that carries no code.
var links = regexp.MustCompile(`https?://\S*[?&]token=\S+`)

// Send logs m and never fails.
func (b Mailbox) Send(ctx context.Context, m *Message) error {
	attrs := []slog.Attr{slog.String("to", m.Recipient), slog.String("template", m.Template)}
	switch plain := m.Content.Plain.Reveal(); {
	case !Carries(m.Template):
	case digits.MatchString(plain):
		attrs = append(attrs, slog.String("code", digits.FindString(plain)))
	default:
		attrs = append(attrs, slog.String("link", links.FindString(plain)))
	}
	b.Log.LogAttrs(ctx, slog.LevelInfo, "mail", attrs...)
	return nil
}
