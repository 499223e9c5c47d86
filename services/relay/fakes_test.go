package relay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/relay"
)

var (
	errDown     = errors.New("the bus is down")
	errDatabase = errors.New("the database is down")
)

// stream stores each message id once, like the real one.
type stream struct {
	mu     sync.Mutex
	stored []events.Message
	seq    map[string]uint64
	rounds [][]string // ids of each Publish
	// fault, if set, says of a message whether it is stored and whether that is acknowledged.
	fault func(m events.Message) (store bool, err error)
	delay time.Duration
}

func (s *stream) Publish(ctx context.Context, messages []events.Message) []events.Ack {
	select {
	case <-time.After(s.delay):
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	acks := make([]events.Ack, len(messages))
	for n, m := range messages {
		ids = append(ids, m.ID)
		store, err := true, error(nil)
		if s.fault != nil {
			store, err = s.fault(m)
		}
		if store && s.seq[m.ID] == 0 {
			if s.seq == nil {
				s.seq = map[string]uint64{}
			}
			s.stored = append(s.stored, m)
			s.seq[m.ID] = uint64(len(s.stored))
		}
		acks[n] = events.Ack{StreamSeq: s.seq[m.ID], Err: err}
	}
	s.rounds = append(s.rounds, ids)
	return acks
}

// PublishTogether refuses a batch with a known message, like the real stream.
func (s *stream) PublishTogether(ctx context.Context, messages []events.Message) ([]events.Ack, error) {
	s.mu.Lock()
	store, err := true, error(nil)
	for _, m := range messages {
		if s.fault != nil {
			stores, faulty := s.fault(m)
			store, err = store && stores, errors.Join(err, faulty)
		}
		if s.seq[m.ID] != 0 {
			store, err = false, errors.New("the batch holds a duplicate")
		}
	}
	fault := s.fault
	s.fault = nil
	s.mu.Unlock()
	defer s.setFault(fault)
	if !store {
		return nil, err
	}
	return s.Publish(ctx, messages), err
}

func (s *stream) setFault(fault func(events.Message) (bool, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

func (s *stream) ids() (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.stored {
		ids = append(ids, m.ID)
	}
	return ids
}

func (s *stream) tries() [][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.rounds)
}

// outbox is the outbox and the event log.
type outbox struct {
	mu    sync.Mutex
	next  int64
	rows  []relay.Row
	log   []relay.Published
	moves int
	// pending and move, if set, fail before or (move) after the work is done.
	pending  func() error
	move     func() (done bool, err error)
	pendings int
}

// add commits an event of an identity and gives its id.
func (o *outbox) add(identity string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next++
	id := fmt.Sprintf("e%d", o.next)
	o.rows = append(o.rows, relay.Row{
		ID: o.next, EventID: id, Type: "identity.created", IdentityID: identity,
		Payload: fmt.Appendf(nil, `{"id":%q,"traceparent":"trace of %s"}`, id, id),
	})
	return id
}

func (o *outbox) Pending(_ context.Context, limit int) ([]relay.Row, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pendings++
	if o.pending != nil {
		if err := o.pending(); err != nil {
			return nil, err
		}
	}
	return slices.Clone(o.rows[:min(limit, len(o.rows))]), nil
}

func (o *outbox) Move(ctx context.Context, rows []relay.Published) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	done, err := true, error(nil)
	if o.move != nil {
		done, err = o.move()
	}
	if !done {
		return err
	}
	for _, p := range rows {
		at := slices.IndexFunc(o.rows, func(r relay.Row) bool { return r.ID == p.ID })
		if at < 0 {
			return fmt.Errorf("event %s was moved by another relay", p.EventID)
		}
	}
	for _, p := range rows {
		o.rows = slices.DeleteFunc(o.rows, func(r relay.Row) bool { return r.ID == p.ID })
	}
	o.log = append(o.log, rows...)
	o.moves++
	return err
}

func (o *outbox) set(change func(*outbox)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(o)
}

func (o *outbox) logged() (ids []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.log {
		ids = append(ids, p.EventID)
	}
	return ids
}

// reads and windows tell how often the outbox was read, and rows were moved.
func (o *outbox) reads() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pendings
}

func (o *outbox) windows() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.moves
}

func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.rows)
}

// lead gives the lead to one at a time, and takes it away when told.
type lead struct {
	mu    sync.Mutex
	taken int
	held  bool
	lost  chan struct{}
	err   error
}

func (l *lead) Lead(context.Context) (func(), <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, nil, l.err
	}
	l.taken++
	l.held, l.lost = true, make(chan struct{})
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.held = false
	}, l.lost, nil
}

func (l *lead) times() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken
}

// world is a relay with all that it stands on, in a synctest bubble.
type world struct {
	relay.Relay
	stream *stream
	outbox *outbox
	lead   *lead
	kick   chan struct{}
	log    *lines
	mu     sync.Mutex
	stats  relay.Stats // the last
}

// lines are what was logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// with are the lines that hold a text.
func (l *lines) with(text string) (found []string) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

func newWorld() *world {
	w := &world{stream: &stream{}, outbox: &outbox{}, lead: &lead{}, kick: make(chan struct{}, 1), log: &lines{}}
	w.Relay = relay.Relay{
		Store: w.outbox, Publisher: w.stream, Lead: w.lead.Lead, Kick: w.kick,
		Log: slog.New(slog.NewTextHandler(w.log, nil)),
		Observe: func(s relay.Stats) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.stats = s
		},
	}
	return w
}

// observed is what the relay told of its last window.
func (w *world) observed() relay.Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

// wake kicks as commits do: without waiting, and one kick for many.
func (w *world) wake() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// run sets a relay up, runs test while it runs, then ends it. Time in it is
// virtual: sleeping takes none.
func run(t *testing.T, setUp func(w *world), test func(w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		setUp(w)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		synctest.Wait()
		test(w)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if w.lead.held {
			t.Errorf("Run has ended and still holds the lead")
		}
	})
}

// later lets virtual time pass, until all that is due has happened.
func later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}
