package delivery

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
)

const (
	// source is that of the events of this package.
	source = "/usher/delivery"
	// finishTime bounds storing what has happened on the bus, which goes on when
	// the service ends.
	finishTime = 5 * time.Second
)

// system is the author where nobody asked.
var system = Author{Actor: "system:delivery"}

// Declared tells of hooks, those of the configuration and those that are built
// in as well as those of the table.
type Declared interface {
	// Hook gives a hook, or [ErrNoHook]. Of one that is built in only Name, Kind
	// and Types are needed.
	Hook(ctx context.Context, name string) (Hook, error)
}

// Retry is an event on its way to one hook only.
type Retry = events.Retry

// Publisher publishes retries.
type Publisher interface {
	// PublishRetry returns once the stream has stored r, with its place there.
	// Publishing the same message id again within the stream's duplicate window
	// stores nothing and gives the same place.
	PublishRetry(ctx context.Context, r Retry) (streamSeq uint64, err error)
}

// Consumer is what the bus knows of a hook's durable consumer.
type Consumer = events.DurableState

// Consumers are the durable consumers of the hooks.
type Consumers interface {
	// Consumers gives all that there are, by hook.
	Consumers(ctx context.Context) (map[string]Consumer, error)
	// Pause lets the hook get nothing until then; the zero time ends a pause.
	Pause(ctx context.Context, hook string, until time.Time) error
}

// Ledger takes events that belong to no other change.
type Ledger interface {
	Append(ctx context.Context, e events.Event) error
}

// History reads the event log.
type History interface {
	// EventsOf gives at most limit records behind the one with Seq after, in
	// their order: those of the types that were logged since then.
	EventsOf(ctx context.Context, types []string, since time.Time, after int64, limit int) ([]audit.Record, error)
}

// Observer is told what the service does, at once and from several goroutines.
type Observer interface {
	// Reported is told of each failed attempt that counts, and what became of the event.
	Reported(hook string, s State)
	// Published is told of each retry that the stream has stored.
	Published(hook string)
}

// Options are what a [Service] needs: all fields but the last two.
type Options struct {
	Failures  Failures
	Declared  Declared
	EventLog  Log
	History   History
	Publisher Publisher
	Consumers Consumers
	Ledger    Ledger
	Log       *slog.Logger
	Now       func() time.Time
	// Ladder gives another ladder than that of the hook's kind.
	Ladder  func(Hook) Ladder
	Observe Observer
}

// Service keeps what hooks have failed at. It is safe for concurrent use, and
// any number of processes may have one over the same database.
type Service struct {
	Options
	// wake tells the publishing loop that something may be due.
	wake chan struct{}
	// acks and pauses are what the watching loop does.
	acks   chan message
	pauses chan pauseOrder

	mu sync.Mutex
	// followed, health and strange are by hook.
	followed map[string]*followed
	health   map[string]*health
	strange  map[string]*rate.Limiter // reports about events that it does not get
}

// message is one in the stream, as a hook gets it.
type message struct {
	hook string
	seq  uint64
}

// New makes a service. [Service.Run] lets it work; Report, Redeliver, Discard
// and Replay work without.
func New(o Options) *Service {
	if o.Ladder == nil {
		o.Ladder = func(h Hook) Ladder { return LadderOf(h.Kind) }
	}
	if o.Observe == nil {
		o.Observe = nobody{}
	}
	return &Service{
		Options:  o,
		wake:     make(chan struct{}, 1),
		acks:     make(chan message, 1024),
		pauses:   make(chan pauseOrder, 64),
		followed: map[string]*followed{},
		health:   map[string]*health{},
		strange:  map[string]*rate.Limiter{},
	}
}

type nobody struct{}

func (nobody) Reported(string, State) {}
func (nobody) Published(string)       {}

// Author is who asked, for the events.
type Author = audit.Author

// event makes one of this package.
func event(by Author, p events.Payload, now time.Time) events.Event {
	return events.New(p, now, by.About(source))
}

// finishing is ctx for what must be stored although the service ends.
func finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), finishTime)
}
