package delivery_test

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/delivery"
)

var errDown = errors.New("it is down")

// faults says of a step whether it is done, and how it fails. Nil: it is fine.
type faults func(step string) (done bool, err error)

func (f faults) of(ctx context.Context, step string) (bool, error) {
	life, _ := ctx.Value(lifeKey{}).(*life)
	if life.over() {
		return false, errKilled
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if f == nil {
		return true, nil
	}
	done, err := f(step)
	if errors.Is(err, errKilled) {
		life.end()
	}
	return done, err
}

// life is that of a process, in the context of all that it does.
type life struct {
	killed chan struct{}
	once   sync.Once
}

type lifeKey struct{}

// errKilled is a fault that ends the process as kill -9 does: it does nothing any more.
var errKilled = errors.New("killed")

func newLife(ctx context.Context) (context.Context, *life) {
	l := &life{killed: make(chan struct{})}
	return context.WithValue(ctx, lifeKey{}, l), l
}

func (l *life) end() { l.once.Do(func() { close(l.killed) }) }

func (l *life) over() bool {
	if l == nil {
		return false
	}
	select {
	case <-l.killed:
		return true
	default:
		return false
	}
}

// table is hook_failures with the events of its commits.
type table struct {
	mu   sync.Mutex
	rows []*delivery.Failure
	by   map[string]*delivery.Failure // hook and event id
	said []events.Event
	faults
	asked map[string]int
}

// statements is how often a method was called.
func (d *table) statements(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[name]
}

func (d *table) step(ctx context.Context, name string) (bool, error) {
	if d.asked == nil {
		d.asked = map[string]int{}
	}
	d.asked[name]++
	return d.of(ctx, name)
}

func (d *table) find(hook, eventID string) *delivery.Failure { return d.by[hook+"/"+eventID] }

// add puts a failure in as it is, but for its number.
func (d *table) add(f delivery.Failure) {
	if d.by == nil {
		d.by = map[string]*delivery.Failure{}
	}
	f.N = int64(len(d.rows) + 1)
	d.rows = append(d.rows, &f)
	d.by[f.Hook+"/"+f.EventID] = &f
}

// given is add for tests.
func (d *table) given(f delivery.Failure) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.add(f)
}

func (d *table) Failure(ctx context.Context, hook string, eventID uuid.UUID) (delivery.Failure, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.step(ctx, "Failure"); err != nil {
		return delivery.Failure{}, err
	}
	if f := d.find(hook, eventID.String()); f != nil {
		return *f, nil
	}
	return delivery.Failure{}, delivery.ErrNoFailure
}

func (d *table) SaveFailure(ctx context.Context, former *delivery.Failure, f delivery.Failure, e ...events.Event) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do, err := d.step(ctx, "SaveFailure")
	if !do {
		return false, err
	}
	is := d.find(f.Hook, f.EventID)
	switch {
	case (is == nil) != (former == nil):
		return false, err
	case is == nil:
		d.add(f)
	case is.State != former.State || is.Attempts != former.Attempts || is.Round != former.Round:
		return false, err
	default:
		f.N = is.N
		*is = f
	}
	d.said = append(d.said, e...)
	return err == nil, err
}

func (d *table) DueFailures(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]delivery.Failure, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do, err := d.step(ctx, "DueFailures")
	if !do {
		return nil, err
	}
	var due []delivery.Failure
	for _, f := range d.rows {
		if !f.NextAt.IsZero() && !f.NextAt.After(now) && len(due) < limit {
			f.NextAt = now.Add(lease)
			due = append(due, *f)
		}
	}
	if err != nil {
		return nil, err
	}
	return due, nil
}

func (d *table) NextDue(ctx context.Context) (next time.Time, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.rows {
		if !f.NextAt.IsZero() && (next.IsZero() || f.NextAt.Before(next)) {
			next = f.NextAt
		}
	}
	_, err = d.step(ctx, "NextDue")
	return next, err
}

func (d *table) RetryPublished(ctx context.Context, f delivery.Failure, seq uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	do, err := d.step(ctx, "RetryPublished")
	is := d.find(f.Hook, f.EventID)
	if do && is != nil && is.State == delivery.Waiting && is.Attempts == f.Attempts && is.Round == f.Round {
		is.NextAt, is.StreamSeq = time.Time{}, seq
	}
	return err
}

func (d *table) RetriesDone(ctx context.Context, hook string, upTo uint64) (n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do, err := d.step(ctx, "RetriesDone")
	for _, f := range d.rows {
		if do && f.Hook == hook && f.State == delivery.Waiting && f.NextAt.IsZero() && f.StreamSeq <= upTo {
			f.State = delivery.Done
			n++
		}
	}
	return n, err
}

func (d *table) RetriesLost(ctx context.Context, hook string, before time.Time) (n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do, err := d.step(ctx, "RetriesLost")
	for _, f := range d.rows {
		if do && f.Hook == hook && f.State == delivery.Waiting && f.NextAt.IsZero() && f.LastAt.Before(before) {
			f.NextAt, f.LastAt = time.Now(), time.Now()
			n++
		}
	}
	return n, err
}

func (d *table) FailedAt(ctx context.Context, hook string, seq uint64) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.step(ctx, "FailedAt")
	return slices.ContainsFunc(d.rows, func(f *delivery.Failure) bool {
		return f.Hook == hook && f.StreamSeq == seq && (f.State != delivery.Waiting || !f.NextAt.IsZero())
	}), err
}

func (d *table) Failures(ctx context.Context, q delivery.FailureQuery) (found []delivery.Failure, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err = d.step(ctx, "Failures")
	for _, f := range d.rows {
		if f.N > q.After && (q.Hook == "" || q.Hook == f.Hook) && (q.EventID == "" || q.EventID == f.EventID) &&
			(q.State == "" || q.State == f.State) && len(found) < cmp.Or(q.Limit, 100) {
			found = append(found, *f)
		}
	}
	return found, err
}

func (d *table) FailureCounts(ctx context.Context) (map[string]map[delivery.State]int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.step(ctx, "FailureCounts")
	counts := map[string]map[delivery.State]int64{}
	for _, f := range d.rows {
		if counts[f.Hook] == nil {
			counts[f.Hook] = map[delivery.State]int64{}
		}
		counts[f.Hook][f.State]++
	}
	return counts, err
}

// Append is the ledger's.
func (d *table) Append(ctx context.Context, e events.Event) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if do, err := d.step(ctx, "Append"); !do {
		return err
	}
	d.said = append(d.said, e)
	return nil
}

// row is a copy of a failure, zero if there is none.
func (d *table) row(hook, eventID string) delivery.Failure {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.find(hook, eventID); f != nil {
		return *f
	}
	return delivery.Failure{}
}

// types are those of the events that were stored, each valid.
func (d *table) types(t testing.TB) (types []string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.said {
		if payload, err := e.Encode(); err != nil {
			t.Error(err)
		} else if err := eventstest.Check(payload); err != nil {
			t.Errorf("event %s: %v", payload, err)
		}
		types = append(types, e.Type)
	}
	return types
}

// eventLog is the event log.
type eventLog struct {
	mu      sync.Mutex
	records []audit.Record
	at      map[string]int // by event id
}

func (l *eventLog) add(t testing.TB, p events.Payload, at time.Time) string {
	t.Helper()
	e := events.New(p, at, events.About{Source: "/usher/test", Actor: "system:test"})
	payload, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at == nil {
		l.at = map[string]int{}
	}
	l.at[e.ID] = len(l.records)
	l.records = append(l.records, audit.Record{
		Seq: int64(len(l.records) + 1), EventID: e.ID, Type: e.Type, Payload: payload, LoggedAt: at,
	})
	return e.ID
}

func (l *eventLog) EventPayload(_ context.Context, id uuid.UUID) ([]byte, string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.at[id.String()]; ok {
		return l.records[at].Payload, l.records[at].Type, nil
	}
	return nil, "", delivery.ErrNoEvent
}

func (l *eventLog) EventsOf(_ context.Context, types []string, since time.Time, after int64, limit int) (found []audit.Record, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records {
		if r.Seq > after && slices.Contains(types, r.Type) && !r.LoggedAt.Before(since) && len(found) < limit {
			found = append(found, r)
		}
	}
	return found, nil
}

// bus is the stream and the durable consumers. Each message id is stored once.
type bus struct {
	mu       sync.Mutex
	messages []delivery.Retry
	acked    map[string]map[uint64]bool // by hook
	paused   map[string]time.Time
	pauses   []time.Time // as ordered
	created  time.Time   // of the consumers
	faults
}

func (b *bus) PublishRetry(ctx context.Context, r delivery.Retry) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	do, err := b.of(ctx, "PublishRetry")
	if !do {
		return 0, err
	}
	at := slices.IndexFunc(b.messages, func(m delivery.Retry) bool { return m.MessageID == r.MessageID })
	if at < 0 {
		b.messages = append(b.messages, r)
		at = len(b.messages) - 1
	}
	if err != nil {
		return 0, err
	}
	return uint64(at + 1), nil
}

func (b *bus) Consumers(ctx context.Context) (map[string]delivery.Consumer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := b.of(ctx, "Consumers")
	all := map[string]delivery.Consumer{}
	for _, hook := range []string{"crm", "other", "shop"} {
		c := delivery.Consumer{CreatedAt: b.created, PausedUntil: b.paused[hook]}
		for n, m := range b.messages {
			seq := uint64(n + 1)
			if m.Hook == hook && !b.acked[hook][seq] {
				break
			}
			if m.Hook == hook {
				c.AckFloor = seq
			}
		}
		all[hook] = c
	}
	return all, err
}

func (b *bus) Pause(_ context.Context, hook string, until time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.paused == nil {
		b.paused = map[string]time.Time{}
	}
	b.paused[hook], b.pauses = until, append(b.pauses, until)
	return nil
}

func (b *bus) ack(hook string, seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.acked == nil {
		b.acked = map[string]map[uint64]bool{}
	}
	if b.acked[hook] == nil {
		b.acked[hook] = map[uint64]bool{}
	}
	b.acked[hook][seq] = true
}

// set replaces what the stream holds.
func (b *bus) set(messages []delivery.Retry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages = messages
}

// lose makes a new stream with new consumers.
func (b *bus) lose() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages, b.acked, b.created = nil, nil, time.Now()
}

// retries are the messages of a hook.
func (b *bus) retries(hook string) (found []delivery.Retry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.messages {
		if m.Hook == hook {
			found = append(found, m)
		}
	}
	return found
}

// ordered are the lengths of the pauses, the end of a pause being 0.
func (b *bus) ordered() []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.pauses)
}

// hooks are those that are declared.
type hooks map[string]delivery.Hook

func (h hooks) Hook(_ context.Context, name string) (delivery.Hook, error) {
	if is, ok := h[name]; ok {
		is.Name = name
		return is, nil
	}
	return delivery.Hook{}, delivery.ErrNoHook
}

// world is a service with all that it stands on.
type world struct {
	*delivery.Service
	table *table
	log   *eventLog
	bus   *bus
}

func newWorld() *world {
	w := &world{table: &table{}, log: &eventLog{}, bus: &bus{}}
	w.Service = w.service()
	return w
}

// service is another process over the same world.
func (w *world) service() *delivery.Service {
	return delivery.New(delivery.Options{
		Failures: w.table, EventLog: w.log, History: w.log, Publisher: w.bus, Consumers: w.bus, Ledger: w.table,
		Declared: hooks{
			"crm":   {Kind: delivery.Worker, Types: []string{"identity.created", "hook.dead"}},
			"other": {Kind: delivery.Worker, Types: []string{"identity.created"}},
			"shop":  {Kind: delivery.Webhook, Types: []string{"identity.created"}},
			"gate":  {Kind: delivery.Answer},
		},
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
}

// event puts an event into the log.
func (w *world) event(t testing.TB) string {
	t.Helper()
	return w.log.add(t, events.IdentityCreated{IdentityID: uuid.NewString()}, time.Now())
}

// report reports and wants it to be taken.
func (w *world) report(t testing.TB, hook string, r events.HookFailed) events.HookFailedReply {
	t.Helper()
	reply, err := w.Report(t.Context(), hook, r)
	if err != nil {
		t.Fatalf("Report(%s, %+v) = %v", hook, r, err)
	}
	return reply
}

// run runs test with a service that runs too. Time in it is virtual.
func run(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		synctest.Wait()
		test(t, w)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// later lets virtual time pass, until all that is due has happened.
func later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
