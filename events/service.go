package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

const (
	// AnswerTime is how long a service may take for an answer: after that the
	// bus does not let it through any more.
	AnswerTime = 5 * time.Second
	// flushTime bounds each wait for the bus when a service starts and ends.
	flushTime = 2 * time.Second
	// endpoint is the name that discovery shows; a service has one.
	endpoint = "default"
)

// Service is a service on the bus that discovery shows ($SRV, "nats micro ls").
// All fields but Askers, Tracer, Observe and Ready are needed.
type Service struct {
	Name    string // "session"
	Version string // a semantic version, as in "1.2.3"; Serve refuses others
	// Subject is where it is asked. One token of it may be "*", see [Request].
	Subject string
	// Askers gives the users who may be answered when the request names name. The
	// bus checks where a request is sent, not where its answer goes: without this,
	// a worker could have an answer sent to another's inbox. Nil: only the API.
	Askers func(name string) []string
	// Concurrency is how many requests are handled at the same time. Pending is
	// how many more may wait; what is beyond is dropped and times out where it
	// was asked.
	Concurrency, Pending int
	// Handle answers one request. A [*Refused] reaches whoever asks; any other
	// error is logged and reaches them as [CodeError]. The context ends at the
	// request's deadline, not when Serve is told to end. It has the trace context of
	// whoever asks.
	Handle func(ctx context.Context, r Request) ([]byte, error)
	Log    *slog.Logger
	// Tracer records a span for each request, a child of whoever asks.
	Tracer trace.Tracer
	// Observe is told of each answer: "ok" or the code of the refusal, and how
	// long it took since a place was free.
	Observe func(outcome string, took time.Duration)
	// Ready is called once the bus has the subscription, or is away.
	Ready func()
}

// Request is one request to a [Service].
type Request struct {
	// ID makes the request idempotent.
	ID string
	// Name is what stands in the place of the "*" of the service's subject. The
	// bus lets a worker use only its own.
	Name string
	// Deadline is when whoever asks stops waiting, at most five seconds ahead.
	Deadline time.Time
	Data     []byte
}

// Serve answers requests until ctx ends. Then it takes no more and returns nil
// when those that it had accepted are answered. A request that comes too late
// is answered with [CodeLate] without being handled, one that does not come
// from an asker's inbox is dropped. A panic in Handle is answered with
// [CodeError].
func Serve(ctx context.Context, nc *nats.Conn, s Service) error {
	v := &serving{Service: s, nc: nc, slots: make(chan struct{}, s.Concurrency), waits: newWaits(time.Now())}
	gone := make(chan struct{})
	svc, err := micro.AddService(nc, micro.Config{
		Name:         s.Name,
		Version:      s.Version,
		StatsHandler: func(*micro.Endpoint) any { return v.counters.snapshot(len(v.slots)) },
		DoneHandler:  func(micro.Service) { close(gone) },
	})
	if err != nil {
		return fmt.Errorf("serve %s: %w", s.Name, err)
	}
	err = svc.AddEndpoint(endpoint, micro.ContextHandler(context.WithoutCancel(ctx), v.accept),
		micro.WithEndpointSubject(s.Subject), micro.WithEndpointPendingLimits(s.Pending, -1))
	if err != nil {
		return errors.Join(fmt.Errorf("serve %s: %w", s.Name, err), svc.Stop())
	}
	if nc.IsConnected() { // a bus that is away gets the subscription when it is back
		_ = nc.FlushTimeout(flushTime)
	}
	if s.Ready != nil {
		s.Ready()
	}
	select {
	case <-ctx.Done():
		return v.drain(svc)
	case <-gone:
		v.idle()
		return fmt.Errorf("serve %s: %w", s.Name, nats.ErrConnectionClosed)
	}
}

// serving is one Serve of a service. micro calls handlers one after another and
// looks at its request once they return, so each request gets a goroutine and
// is answered past micro.
type serving struct {
	Service
	nc       *nats.Conn
	slots    chan struct{} // one for each request that is handled
	waits    *waits
	counters counters
}

// accept takes a slot before it starts a goroutine: requests wait in the
// subscription, where their number is bounded.
func (v *serving) accept(ctx context.Context, r micro.Request) {
	name, ok := matches(v.Subject, r.Subject())
	if !ok || !v.asks(name, r.Reply()) {
		v.counters.stray.Add(1)
		v.Log.Warn("request of nobody who may ask, dropped", "service", v.Name, "subject", r.Subject(), "reply", r.Reply())
		return
	}
	v.slots <- struct{}{}
	go func() {
		defer func() { <-v.slots }()
		v.answer(ctx, r, name)
	}()
}

// asks tells whether a reply goes to one of the askers.
func (v *serving) asks(name, reply string) bool {
	askers := []string{UserAPIAuth}
	if v.Askers != nil {
		askers = v.Askers(name)
	}
	return slices.ContainsFunc(askers, func(user string) bool {
		prefix := inboxPrefix(user)
		if user == anyWorker {
			prefix = otherAccount
		}
		return strings.HasPrefix(reply, prefix+".")
	})
}

const (
	// anyWorker is, among askers, whoever asks from account WORKERS. The bus lets
	// each ask under its own name only, and the answer stays in that account.
	anyWorker = accountWorkers
	// otherAccount is where the server wants answers to another account. A client
	// cannot choose it: the bus puts its own in the place of what a request says.
	otherAccount = "_R_"
)

// AskedByWorker are the askers of a service that a worker asks under its own
// name: that worker, and Usher's own. The name itself is for a bus that was not
// given this Usher's accounts yet.
func AskedByWorker(name string) []string { return []string{anyWorker, name, UserHooks} }

// matches tells whether a subject fits a pattern, and what stands in the place
// of its "*". What the stream delivers to a service, because somebody had it
// sent there, has a subject of its own.
func matches(pattern, subject string) (name string, ok bool) {
	before, after, wild := strings.Cut(pattern, "*")
	if !wild {
		return "", subject == pattern
	}
	rest, ok := strings.CutPrefix(subject, before)
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(rest, after)
	return name, ok && name != "" && !strings.Contains(name, ".")
}

// idle waits until no request is handled: until all slots could be had.
func (v *serving) idle() {
	for range cap(v.slots) {
		v.slots <- struct{}{}
	}
	for range cap(v.slots) {
		<-v.slots
	}
}

func (v *serving) answer(ctx context.Context, r micro.Request, name string) {
	started := time.Now()
	reply := &nats.Msg{Subject: r.Reply()}
	outcome := "ok"
	data, err := v.traced(ctx, r, func(ctx context.Context) ([]byte, error) { return v.handle(ctx, r, name, started) })
	if err == nil {
		reply.Data = data
	} else {
		refused := v.refusal(r, err)
		outcome = refused.Code
		reply.Header = nats.Header{micro.ErrorCodeHeader: {refused.Code}, micro.ErrorHeader: {refused.Text}}
	}
	if err := v.nc.PublishMsg(reply); err != nil {
		v.Log.Warn("answer could not be sent", "service", v.Name, "request", r.Headers().Get(HeaderRequestID), "err", err)
	}
	took := time.Since(started)
	v.counters.count(outcome, took)
	if v.Observe != nil {
		v.Observe(outcome, took)
	}
}

// traced records a span of an answer, where there is a tracer.
func (v *serving) traced(ctx context.Context, r micro.Request, answer func(context.Context) ([]byte, error)) ([]byte, error) {
	ctx = WithTraceParent(ctx, r.Headers().Get(HeaderTraceParent))
	if v.Tracer == nil {
		return answer(ctx)
	}
	ctx, span := v.Tracer.Start(ctx, v.Name+" answer", trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	data, err := answer(ctx)
	var refused *Refused
	if err != nil && !errors.As(err, &refused) {
		span.SetStatus(codes.Error, "") // its text may quote what was asked
	}
	return data, err
}

// handle calls Handle unless it is too late, and turns a panic into an error.
func (v *serving) handle(ctx context.Context, m micro.Request, name string, now time.Time) (data []byte, err error) {
	deadline, err := v.deadline(m, now)
	if err != nil {
		return nil, err
	}
	if !now.Before(deadline) {
		return nil, &Refused{Code: CodeLate, Text: "the deadline had passed"}
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			err = &panicked{value: r, stack: debug.Stack()}
		}
	}()
	return v.Handle(ctx, Request{ID: m.Headers().Get(HeaderRequestID), Name: name, Deadline: deadline, Data: m.Data()})
}

// deadline is when the answer stops being of use, by this process's clock.
func (v *serving) deadline(m micro.Request, now time.Time) (time.Time, error) {
	latest := now.Add(AnswerTime)
	text := m.Headers().Get(HeaderDeadline)
	if text == "" {
		return latest, nil
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return latest, &Refused{Code: CodeInvalid, Text: HeaderDeadline + " is not a number"}
	}
	asked := time.UnixMilli(ms)
	if text := m.Headers().Get(HeaderTimeout); text != "" {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil || ms < 0 || ms > math.MaxInt32 {
			return latest, &Refused{Code: CodeInvalid, Text: HeaderTimeout + " is no number of milliseconds"}
		}
		timeout := time.Duration(ms) * time.Millisecond
		left := timeout
		if asker := askerOf(m.Reply()); asker != "" {
			left -= v.waits.since(asker, asked.Add(-timeout), timeout, now)
		}
		asked = now.Add(left)
	}
	if asked.Before(latest) {
		return asked, nil
	}
	return latest, nil
}

// refusal is what whoever asks learns of err; what they do not learn is logged.
func (v *serving) refusal(r micro.Request, err error) *Refused {
	var refused *Refused
	if errors.As(err, &refused) && refused.Code != "" {
		return refused
	}
	attrs := []any{"service", v.Name, "request", r.Headers().Get(HeaderRequestID), "err", err}
	var p *panicked
	if errors.As(err, &p) {
		attrs = append(attrs, "stack", string(p.stack))
	}
	v.Log.Error("request failed", attrs...)
	return &Refused{Code: CodeError, Text: "the service failed"}
}

type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// drain ends the service so that no accepted request loses its answer. The
// order matters: Stop only asks the bus for no more.
func (v *serving) drain(svc micro.Service) error {
	err := svc.Stop()
	if err == nil && v.nc.IsConnected() {
		err = v.nc.FlushTimeout(flushTime) // what the bus had sent before is here now
	}
	answered := make(chan struct{})
	barrier := v.nc.Barrier(func() { // and has a slot
		go func() {
			v.idle()
			close(answered)
		}()
	})
	if err = errors.Join(err, barrier); err != nil {
		return fmt.Errorf("drain %s: %w", v.Name, err)
	}
	select {
	case <-answered:
	case <-time.After(AnswerTime + flushTime):
		return fmt.Errorf("drain %s: a handler ignores the end of its context", v.Name)
	}
	if v.nc.IsConnected() {
		err = v.nc.FlushTimeout(flushTime)
	}
	if err != nil {
		return fmt.Errorf("drain %s: %w", v.Name, err)
	}
	return nil
}
