package events

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// duplicateWindow is how long an event id is known to the stream: longer
	// than the relay can be stuck between an acknowledgement and its own commit.
	duplicateWindow = 10 * time.Minute
	// StreamAge is how long the stream keeps an event; the event log keeps it on.
	StreamAge = 7 * 24 * time.Hour
	// ackWait is when an event comes again that nobody acked. Workers that need
	// longer say so while they work.
	ackWait = 30 * time.Second
	// maxAckPending leaves room for events that wait for their next try.
	maxAckPending = 10_000
)

// StreamOptions are what an operator may choose. What is zero is left as it
// is, and for a new stream one replica without a limit of its size.
type StreamOptions struct {
	Replicas int
	// MaxBytes is where the stream takes no more: it drops no event unread. The
	// outbox holds what does not fit. [NoLimit] takes a limit away.
	MaxBytes  int64
	Placement Placement
}

// NoLimit is for [StreamOptions.MaxBytes]: the stores of the servers are the limit.
const NoLimit = -1

// Placement is which servers of a cluster keep the stream: those of a cluster,
// with all of the tags. The bus moves it while it is in use.
type Placement struct {
	Cluster string
	Tags    []string
}

// over gives a placement as the bus has it, with what p says over it.
func (p Placement) over(is *jetstream.Placement) *jetstream.Placement {
	if p.Cluster == "" && len(p.Tags) == 0 {
		return is
	}
	want := jetstream.Placement{}
	if is != nil {
		want = *is
	}
	want.Cluster = cmp.Or(p.Cluster, want.Cluster)
	if len(p.Tags) > 0 {
		want.Tags = p.Tags
	}
	return &want
}

// Durable is a durable consumer, one for each hook and worker.
type Durable struct {
	Name string // lower-kebab
	// Types are the event types that it gets, besides its own retries.
	Types []string
	// Since is where a new one starts; zero is the oldest event of the stream.
	Since time.Time
	// Origin says who declares it, see [DurableState]. What is built in has none.
	Origin Origin
}

// Origin is who declares a durable consumer. It stands in its metadata, so that
// whoever looks later knows who may end it.
type Origin string

// The origins.
const (
	OriginTable Origin = "table"
	OriginFile  Origin = "file"
)

// Members of a durable consumer's metadata.
const (
	metaOrigin     = "usher-origin"
	metaUndeclared = "usher-undeclared-since"
)

// ErrKept is in the errors about what is there and stays as it is, since the bus does
// not let it be mended, as a stream of one copy on a single server that is to have three.
var ErrKept = errors.New("it stays as it is")

// OnlyKept tells whether all that an error of [Provision] is about is there, and of
// use as it is.
func OnlyKept(err error) bool {
	if all, joined := err.(interface{ Unwrap() []error }); joined {
		return !slices.ContainsFunc(all.Unwrap(), func(err error) bool { return !errors.Is(err, ErrKept) })
	}
	return errors.Is(err, ErrKept)
}

// Provision declares the stream and the durable consumers: it creates what is
// not there, mends what differs, and leaves the rest alone, durables that are
// not listed too. The changes say what it did, one line each. What the bus
// does not let it mend is in the error, by name; everything else is done all
// the same.
//
// A new durable starts with the oldest event of the stream, unless it says since when.
func Provision(ctx context.Context, nc *nats.Conn, o StreamOptions, durables []Durable) (changes []string, err error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("provision: %w", err)
	}
	var errs []error
	change, err := provisionStream(ctx, js, o)
	if err != nil {
		err = fmt.Errorf("provision stream %s: %w", Stream, err)
		if !errors.Is(err, ErrKept) {
			return nil, err
		}
		errs = append(errs, err)
	}
	changes = append(changes, change)
	for _, d := range durables {
		change, err := provisionDurable(ctx, js, d)
		if err != nil {
			errs = append(errs, fmt.Errorf("provision durable consumer %s: %w", d.Name, err))
			continue
		}
		changes = append(changes, change)
	}
	nothing := func(change string) bool { return change == "" }
	return slices.DeleteFunc(changes, nothing), errors.Join(errs...)
}

func provisionStream(ctx context.Context, js jetstream.JetStream, o StreamOptions) (change string, err error) {
	stream, err := js.Stream(ctx, Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err := js.CreateStream(ctx, wantedStream(jetstream.StreamConfig{Name: Stream}, o))
		return "created stream " + Stream, err
	}
	if err != nil {
		return "", err
	}
	is := stream.CachedInfo().Config
	want := wantedStream(is, o)
	differences := differ(is, want)
	if differences == "" {
		return "", nil
	}
	follows := ""
	if want.Replicas != is.Replicas && !reflect.DeepEqual(want.Placement, is.Placement) {
		// The bus does not grow and move a stream at once.
		want.Placement = is.Placement
		differences, follows = differ(is, want), "; its placement follows"
	}
	_, err = js.UpdateStream(ctx, want)
	if isBusy(err) {
		return "", nil // the next time
	}
	if err != nil {
		return "", fmt.Errorf("cannot be mended (%s): %w: %w", differences, ErrKept, err)
	}
	return "mended stream " + Stream + ": " + differences + follows, nil
}

// isBusy tells whether err says that the stream grows or moves already.
func isBusy(err error) bool {
	const moving, reconfiguring = 10124, 10226
	var refused *jetstream.APIError
	return errors.As(err, &refused) && (refused.ErrorCode == moving || refused.ErrorCode == reconfiguring)
}

// wantedStream is is with what Usher relies on.
func wantedStream(is jetstream.StreamConfig, o StreamOptions) jetstream.StreamConfig {
	want := is
	want.Subjects = []string{EventPrefix + ">", allRetries}
	want.Storage = jetstream.FileStorage
	want.PersistMode = jetstream.DefaultPersistMode
	want.Retention = jetstream.LimitsPolicy
	want.Discard = jetstream.DiscardNew
	want.MaxAge = StreamAge
	want.Duplicates = duplicateWindow
	want.DenyDelete = true
	want.DenyPurge = true
	want.AllowDirect = true
	want.AllowAtomicPublish = true
	want.Replicas = cmp.Or(o.Replicas, is.Replicas, 1)
	want.MaxBytes = cmp.Or(o.MaxBytes, is.MaxBytes, -1)
	want.Placement = o.Placement.over(is.Placement)
	return want
}

func provisionDurable(ctx context.Context, js jetstream.JetStream, d Durable) (change string, err error) {
	if err := d.check(); err != nil {
		return "", err
	}
	consumer, err := js.Consumer(ctx, Stream, d.Name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		_, err := js.CreateConsumer(ctx, Stream, d.wanted(d.start()))
		return "created durable consumer " + d.Name, err
	}
	if err != nil {
		return "", err
	}
	is := consumer.CachedInfo().Config
	want := d.wanted(is)
	differences := differ(is, want)
	if differences == "" {
		return "", nil
	}
	if _, err := js.UpdateConsumer(ctx, Stream, want); err != nil {
		return "", fmt.Errorf("cannot be mended (%s): %w: %w", differences, ErrKept, err)
	}
	return "mended durable consumer " + d.Name + ": " + differences, nil
}

// wanted is is with what Usher relies on. A pause stays, and so does the place
// where the consumer started.
func (d Durable) wanted(is jetstream.ConsumerConfig) jetstream.ConsumerConfig {
	want := is
	want.AckPolicy = jetstream.AckExplicitPolicy
	want.AckWait = ackWait
	want.MaxAckPending = maxAckPending
	// No end and no ladder of the bus's own: it would end deliveries without a word.
	want.MaxDeliver = -1
	want.BackOff = nil
	want.HeadersOnly = false
	want.InactiveThreshold = 0
	want.Replicas = 0 // as many as the stream
	want.MemoryStorage = false
	want.SampleFrequency = "100" // who watches sees every ack
	want.Metadata = d.metadata(is.Metadata)
	want.FilterSubject = ""
	if filters := d.filters(); !slices.Equal(filters, slices.Sorted(slices.Values(is.FilterSubjects))) {
		want.FilterSubjects = filters
	}
	return want
}

// metadata is that of a durable that is declared.
func (d Durable) metadata(is map[string]string) map[string]string {
	want := maps.Clone(is)
	delete(want, metaUndeclared)
	delete(want, metaOrigin)
	if d.Origin == "" {
		return want
	}
	if want == nil {
		want = map[string]string{}
	}
	want[metaOrigin] = string(d.Origin)
	return want
}

// start is where a new durable begins.
func (d Durable) start() jetstream.ConsumerConfig {
	c := jetstream.ConsumerConfig{Durable: d.Name}
	if !d.Since.IsZero() {
		c.DeliverPolicy, c.OptStartTime = jetstream.DeliverByStartTimePolicy, &d.Since
	}
	return c
}

// filters are the subjects of d's events and of its retries, sorted.
func (d Durable) filters() []string {
	filters := []string{RetrySubject(d.Name)}
	for _, t := range d.Types {
		filters = append(filters, Subject(t))
	}
	slices.Sort(filters)
	return slices.Compact(filters)
}

func (d Durable) check() error {
	if err := CheckName(d.Name); err != nil {
		return err
	}
	if len(d.Types) == 0 {
		return errors.New("it has no event types")
	}
	for _, t := range d.Types {
		if t == "" || strings.ContainsAny(t, "*> \t") || strings.Contains("."+t+".", "..") {
			return fmt.Errorf("%q is no event type", t)
		}
	}
	return nil
}

// differ names the settings in which two configurations differ, with both
// values; empty if they are the same.
func differ[C any](is, want C) string {
	a, b := settings(is), settings(want)
	keys := maps.Clone(a)
	maps.Copy(keys, b)
	var differences []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !reflect.DeepEqual(a[key], b[key]) {
			differences = append(differences, fmt.Sprintf("%s is %v, want %v", key, a[key], b[key]))
		}
	}
	return strings.Join(differences, "; ")
}

// settings is a configuration under the names that the bus has for them.
func settings(config any) map[string]any {
	var named map[string]any
	text, err := json.Marshal(config)
	if err == nil {
		numbers := json.NewDecoder(bytes.NewReader(text))
		numbers.UseNumber()
		err = numbers.Decode(&named)
	}
	if err != nil {
		panic("events: configuration of the bus: " + err.Error())
	}
	return named
}
