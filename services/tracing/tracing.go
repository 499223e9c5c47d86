// Package tracing marks the steps of what is traced. A span in a context brings along
// what it is recorded by, so that code below the edge is given no tracer:
//
//	edge: Start of a tracer ─▶ ctx ─▶ Do(ctx, "registration.commit", …) ─▶ ctx ─▶ Start …
//
// Where the context has no span, or one that is not sampled, a step costs nothing. What
// is recorded are names, times and whether a step failed: never the text of an error,
// which may quote what a person has entered, and nothing of requests, mails or events.
package tracing

import (
	"context"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/usher-auth/usher/events"
)

const scope = "github.com/usher-auth/usher"

// unrecorded is shared: it has no state.
var unrecorded trace.Span = noop.Span{}

// Start begins a step of what ctx is about; [End] ends it. Where that is not recorded
// ctx comes back as it is, and the span does nothing.
func Start(ctx context.Context, name string) (context.Context, trace.Span) {
	return start(ctx, name, trace.SpanKindInternal)
}

// StartCall is [Start] for a step in which another is asked, and its answer waited for.
func StartCall(ctx context.Context, name string) (context.Context, trace.Span) {
	return start(ctx, name, trace.SpanKindClient)
}

func start(ctx context.Context, name string, kind trace.SpanKind) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, unrecorded
	}
	return parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(kind))
}

// End ends a span, as failed if err is not nil.
func End(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// Do runs work as a step of what ctx is about.
func Do(ctx context.Context, name string, work func(context.Context) error) (err error) {
	ctx, span := Start(ctx, name)
	defer func() { End(span, err) }()
	return work(ctx)
}

// Parent is the W3C trace context for what is asked of others: that of ctx where it is
// recorded, else the one that is known otherwise.
func Parent(ctx context.Context, otherwise string) string {
	if trace.SpanFromContext(ctx).IsRecording() {
		return events.TraceParent(ctx)
	}
	return otherwise
}
