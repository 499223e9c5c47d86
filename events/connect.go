package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"
)

// IfAway says what [Connect] does when the bus cannot be reached, or refuses,
// at first.
type IfAway int

// What [Connect] does when the bus is away at first. Later it always comes back
// by itself.
const (
	// FailIfAway gives the error.
	FailIfAway IfAway = iota
	// WaitIfAway tries until it is there or the context ends.
	WaitIfAway
	// GoOnIfAway gives a connection that goes on trying.
	GoOnIfAway
)

// ConnectOptions say how a part connects to the bus. Credentials, User, Name
// and Log are needed, and URL or InProcess.
type ConnectOptions struct {
	URL string
	// InProcess connects to a server in this process, whatever URL is.
	InProcess nats.InProcessConnProvider
	// Credentials is the text of a .creds file, User the user that it is for.
	Credentials []byte
	User        string
	// Name is what the bus's own tools show.
	Name   string
	IfAway IfAway
	Log    *slog.Logger
}

// Connect connects to the bus. The connection comes back whenever it breaks;
// while the bus is away, what is published or asked fails at once instead of
// being sent late. What the bus reports later, such as a missing right, becomes
// a log line: where it happened it only looks like silence.
func Connect(ctx context.Context, o ConnectOptions) (*nats.Conn, error) {
	w := watcher{log: o.Log.With("bus_user", o.User)}
	connected := make(chan struct{})
	options := []nats.Option{
		nats.Name(o.Name),
		nats.UserCredentialBytes(o.Credentials),
		nats.CustomInboxPrefix(inboxPrefix(o.User)),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(pause),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectBufSize(-1),
		nats.RetryOnFailedConnect(o.IfAway != FailIfAway),
		nats.ConnectHandler(func(*nats.Conn) { w.back(); close(connected) }),
		nats.ReconnectHandler(func(*nats.Conn) { w.back() }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { w.away(err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { w.away(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { w.report(sub, err) }),
	}
	if o.InProcess != nil {
		options = append(options, nats.InProcessServer(o.InProcess))
	}
	nc, err := nats.Connect(o.URL, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to the bus as %s: %w", o.User, err)
	}
	if o.IfAway != WaitIfAway {
		return nc, nil
	}
	select {
	case <-connected:
		return nc, nil
	case <-ctx.Done():
		nc.Close()
		return nil, fmt.Errorf("connect to the bus as %s: %w", o.User, ctx.Err())
	}
}

// pause is how long to wait before the next try: 50 ms, growing to 2 s, not
// the same for all processes.
func pause(tries int) time.Duration {
	longest := min(50*time.Millisecond<<min(tries, 10), 2*time.Second)
	return longest/2 + rand.N(longest/2)
}

// watcher logs what happens to a connection. The client calls it from one
// goroutine.
type watcher struct {
	log  *slog.Logger
	last string // why the bus is away
}

// away is told of each failed try; it logs each reason once.
func (w *watcher) away(err error) {
	if err == nil {
		return // closed by this side
	}
	if reason := err.Error(); reason != w.last {
		w.last = reason
		if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) {
			w.log.Error("the bus refuses the credentials; new ones are read at the next start", "err", reason)
			return
		}
		w.log.Warn("bus is away", "err", reason)
	}
}

func (w *watcher) back() {
	if w.last != "" {
		w.last = ""
		w.log.Info("bus is back")
	}
}

// violation is how the server reports a missing right.
var violation = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) to "([^"]+)"`)

func (w *watcher) report(sub *nats.Subscription, err error) {
	if found := violation.FindStringSubmatch(err.Error()); found != nil {
		w.log.Error("bus: no right", "to", found[1], "subject", found[2])
		return
	}
	if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) {
		w.away(err)
		return
	}
	if sub != nil {
		w.log.Error("bus", "subject", sub.Subject, "err", err)
		return
	}
	w.log.Error("bus", "err", err)
}
