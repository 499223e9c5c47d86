package events

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

// Users are the users of Usher's own parts: for each there is a .creds file. Those
// of the system account are no parts.
func Users() (names []string) {
	for _, r := range rights {
		if r.account != accountSystem {
			names = append(names, r.user)
		}
	}
	return names
}

// ReadKeys reads the keys that [LoadOrMakeKeys] has made in dir, and makes none:
// what is missing is [fs.ErrNotExist].
func ReadKeys(dir string) (*Keys, error) {
	k := &Keys{}
	for _, s := range k.seeds() {
		text, err := os.ReadFile(filepath.Join(dir, s.file))
		if err != nil {
			return nil, fmt.Errorf("bus keys: %w", err)
		}
		if *s.pair, err = nkeys.FromSeed(text); err != nil {
			return nil, fmt.Errorf("bus keys: %s holds no seed", filepath.Join(dir, s.file))
		}
	}
	return k, nil
}

// RightsDrift says in what the rights in a credential of one of Usher's users
// differ from those of this version, one line each: those that it lacks and
// those that are too many. It does not ask the bus, which goes by the credential.
func RightsDrift(creds []byte, user string) ([]string, error) {
	r, ok := rightOf(user)
	if !ok {
		return nil, fmt.Errorf("rights: the bus has no user %q", user)
	}
	token, err := jwt.ParseDecoratedJWT(creds)
	if err != nil {
		return nil, errors.New("rights: it is no .creds file")
	}
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return nil, errors.New("rights: it is no .creds file of a user")
	}
	is, want := claims.Permissions, r.permissions()
	var drift []string
	for _, list := range []struct {
		verb     string
		is, want jwt.StringList
	}{
		{"publish", is.Pub.Allow, want.Pub.Allow},
		{"subscribe", is.Sub.Allow, want.Sub.Allow},
		{"publish (denied)", is.Pub.Deny, want.Pub.Deny},
		{"subscribe (denied)", is.Sub.Deny, want.Sub.Deny},
	} {
		drift = append(drift, missingOf(list.want, list.is, "lacks "+list.verb)...)
		drift = append(drift, missingOf(list.is, list.want, "has too much: "+list.verb)...)
	}
	if answersOf(is) != answersOf(want) {
		drift = append(drift, fmt.Sprintf("answers %d times to a request, want %d", answersOf(is), answersOf(want)))
	}
	return drift, nil
}

func missingOf(these, in []string, what string) (lines []string) {
	for _, s := range these {
		if !slices.Contains(in, s) {
			lines = append(lines, what+" "+s)
		}
	}
	return lines
}

func answersOf(p jwt.Permissions) int {
	if p.Resp == nil {
		return 0
	}
	return p.Resp.MaxMsgs
}

// Drift is what the bus has otherwise than it is declared.
type Drift struct {
	// Name is that of the stream or of a durable consumer.
	Name string
	// Missing tells that it is not there at all.
	Missing bool
	// Differences names the settings with both values.
	Differences string
}

// StreamState is how the stream is kept.
type StreamState struct {
	Messages, Bytes uint64
	// MaxBytes is where it takes no more; 0 is no limit of its own.
	MaxBytes uint64
	// Replicas is on how many servers each event is to be kept, Peers how many
	// know of it, the leader included; 1 for a server that is alone.
	Replicas, Peers int
	Leader          string
	// Behind are the servers that lack some of it or are away, with what is known.
	Behind []string
	// Ahead is how far the clock of the bus is before that of this machine, Within
	// by how much that may be wrong.
	Ahead, Within time.Duration
}

// Compare gives what [Provision] would change, and changes nothing: the stream
// and each of the durable consumers that differ or are missing. Without the
// stream nothing else is there either. The users [UserProvision] and
// [UserDelivery] may ask.
func Compare(ctx context.Context, nc *nats.Conn, o StreamOptions, durables []Durable) (StreamState, []Drift, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return StreamState{}, nil, fmt.Errorf("compare: %w", err)
	}
	before := time.Now()
	stream, err := js.Stream(ctx, Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return StreamState{}, []Drift{{Name: Stream, Missing: true}}, nil
	}
	if err != nil {
		return StreamState{}, nil, fmt.Errorf("compare: %w", err)
	}
	info := stream.CachedInfo()
	state := streamState(info)
	state.Within = time.Since(before) / 2
	state.Ahead = info.TimeStamp.Sub(before.Add(state.Within))
	var drift []Drift
	if d := differ(info.Config, wantedStream(info.Config, o)); d != "" {
		drift = append(drift, Drift{Name: Stream, Differences: d})
	}
	found := map[string]jetstream.ConsumerConfig{}
	list := stream.ListConsumers(ctx)
	for c := range list.Info() {
		found[c.Name] = c.Config
	}
	if err := list.Err(); err != nil {
		return state, drift, fmt.Errorf("compare durable consumers: %w", err)
	}
	for _, d := range durables {
		is, ok := found[d.Name]
		if !ok {
			drift = append(drift, Drift{Name: d.Name, Missing: true})
			continue
		}
		if differences := differ(is, d.wanted(is)); differences != "" {
			drift = append(drift, Drift{Name: d.Name, Differences: differences})
		}
	}
	return state, drift, nil
}

// StreamNow gives the state of the stream. The error is [jetstream.ErrStreamNotFound]
// if there is none. The users [UserProvision] and [UserDelivery] may ask.
func StreamNow(ctx context.Context, nc *nats.Conn) (StreamState, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return StreamState{}, fmt.Errorf("stream: %w", err)
	}
	stream, err := js.Stream(ctx, Stream)
	if err != nil {
		return StreamState{}, fmt.Errorf("stream: %w", err)
	}
	return streamState(stream.CachedInfo()), nil
}

func streamState(info *jetstream.StreamInfo) StreamState {
	s := StreamState{Messages: info.State.Msgs, Bytes: info.State.Bytes, Replicas: info.Config.Replicas, Peers: 1}
	s.MaxBytes = uint64(max(0, info.Config.MaxBytes))
	if info.Cluster == nil {
		return s
	}
	s.Leader, s.Peers = info.Cluster.Leader, 1+len(info.Cluster.Replicas)
	for _, r := range info.Cluster.Replicas {
		switch {
		case r.Offline:
			s.Behind = append(s.Behind, r.Name+" is away")
		case !r.Current:
			s.Behind = append(s.Behind, fmt.Sprintf("%s lacks %d messages", r.Name, r.Lag))
		}
	}
	return s
}

// MayBeyond tries what no user of Usher may do, by a connection of its own: to
// listen to everything, and to publish to a subject that nobody listens to. It
// gives what the bus has let happen; empty is what is right. Nothing that was sent
// is kept by anybody.
func MayBeyond(ctx context.Context, o ConnectOptions) (allowed []string, err error) {
	const nobodys = "usher.doctor.v1.probe"
	nc, err := Connect(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("try rights: %w", err)
	}
	defer nc.Close()
	probe := make(chan error, 8)
	nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		select {
		case probe <- err:
		default:
		}
	})
	sub, err := nc.SubscribeSync(">")
	if err == nil {
		defer func() { _ = sub.Unsubscribe() }()
		err = errors.Join(nc.Publish(nobodys, nil), nc.FlushTimeout(flushTime))
	}
	if err != nil {
		return nil, fmt.Errorf("try rights: %w", err)
	}
	denied := map[string]bool{}
	for range 2 {
		select {
		case err := <-probe:
			if subject, ok := Violation(err); ok {
				denied[subject] = true
			}
		case <-time.After(flushTime / 4): // it comes before the answer to the flush
		}
	}
	for subject, what := range map[string]string{">": "listen to everything", nobodys: "publish to " + nobodys} {
		if !denied[subject] {
			allowed = append(allowed, what)
		}
	}
	slices.Sort(allowed)
	return allowed, nil
}

// AskAsWorker asks for the durable consumer of the name, which must not exist,
// by a connection with a worker's credential. Nil says that the bus lets workers
// through to the stream.
func AskAsWorker(ctx context.Context, nc *nats.Conn, name string) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("ask as a worker: %w", err)
	}
	if _, err = js.Consumer(ctx, Stream, name); err == nil || errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	if strings.Contains(err.Error(), "stream not found") {
		return nil // that is another finding
	}
	return fmt.Errorf("ask as a worker: %w", err)
}
