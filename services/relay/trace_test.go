package relay_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/usher-auth/usher/events"
)

// TestPublishingIsPartOfWhatMadeTheEvent: each event that is traced and stored has one
// span, whatever was tried before.
func TestPublishingIsPartOfWhatMadeTheEvent(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	const traced = "0af7651916cd43dd8448eb211c80319c"
	run(t, func(w *world) {
		w.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test")
		for n, flags := range []string{"01", "00"} {
			id := w.outbox.add(fmt.Sprint("person ", n))
			w.outbox.rows[n].Payload = fmt.Appendf(nil, `{"id":%q,"traceparent":"00-%s-b7ad6b7169203331-%s"}`, id, traced, flags)
		}
		w.outbox.add("anna") // of no trace
		failed := false
		w.stream.fault = func(events.Message) (bool, error) {
			if !failed {
				failed = true
				return false, errors.New("away")
			}
			return true, nil
		}
	}, func(w *world) {
		later(time.Minute)
		spans := recorder.Ended()
		if len(spans) != 1 {
			t.Fatalf("%d spans, want one of the event that is traced", len(spans))
		}
		s := spans[0]
		if s.Name() != "publish identity.created" || s.Parent().TraceID().String() != traced || s.SpanKind() != trace.SpanKindProducer {
			t.Errorf("span = %s of %s, want publish in the event's trace", s.Name(), s.Parent().TraceID())
		}
	})
}
