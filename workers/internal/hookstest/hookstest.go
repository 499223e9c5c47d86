// Package hookstest stands in for the hooks service in the tests of workers:
//
//	hook.failed ─▶ kept for the test ─▶ waiting: published to .retry │ dead
package hookstest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
)

// Step is how long an event waits whose worker leaves it to the ladder.
const Step = 50 * time.Millisecond

// Hooks takes reports and publishes the events again, from the stream and
// without a table.
type Hooks struct {
	stream    jetstream.Stream
	publisher *events.Publisher

	mu      sync.Mutex
	reports []events.HookFailed
	timers  []*time.Timer
	end     func()
}

// Start answers reports until End. The connection is that of
// [events.UserDelivery]; js may read the stream.
func Start(ctx context.Context, nc *nats.Conn, js jetstream.JetStream) (*Hooks, error) {
	h := &Hooks{}
	var err error
	if h.publisher, err = events.NewPublisher(nc); err != nil {
		return nil, err
	}
	if h.stream, err = js.Stream(ctx, events.Stream); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ready, ended := make(chan struct{}), make(chan struct{})
	var served error
	go func() {
		defer close(ended)
		served = events.Serve(ctx, nc, events.Service{
			Name: "delivery", Version: "1.0.0", Subject: events.SubjectHookFailed("*"), Askers: events.AskedByWorker,
			Concurrency: 4, Pending: 1000, Handle: h.take, Log: slog.New(slog.DiscardHandler),
			Ready: func() { close(ready) },
		})
	}()
	h.end = sync.OnceFunc(func() {
		cancel()
		<-ended
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, t := range h.timers {
			t.Stop()
		}
	})
	select {
	case <-ready:
		return h, nil
	case <-ended:
		return nil, served
	}
}

// End ends it, as if the hooks service were away. What waits is lost.
func (h *Hooks) End() { h.end() }

// Reports are those so far.
func (h *Hooks) Reports() []events.HookFailed {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.reports)
}

func (h *Hooks) take(ctx context.Context, r events.Request) ([]byte, error) {
	var report events.HookFailed
	if err := json.Unmarshal(r.Data, &report); err != nil {
		return nil, &events.Refused{Code: events.CodeInvalid, Text: err.Error()}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reports = append(h.reports, report)
	if report.Permanent {
		return json.Marshal(events.HookFailedReply{State: events.StateDead})
	}
	after := Step
	if report.After > 0 {
		after = time.Duration(report.After * float64(time.Second))
	}
	ctx = context.WithoutCancel(ctx)
	h.timers = append(h.timers, time.AfterFunc(after, func() { h.again(ctx, r.Name, report) }))
	return json.Marshal(events.HookFailedReply{State: events.StateWaiting, Next: time.Now().Add(after).Format(time.RFC3339Nano)})
}

// again publishes the retry of what was reported.
func (h *Hooks) again(ctx context.Context, hook string, r events.HookFailed) {
	m, err := h.stream.GetMsg(ctx, r.StreamSeq)
	if err != nil {
		return // the test has ended
	}
	attempt := r.Attempt + 1
	id := fmt.Sprintf("%s/%s/1.%d", hook, r.EventID, attempt)
	_, _ = h.publisher.PublishRetry(ctx, events.Retry{Hook: hook, EventID: r.EventID, MessageID: id, Attempt: attempt, Payload: m.Data})
}
