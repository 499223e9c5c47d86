package tracing_test

import (
	"context"
	"errors"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/tracing"
)

const elsewhere = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

var errQuoting = errors.New("ada@example.com is taken")

func TestSteps(t *testing.T) {
	t.Parallel()
	recorded := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(recorded))
	ctx, root := provider.Tracer("test").Start(t.Context(), "root")
	err := tracing.Do(ctx, "outer", func(ctx context.Context) error {
		if got := tracing.Parent(ctx, elsewhere); got == elsewhere || got != events.TraceParent(ctx) {
			t.Errorf("Parent in a step = %q, want the step", got)
		}
		return tracing.Do(ctx, "inner", func(context.Context) error { return errQuoting })
	})
	if !errors.Is(err, errQuoting) {
		t.Errorf("Do = %v, want the error of the work", err)
	}
	tracing.End(root, nil)
	spans := recorded.GetSpans()
	if len(spans) != 3 || spans[0].Name != "inner" || spans[0].Parent.SpanID() != spans[1].SpanContext.SpanID() || spans[1].Parent.SpanID() != spans[2].SpanContext.SpanID() {
		t.Fatalf("spans = %+v, want inner in outer in root", spans)
	}
	for _, s := range spans[:2] {
		if s.Status.Code != codes.Error || s.Status.Description != "" || len(s.Events) != 0 {
			t.Errorf("%s = %+v %v, want that it failed, and nothing of why", s.Name, s.Status, s.Events)
		}
	}
	if spans[2].Status.Code != codes.Unset {
		t.Errorf("root = %+v, want no failure", spans[2].Status)
	}
}

// What is not recorded costs nothing, whether no trace is there, one that began
// elsewhere, or one that is not sampled.
func TestStepsThatAreNotRecordedCostNothing(t *testing.T) {
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))
	unsampled, _ := provider.Tracer("test").Start(t.Context(), "root")
	for name, ctx := range map[string]context.Context{
		"none": t.Context(), "elsewhere": events.WithTraceParent(t.Context(), elsewhere), "not sampled": unsampled,
	} {
		var failed error
		allocs := testing.AllocsPerRun(100, func() {
			failed = tracing.Do(ctx, "step", func(inner context.Context) error {
				if inner != ctx {
					t.Errorf("%s: a step has another context", name)
				}
				return errQuoting
			})
			if _, call := tracing.StartCall(ctx, "call"); call.IsRecording() {
				t.Errorf("%s: a call is recorded", name)
			}
			if tracing.Parent(ctx, elsewhere) != elsewhere {
				t.Errorf("%s: Parent is not the one that is known", name)
			}
		})
		if allocs != 0 || !errors.Is(failed, errQuoting) {
			t.Errorf("%s: %v allocations, error %v; want none, and the error of the work", name, allocs, failed)
		}
	}
}
