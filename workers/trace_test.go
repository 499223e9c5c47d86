package workers_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

const (
	sampled   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	callers   = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
)

// TestTraces: an attempt is a trace of its own with a link to what the event is from, if
// that is traced; without a tracer, or a trace, a handler's context has the event's.
func TestTraces(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		parent   string
		traces   bool
		err      error
		recorded bool
	}{
		"traced":      {parent: sampled, traces: true, recorded: true},
		"failed":      {parent: sampled, traces: true, recorded: true, err: errors.New("ada@example.com is unknown")},
		"not sampled": {parent: unsampled, traces: true},
		"no tracer":   {parent: sampled},
		"of no trace": {traces: true},
	} {
		recorder := tracetest.NewSpanRecorder()
		var options []workers.Option
		if tt.traces {
			options = append(options, workers.Traces(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))))
		}
		w := workers.New("welcome", options...)
		seen := ""
		workers.On(w, func(ctx context.Context, _ created) error { seen = events.TraceParent(ctx); return tt.err })
		e := events.New(events.IdentityCreated{IdentityID: "0198c0de-0000-7000-8000-000000000001"}, time.Now(), events.About{Source: "/usher/test", TraceParent: tt.parent})
		message, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		if tt.recorded { // whoever tries is not what the event is from
			ctx = events.WithTraceParent(ctx, callers)
		}
		a := w.Try(ctx, workers.Delivery{Message: message})
		spans := recorder.Ended()
		if !tt.recorded {
			if len(spans) != 0 || seen != tt.parent || a.TraceID != "" {
				t.Errorf("%s: %d spans, the handler sees %q, the attempt %q; want none, the event's and none", name, len(spans), seen, a.TraceID)
			}
			continue
		}
		if len(spans) != 1 {
			t.Errorf("%s: %d spans, want one", name, len(spans))
			continue
		}
		s := spans[0]
		if s.Name() != "welcome identity.created" || s.SpanKind() != trace.SpanKindConsumer || s.Parent().IsValid() || len(s.Links()) != 1 ||
			s.Links()[0].SpanContext.TraceID().String() != sampled[3:35] || s.SpanContext().TraceID().String() == sampled[3:35] || s.SpanContext().TraceID().String() == callers[3:35] {
			t.Errorf("%s: span = %+v, want a root with a link to the event's trace", name, s)
		}
		if a.TraceID != s.SpanContext().TraceID().String() || seen[3:35] != a.TraceID {
			t.Errorf("%s: the attempt is of trace %q and the handler sees %q, want the span's", name, a.TraceID, seen)
		}
		if failed := s.Status().Code == codes.Error; failed != (tt.err != nil) || s.Status().Description != "" || len(s.Events()) != 0 {
			t.Errorf("%s: status = %+v, events %v, want whether it failed and not why", name, s.Status(), s.Events())
		}
	}
}
