package courier

import (
	"bytes"
	"errors"
	netmail "net/mail"
	"strings"

	"github.com/wneessen/go-mail"

	"github.com/usher-auth/usher/services/identity"
)

// sender is whom mails are from, and what their heads say besides.
type sender struct {
	address netmail.Address
	headers map[string]string
}

// newSender checks that an address, a name and headers can stand in a head.
func newSender(address, name string, headers map[string]string) (sender, error) {
	canonical, err := identity.Canonical(address)
	if err != nil || !isASCII(canonical) {
		return sender{}, misconfigured("courier.smtp.from_address", "want an email address in ASCII")
	}
	if strings.ContainsFunc(name, isControl) {
		return sender{}, misconfigured("courier.smtp.from_name", "want one line")
	}
	for header, value := range headers {
		if !isHeader(header) || strings.ContainsFunc(value, isControl) {
			return sender{}, misconfigured("courier.smtp.headers."+header, "%q cannot be sent: want a header of one line", header)
		}
		if isOwn(header) {
			return sender{}, misconfigured("courier.smtp.headers."+header, "%q is given by the mail itself", header)
		}
	}
	return sender{netmail.Address{Name: name, Address: strings.TrimSpace(address)}, headers}, nil
}

// compose writes m as it is sent: plain text and HTML. It is the same, byte for
// byte, for all attempts, with the message's id as the Message-ID.
func (s sender) compose(m *Message, to string) ([]byte, error) {
	out := mail.NewMsg(mail.WithNoDefaultUserAgent(), mail.WithBoundary(m.ID.String()))
	from := s.address
	out.FromMailAddress(&from)
	out.ToMailAddress(&netmail.Address{Address: to})
	_, domain, _ := strings.Cut(s.address.Address, "@")
	out.SetMessageIDWithValue(m.ID.String() + "@" + domain)
	out.SetDateWithValue(m.CreatedAt)
	for name, value := range s.headers {
		out.SetGenHeader(mail.Header(name), value)
	}
	out.SetGenHeader("Auto-Submitted", "auto-generated") // no holiday notices in return
	out.Subject(oneLine(m.Content.Subject.Reveal()))
	out.SetBodyString(mail.TypeTextPlain, m.Content.Plain.Reveal())
	out.AddAlternativeString(mail.TypeTextHTML, m.Content.HTML.Reveal())
	var b bytes.Buffer
	if _, err := out.WriteTo(&b); err != nil {
		return nil, errors.New("message cannot be written as a mail") // the error may quote it
	}
	return b.Bytes(), nil
}

// isOwn tells whether a header is one that compose writes, or that changes whom
// or how a mail reaches.
func isOwn(header string) bool {
	switch h := strings.ToLower(header); h {
	case "from", "to", "cc", "bcc", "sender", "subject", "date", "message-id", "mime-version", "auto-submitted", "return-path":
		return true
	default:
		return strings.HasPrefix(h, "content-")
	}
}

// isHeader tells whether a text is the name of a header (RFC 5322, 3.6.8).
func isHeader(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' })
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func isASCII(s string) bool { return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e }) }
