package workers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
)

// connected calls run with the connection that was given, or one by the
// environment that ends with it.
func (s *settings) connected(ctx context.Context, run func(context.Context, *nats.Conn) error) error {
	if s.conn != nil {
		return run(ctx, s.conn)
	}
	nc, err := s.connect(ctx)
	if ctx.Err() != nil && err != nil {
		return nil //nolint:nilerr // told to end while it waited
	}
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer nc.Close()
	return run(ctx, nc)
}

// connect connects by the environment. It waits for a bus that cannot be
// reached, and gives up on one that refuses.
func (s *settings) connect(ctx context.Context) (*nats.Conn, error) {
	file := os.Getenv("NATS_CREDS")
	if err := s.checkCredential(file); err != nil {
		return nil, err
	}
	bus := cmp.Or(os.Getenv("NATS_URL"), nats.DefaultURL)
	pauses := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMaxInterval(5*time.Second),
		backoff.WithMaxElapsedTime(0),
	)
	return backoff.RetryNotifyWithData(func() (*nats.Conn, error) {
		nc, err := nats.Connect(bus, s.options(file)...)
		if line, ok := events.Explain(s.name, err); ok {
			return nil, backoff.Permanent(fmt.Errorf("%s; the bus asked is %s", line, busName(bus)))
		}
		if err != nil && !unreachable(err) {
			return nil, backoff.Permanent(err)
		}
		return nc, err
	}, backoff.WithContext(pauses, ctx), func(err error, next time.Duration) {
		s.log.InfoContext(ctx, "wait for the bus", "url", busName(bus), "err", err, "next", next)
	})
}

// busName is the URL of a bus for people, without a password, and whether anybody
// has said it: a forgotten one leads to another bus, which refuses.
func busName(bus string) string {
	var all []string
	for one := range strings.SplitSeq(bus, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Host == "" { // no scheme: the client adds one
			u, err = url.Parse("nats://" + strings.TrimSpace(one))
		}
		if err != nil {
			return "that of NATS_URL"
		}
		all = append(all, u.Redacted())
	}
	if os.Getenv("NATS_URL") == "" {
		return strings.Join(all, ",") + ", as NATS_URL is not set"
	}
	return strings.Join(all, ",")
}

// options read the files again whenever they connect: a credential or certificate
// that was rotated is taken up without a restart.
func (s *settings) options(file string) []nats.Option {
	reason := "" // why the bus is away, said once; the client calls from one goroutine
	tls := events.ClientTLS{CA: os.Getenv("NATS_CA"), Cert: os.Getenv("NATS_CERT"), Key: os.Getenv("NATS_KEY")}
	tls.Kept = func(err error) { s.log.Error("bus: a file of its TLS cannot be used, the former is kept", "err", err) }
	return append(slices.Concat(events.Frozen(), tls.Options()),
		nats.Name("usher worker "+s.name),
		nats.UserCredentials(file),
		nats.CustomInboxPrefix("_INBOX_"+s.name), // a worker may listen to no other
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { s.log.Error("bus", "err", s.said(err)) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // not our own Close
				s.log.Warn("bus is away", "err", s.said(err))
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			if text := s.said(err); text != reason {
				reason = text
				s.log.Warn("bus is away", "err", text)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			reason = ""
			s.log.Info("bus is back")
		}),
	)
}

// said is an error of the connection, with what mends it if that is known.
func (s *settings) said(err error) string {
	if line, ok := events.Explain(s.name, err); ok {
		return line
	}
	return err.Error()
}

// checkCredential says what the bus would refuse without saying why.
func (s *settings) checkCredential(file string) error {
	if file == "" {
		return fmt.Errorf("NATS_CREDS is not set: it names the file with the worker's credential; a new one: %s", events.Mend(s.name))
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("NATS_CREDS: %w; a new credential: %s", err, events.Mend(s.name))
	}
	whose, expires, err := events.CredentialOf(text)
	switch {
	case err != nil:
		return fmt.Errorf("NATS_CREDS: %s: %w; a new credential: %s", file, err, events.Mend(s.name))
	case whose != s.name:
		return fmt.Errorf("NATS_CREDS: %s is the credential of %q, not of %q, whose it has to be; a new one: %s", file, whose, s.name, events.Mend(s.name))
	case !expires.IsZero() && time.Now().After(expires):
		return fmt.Errorf("NATS_CREDS: %s expired at %s; a new credential: %s", file, expires.UTC().Format(time.RFC3339), events.Mend(s.name))
	}
	return nil
}

// unreachable tells whether another try may help.
func unreachable(err error) bool {
	var network *net.OpError
	return errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, io.EOF) || errors.As(err, &network)
}
