package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

// ConnectOptions say how a part connects to the bus. User, Name and Log are
// needed, Credentials or CredentialsFile, and URL or InProcess.
type ConnectOptions struct {
	URL string
	// InProcess connects to a server in this process, whatever URL is.
	InProcess nats.InProcessConnProvider
	// Credentials is the text of a .creds file, User the user that it is for.
	Credentials []byte
	// CredentialsFile is such a file, which is read again each time that the
	// connection is made: a new credential is taken up without a restart.
	CredentialsFile string
	User            string
	// TLS names files that are read again in the same way. A URL of tls:// has TLS
	// without it.
	TLS ClientTLS
	// Name is what the bus's own tools show.
	Name   string
	IfAway IfAway
	Log    *slog.Logger
}

const (
	// pingInterval and maxPings are when a server that hangs is left: after three
	// pings without an answer, 1.5 to 2 seconds. What is asked and published until
	// then is lost or late.
	pingInterval = 500 * time.Millisecond
	maxPings     = 3
	// writeTime is when a server that takes nothing is left. Meanwhile nothing else
	// happens on the connection: no ping goes out, and none is missed.
	writeTime = time.Second
)

// Frozen are the options by which a connection leaves a server that hangs within
// two seconds, for the next one. Nobody hangs alone in one process: a connection
// in it needs none.
func Frozen() []nats.Option {
	return []nats.Option{
		nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(maxPings),
		nats.FlusherTimeout(writeTime), nats.ReconnectOnFlusherError(),
	}
}

// Connect connects to the bus. The connection comes back whenever it breaks;
// while the bus is away, what is published or asked fails at once instead of
// being sent late. What the bus reports later, such as a missing right, becomes
// a log line: where it happened it only looks like silence. A credential of
// another user, or one that has expired, is an error at once.
func Connect(ctx context.Context, o ConnectOptions) (*nats.Conn, error) {
	c, err := newCredential(o)
	if err != nil {
		return nil, fmt.Errorf("connect to the bus as %s: %w", o.User, err)
	}
	w := &watcher{user: o.User, log: o.Log.With("bus_user", o.User)}
	o.TLS.Kept = func(err error) { w.log.Error("bus: a file of its TLS cannot be used, the former is kept", "err", err) }
	connected := make(chan struct{})
	options := []nats.Option{
		nats.Name(o.Name),
		nats.UserJWT(c.token, c.sign),
		nats.CustomInboxPrefix(inboxPrefix(o.User)),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(w.pause),
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
	} else {
		options = slices.Concat(options, Frozen(), o.TLS.Options())
	}
	nc, err := nats.Connect(o.URL, options...)
	if refused(err) {
		return nil, fmt.Errorf("connect to the bus as %s: %w; to mend it: %s", o.User, err, Mend(o.User))
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the bus as %s: %w", o.User, err)
	}
	w.conn.Store(nc)
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

// Mend is the command that gives a user of the bus a good credential and the
// rights of this version of Usher. An external server must be started again with
// what the second writes.
func Mend(user string) string {
	if _, part := rightOf(user); !part {
		return "usher worker rotate " + user
	}
	return "usher bus config"
}

// Explain puts into one line what a user of the bus did wrong when err, from the
// error handler or a failed connection, is about a credential or a right: with
// the subject, and the command that mends it. Where it happened it only looks
// like silence.
func Explain(user string, err error) (line string, ok bool) {
	if subject, ok := Violation(err); ok {
		return fmt.Sprintf("no right to use %s as %s; to mend it: %s", subject, user, Mend(user)), true
	}
	if refused(err) {
		return fmt.Sprintf("the bus refuses the credential of %s (%v); to mend it: %s", user, err, Mend(user)), true
	}
	return "", false
}

// Violation gives the subject that err says its user has no right to.
func Violation(err error) (subject string, ok bool) {
	if err == nil {
		return "", false
	}
	if found := violation.FindStringSubmatch(err.Error()); found != nil {
		return found[2], true
	}
	return "", false
}

// refused tells whether the bus has refused a credential.
func refused(err error) bool {
	return slices.ContainsFunc([]error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired},
		func(is error) bool { return errors.Is(err, is) })
}

// pause is how long to wait before the next try: 50 ms, growing to 2 s, not
// the same for all processes.
func pause(tries int) time.Duration {
	longest := min(50*time.Millisecond<<min(tries, 10), 2*time.Second)
	return longest/2 + rand.N(longest/2)
}

// watcher logs what happens to a connection.
type watcher struct {
	user string
	log  *slog.Logger
	conn atomic.Pointer[nats.Conn]

	mu   sync.Mutex // of last; the rest is called from one goroutine
	last string     // why the bus is away
	// denied are the rights that were found missing, by what the bus says. What is
	// tried every few seconds, by credentials of a former version, is said once.
	denied map[string]bool
}

// maxDenied bounds what is remembered: subjects may have names in them.
const maxDenied = 1000

// pause is asked before a try. Of the one before it, where a server was reached and
// TLS ended it, the client tells nobody: it is only the connection's last error. What
// is about credentials it reports besides.
func (w *watcher) pause(tries int) time.Duration {
	if nc := w.conn.Load(); nc != nil {
		err := nc.LastError()
		if err != nil && !aboutCredentials.MatchString(err.Error()) {
			w.away(err)
		}
	}
	return pause(tries)
}

var aboutCredentials = regexp.MustCompile("(?i)authorization|authentication")

// away is told of each failed try; it logs each reason once.
func (w *watcher) away(err error) {
	if err == nil {
		return // closed by this side
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if reason := err.Error(); reason != w.last {
		w.last = reason
		if refused(err) {
			w.log.Error("the bus refuses the credentials; new ones are read at the next try", "err", reason, "mend", Mend(w.user))
			return
		}
		w.log.Warn("bus is away", "err", reason)
	}
}

func (w *watcher) back() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last != "" {
		w.last = ""
		w.log.Info("bus is back")
	}
}

// violation is how the server reports a missing right.
var violation = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) to "([^"]+)"`)

func (w *watcher) report(sub *nats.Subscription, err error) {
	if found := violation.FindStringSubmatch(err.Error()); found != nil {
		// Each question allows its answer, for a while and on the connection that it came
		// on: that is no missing right, unless none is ever delivered.
		said, to := found[0], found[2]
		late := found[1] == "Publish" && (strings.HasPrefix(to, inboxPrefix("")) || strings.HasPrefix(to, otherAccount+"."))
		if late {
			said = "an answer" // each has a subject of its own
		}
		if w.denied[said] {
			return
		}
		if w.denied == nil || len(w.denied) >= maxDenied {
			w.denied = map[string]bool{}
		}
		w.denied[said] = true
		if late {
			w.log.Warn("bus: an answer is not delivered: it came too late, or after its connection was made anew; if it is each one, the right to answer is missing",
				"subject", to, "mend", Mend(w.user))
			return
		}
		w.log.Error("bus: no right", "to", found[1], "subject", found[2], "mend", Mend(w.user))
		return
	}
	if refused(err) || errors.Is(err, os.ErrDeadlineExceeded) {
		w.away(err)
		return
	}
	if sub != nil {
		w.log.Error("bus", "subject", sub.Subject, "err", err)
		return
	}
	w.log.Error("bus", "err", err)
}
