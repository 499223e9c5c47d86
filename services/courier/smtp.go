package courier

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"regexp"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"github.com/usher-auth/usher/services/identity"
)

// Times within which a server must answer, where the options say nothing.
const (
	connectTimeout = 10 * time.Second
	commandTimeout = 30 * time.Second
	totalTimeout   = 90 * time.Second
	// quitTimeout bounds the farewell: the mail is taken already.
	quitTimeout = time.Second
)

// SMTPOptions say through which server mails go, and from whom they are.
type SMTPOptions struct {
	Server                Server
	FromAddress, FromName string
	// Headers stand in each mail besides its own.
	Headers map[string]string
	// LocalName is what the server is greeted with; empty means "localhost".
	LocalName string
	// Connect bounds dialling, Command each answer, Total all of one mail; zero
	// means 10, 30 and 90 seconds.
	Connect, Command, Total time.Duration
	// Roots are the authorities that certify servers; nil means the system's.
	Roots *x509.CertPool
}

// SMTP is a [Sender] that hands messages to a mail server, each over a
// connection of its own. [NewSMTP] makes it; it is safe for concurrent use.
type SMTP struct {
	options SMTPOptions
	from    sender
	tls     *tls.Config
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// NewSMTP checks the options; it does not connect. Its error is a [*Misconfigured].
func NewSMTP(o SMTPOptions) (*SMTP, error) {
	from, err := newSender(o.FromAddress, o.FromName, o.Headers)
	if err != nil {
		return nil, err
	}
	o.LocalName = cmp.Or(o.LocalName, "localhost")
	if !isASCII(o.LocalName) || strings.ContainsFunc(o.LocalName, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, misconfigured("courier.smtp.local_name", "want the name of a host")
	}
	o.Connect = cmp.Or(o.Connect, connectTimeout)
	o.Command = cmp.Or(o.Command, commandTimeout)
	o.Total = cmp.Or(o.Total, totalTimeout)
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         cmp.Or(o.Server.Name, o.Server.Host),
		InsecureSkipVerify: o.Server.AnyCertificate, //nolint:gosec // asked for with skip_ssl_verify
		RootCAs:            o.Roots,
	}
	dialer := &net.Dialer{Timeout: o.Connect}
	return &SMTP{options: o, from: from, tls: config, dial: dialer.DialContext}, nil
}

// Send hands m to the server. Its errors hold codes of the server and never its
// texts, which may quote the recipient.
func (s *SMTP) Send(ctx context.Context, m *Message) error {
	to, err := identity.Canonical(m.Recipient)
	if err != nil {
		return &Refused{Permanent: true, Err: errors.New("recipient is not an email address")}
	}
	content, err := s.from.compose(m, to)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.options.Total, fmt.Errorf("not done within %s", s.options.Total))
	defer cancel()
	if err := s.exchange(ctx, to, content); err != nil {
		if ctx.Err() != nil { // what it says then is that the connection is closed
			return because(err, context.Cause(ctx))
		}
		return err
	}
	return nil
}

// because gives an error another cause, and keeps what it means for the message.
func because(err, cause error) error {
	var refused *Refused
	if errors.As(err, &refused) && !refused.Permanent {
		return &Refused{Err: cause}
	}
	if refused != nil {
		return err
	}
	return cause
}

// exchange connects, gives the mail and says farewell.
func (s *SMTP) exchange(ctx context.Context, to string, content []byte) error {
	plain, err := s.dial(ctx, "tcp", s.options.Server.address())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = plain.Close() }() // after a mail it is closed already
	stop := context.AfterFunc(ctx, func() { _ = plain.Close() })
	defer stop()

	l := &limited{Conn: plain, each: s.options.Command, left: maxAnswers}
	client, err := s.greet(ctx, l)
	if err != nil {
		return err
	}
	if err := s.give(client, to, content); err != nil {
		return err
	}
	l.each = quitTimeout
	_ = client.Quit() // the mail is taken, whatever is answered
	return nil
}

// greet takes a connection to where a mail can be given.
func (s *SMTP) greet(ctx context.Context, l *limited) (*smtp.Client, error) {
	server, conn := s.options.Server, net.Conn(l)
	if server.TLS {
		secure := tls.Client(l, s.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("TLS: %w", err)
		}
		conn = secure
	}
	client, err := smtp.NewClient(conn, server.Host)
	if err != nil {
		return nil, fmt.Errorf("greeting: %w", said(err))
	}
	if err := client.Hello(s.options.LocalName); err != nil {
		return nil, fmt.Errorf("EHLO: %w", said(err))
	}
	isSecure := server.TLS
	if !isSecure && !server.NoStartTLS {
		if offered, _ := client.Extension("STARTTLS"); !offered {
			return nil, errors.New("server does not offer STARTTLS, without which nothing is sent")
		}
		if err := client.StartTLS(s.tls); err != nil {
			return nil, fmt.Errorf("STARTTLS: %w", said(err))
		}
		isSecure = true
	}
	if server.User == "" {
		return client, nil
	}
	if !isSecure && !l.isLoopback() {
		return nil, errors.New("a password is not sent in the clear: use smtps or STARTTLS")
	}
	return client, s.login(client)
}

// login uses the first mechanism that server and client have. The connection is
// known to be good for a password.
func (s *SMTP) login(client *smtp.Client) error {
	server := s.options.Server
	offered, mechanisms := client.Extension("AUTH")
	if !offered {
		return errors.New("server takes no login; leave out user and password")
	}
	known := map[string]smtp.Auth{
		"PLAIN":    smtp.PlainAuth("", server.User, server.Password.Reveal(), server.Host, true),
		"LOGIN":    smtp.LoginAuth(server.User, server.Password.Reveal(), server.Host, true),
		"CRAM-MD5": smtp.CRAMMD5Auth(server.User, server.Password.Reveal()),
	}
	for _, name := range strings.Fields(strings.ToUpper(mechanisms)) {
		auth, ok := known[name]
		if !ok {
			continue
		}
		if err := client.Auth(auth); err != nil {
			return fmt.Errorf("login: %w", said(err))
		}
		return nil
	}
	return errors.New("server takes no login by PLAIN, LOGIN or CRAM-MD5")
}

// give gives a mail. What is answered to the sender's address alone is no
// verdict on the message, unless it says that waiting helps.
func (s *SMTP) give(client *smtp.Client, to string, content []byte) error {
	if utf8, _ := client.Extension("SMTPUTF8"); !utf8 && !isASCII(to) {
		return &Refused{Permanent: true, Err: errors.New("server takes no addresses beyond ASCII")}
	}
	if err := client.Mail("<" + s.from.address.Address + ">"); err != nil {
		if refused := verdict("MAIL", err); refused != nil && !refused.Permanent {
			return refused
		}
		return fmt.Errorf("MAIL: %w", said(err))
	}
	if err := client.Rcpt("<" + to + ">"); err != nil {
		return orVerdict("RCPT", err)
	}
	body, err := client.Data()
	if err != nil {
		return orVerdict("DATA", err)
	}
	// From here on the server may have the mail, whatever is heard of it.
	if _, err := body.Write(content); err != nil {
		return &Refused{Err: fmt.Errorf("content: %w", said(err))}
	}
	if err := body.Close(); err != nil {
		if refused := verdict("content", err); refused != nil {
			return refused
		}
		return &Refused{Err: fmt.Errorf("content: %w", said(err))}
	}
	return nil
}

// closing is what a server answers, to whatever command, that is about to close
// the connection (RFC 5321, 3.8).
const closing = 421

// verdict is what a server has said about a message, nil if it has not.
func verdict(step string, err error) *Refused {
	var answer *textproto.Error
	if !errors.As(err, &answer) || answer.Code < 400 || answer.Code > 599 || answer.Code == closing {
		return nil
	}
	return &Refused{Permanent: answer.Code >= 500, Err: fmt.Errorf("%s: %w", step, said(err))}
}

func orVerdict(step string, err error) error {
	if refused := verdict(step, err); refused != nil {
		return refused
	}
	return fmt.Errorf("%s: %w", step, said(err))
}

// enhanced is the code of RFC 3463 with which many texts of answers begin.
var enhanced = regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}\b`)

// said is an error without the texts of the server: its codes, or a cause that
// is ours or the system's.
func said(err error) error {
	var answer *textproto.Error
	if errors.As(err, &answer) {
		return errors.New(strings.TrimSpace(fmt.Sprintf("server answered %d %s", answer.Code, enhanced.FindString(answer.Msg))))
	}
	var protocol textproto.ProtocolError
	if errors.As(err, &protocol) || errors.Is(err, smtp.ErrUnexpectedServerResponse) {
		return errors.New("server answered what is not SMTP")
	}
	return err
}
