package events_test

import (
	"context"
	"errors"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/usher-auth/usher/events"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestTraceParent(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		parent: parent, "": "", "none": "",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": "",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
	} {
		ctx := events.WithTraceParent(t.Context(), given)
		if got := events.TraceParent(ctx); got != want {
			t.Errorf("the trace context of %q is %q, want %q", given, got, want)
		}
	}
}

// TestRequestIsPartOfWhatAsks, over the bus: the service's span is a child, or its
// context has the trace where nothing is recorded.
func TestRequestIsPartOfWhatAsks(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	recorder := tracetest.NewSpanRecorder()
	asked := make(chan string, 1)
	s := service(&lines{}, func(ctx context.Context, r events.Request) ([]byte, error) {
		asked <- events.TraceParent(ctx)
		if string(r.Data) == "fail" {
			return nil, errors.New("ada@example.com is unknown")
		}
		return nil, nil
	})
	s.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test")
	stop := run(t, b.connect(events.UserSession), s)
	nc := b.connect(events.UserAPIAuth)
	ctx := events.WithTraceParent(t.Context(), parent)
	for _, data := range []string{"", "fail"} {
		_, err := events.Ask(ctx, nc, events.SubjectSessionIssue, "id "+data, soon(), []byte(data))
		if (err != nil) != (data == "fail") {
			t.Fatalf("Ask = %v", err)
		}
		if got := <-asked; got[3:35] != parent[3:35] || got == parent {
			t.Errorf("Handle has trace context %q, want a child of %q", got, parent)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	spans := recorder.Ended()
	if len(spans) != 2 {
		t.Fatalf("%d spans, want two", len(spans))
	}
	for n, span := range spans {
		if failed := span.Status().Code == codes.Error; span.Name() != "session answer" || span.Parent().SpanID().String() != parent[36:52] ||
			failed != (n == 1) || span.Status().Description != "" || len(span.Events()) > 0 {
			t.Errorf("span %d = %s %+v, want a child that says only whether it failed", n, span.Name(), span.Status())
		}
	}
}
