package workers

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/usher-auth/usher/events"
)

// trace gives ctx the span of an attempt, or the trace of its event where none is
// recorded. The span is nil then.
func (w *Worker) trace(ctx context.Context, a *Attempt) (context.Context, trace.Span) {
	from := events.WithTraceParent(ctx, a.Event.TraceParent)
	origin := trace.SpanContextFromContext(from)
	if w.tracer == nil || !origin.IsSampled() || w.handlerOf(a.Event.Type) == nil {
		return from, nil
	}
	// The request that the event is from is over, maybe for hours: not a parent.
	ctx, span := w.tracer.Start(ctx, w.name+" "+a.Event.Type, trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithLinks(trace.Link{SpanContext: origin}), trace.WithAttributes(
			attribute.String("usher.hook", w.name),
			attribute.String("messaging.message.id", a.Event.ID),
			attribute.Int("usher.attempt", a.Number),
		))
	if span.SpanContext().IsSampled() {
		a.TraceID = span.SpanContext().TraceID().String()
	}
	return ctx, span
}

// endSpan ends the span of an attempt. The text of err is not recorded: it may quote
// what the event is about.
func endSpan(span trace.Span, err error) {
	if span == nil {
		return
	}
	if err != nil {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}
