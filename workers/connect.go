package workers

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
)

// connect connects by the environment. It waits for a bus that cannot be
// reached, and gives up on one that refuses.
func (w *Worker) connect(ctx context.Context) (*nats.Conn, error) {
	url := cmp.Or(os.Getenv("NATS_URL"), nats.DefaultURL)
	options := []nats.Option{
		nats.Name("usher worker " + w.name),
		// The credential of a worker may listen below its own prefix only.
		nats.CustomInboxPrefix("_INBOX_" + w.name),
		nats.MaxReconnects(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { w.log.Error("bus", "err", err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // not our own Close
				w.log.Warn("bus is away", "err", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { w.log.Info("bus is back") }),
	}
	if file := os.Getenv("NATS_CREDS"); file != "" {
		options = append(options, nats.UserCredentials(file))
	}
	pauses := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMaxInterval(5*time.Second),
		backoff.WithMaxElapsedTime(0),
	)
	return backoff.RetryNotifyWithData(func() (*nats.Conn, error) {
		nc, err := nats.Connect(url, options...)
		if err != nil && !unreachable(err) {
			return nil, backoff.Permanent(err)
		}
		return nc, err
	}, backoff.WithContext(pauses, ctx), func(err error, next time.Duration) {
		w.log.InfoContext(ctx, "wait for the bus", "err", err, "next", next)
	})
}

// unreachable tells whether another try may help.
func unreachable(err error) bool {
	var network *net.OpError
	return errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, io.EOF) || errors.As(err, &network)
}
