package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
)

const (
	// name is the service's, as discovery shows it.
	name = "delivery"
	// concurrency is how many reports are stored at the same time, pending how
	// many more may wait: a hook whose report is dropped gets the event again.
	concurrency = 32
	pending     = 4096
	// maxReport bounds a report: more than what its fields may hold.
	maxReport = 16 << 10
)

// Service decides what becomes of failed events, see [delivery.Service].
type Service interface {
	Report(ctx context.Context, hook string, r events.HookFailed) (events.HookFailedReply, error)
	Acked(hook string, streamSeq uint64)
	Run(ctx context.Context) error
}

// Options are what [Run] needs: all fields but Observe.
type Options struct {
	Service Service
	Version string
	Log     *slog.Logger
	// Observe is told of each answer to a report, see [events.Service].
	Observe func(outcome string, took time.Duration)
}

// Run answers reports and lets the service work until ctx ends. Then it returns
// nil once what was accepted is answered and what was begun is stored. The
// connection is that of [events.UserDelivery].
func Run(ctx context.Context, nc *nats.Conn, o Options) error {
	samples, err := events.AckSamples(nc, func(hook string, streamSeq uint64, _ int) { o.Service.Acked(hook, streamSeq) })
	if err != nil {
		return err
	}
	defer func() { _ = samples.Unsubscribe() }()
	ctx, cancel := context.WithCancel(ctx)
	var both sync.WaitGroup
	var ran error
	both.Go(func() {
		defer cancel()
		ran = o.Service.Run(ctx)
	})
	served := events.Serve(ctx, nc, events.Service{
		Name: name, Version: o.Version, Subject: events.SubjectHookFailed("*"),
		Askers:      events.AskedByWorker,
		Concurrency: concurrency, Pending: pending,
		Handle: func(ctx context.Context, r events.Request) ([]byte, error) {
			return handle(ctx, o.Service, r.Name, r.Data)
		},
		Log: o.Log, Observe: o.Observe,
	})
	cancel()
	both.Wait()
	return errors.Join(served, ran)
}

// handle answers one report.
func handle(ctx context.Context, s Service, hook string, data []byte) ([]byte, error) {
	if len(data) > maxReport {
		return nil, &events.Refused{Code: events.CodeInvalid, Text: fmt.Sprintf("a report has at most %d bytes", maxReport)}
	}
	var report events.HookFailed
	if err := json.Unmarshal(data, &report); err != nil {
		return nil, &events.Refused{Code: events.CodeInvalid, Text: "the report is not the JSON that it should be"}
	}
	reply, err := s.Report(ctx, hook, report)
	var invalid *delivery.Invalid
	switch {
	case errors.As(err, &invalid):
		return nil, &events.Refused{Code: events.CodeInvalid, Text: invalid.Text}
	case errors.Is(err, delivery.ErrNoHook):
		return nil, &events.Refused{Code: events.CodeNoHook, Text: "no such hook is declared"}
	case err != nil:
		return nil, err
	}
	return json.Marshal(reply)
}
