package courier

import (
	"context"
	"fmt"
)

// Probe goes as far as before a mail: it connects, greets, begins TLS and logs
// in, and gives none. Its errors hold codes of the server and never its texts.
func (s *SMTP) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.options.Total, fmt.Errorf("not done within %s", s.options.Total))
	defer cancel()
	plain, err := s.dial(ctx, "tcp", s.options.Server.address())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = plain.Close() }() // after the farewell it is closed already
	stop := context.AfterFunc(ctx, func() { _ = plain.Close() })
	defer stop()
	l := &limited{Conn: plain, each: s.options.Command, left: maxAnswers}
	client, err := s.greet(ctx, l)
	if err != nil && ctx.Err() != nil { // what it says then is that the connection is closed
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	l.each = quitTimeout
	_ = client.Quit()
	return nil
}

// Encrypted tells whether mails and the password go over TLS, with a certificate
// that is checked.
func (s Server) Encrypted() bool { return (s.TLS || !s.NoStartTLS) && !s.AnyCertificate }
