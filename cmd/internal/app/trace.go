package app

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/XSAM/otelsql"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/workers"
)

const (
	// flushTime is how long the end of a process waits for its last spans to be taken.
	flushTime = 3 * time.Second
	// exportRetry is how long a batch is tried again before it is dropped.
	exportRetry = 10 * time.Second
	// longestStatement is how much of a statement a span has.
	longestStatement = 2048
)

// traces records spans and sends them to a collector. Nil records nothing, and costs
// nothing.
type traces struct{ provider *sdktrace.TracerProvider }

// newTraces gives nil where no traces are configured. Nothing waits for a collector that
// is away: a bounded queue is dropped then.
func newTraces(ctx context.Context, cfg *config.Config, parts Parts, version string, log *slog.Logger) (*traces, error) {
	if !cfg.Traces() {
		return nil, nil
	}
	exporter, err := otlptracehttp.New(ctx, exporterOptions(cfg.Tracing.Providers.OTLP)...)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	host, _ := os.Hostname() // a name is for people
	about := []attribute.KeyValue{
		attribute.String("service.version", version),
		attribute.String("service.instance.id", uuid.NewString()),
		attribute.String("host.name", host),
		attribute.StringSlice("usher.parts", parts.names()),
	}
	if name := cfg.Tracing.ServiceName; name != "" {
		about = append(about, attribute.String("service.name", name))
	}
	origin, err := resource.New(ctx, // later ones win
		resource.WithAttributes(attribute.String("service.name", "usher")), resource.WithTelemetrySDK(),
		resource.WithFromEnv(), resource.WithAttributes(about...))
	if err != nil {
		log.Warn("OTEL_RESOURCE_ATTRIBUTES cannot be read", "error", err)
	}
	return newTracesTo(&tellingExporter{SpanExporter: exporter, log: log}, cfg.Tracing.Providers.OTLP.Sampling.Ratio, origin), nil
}

func newTracesTo(exporter sdktrace.SpanExporter, ratio float64, origin *resource.Resource) *traces {
	roots := sdktrace.TraceIDRatioBased(ratio)
	return &traces{sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter), // 2,048 spans wait at most, see OTEL_BSP_…
		sdktrace.WithSampler(sdktrace.ParentBased(linked{roots})),
		sdktrace.WithResource(origin),
	)}
}

func exporterOptions(o config.OTLP) []otlptracehttp.Option {
	options := []otlptracehttp.Option{otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
		Enabled: true, InitialInterval: time.Second, MaxInterval: exportRetry / 2, MaxElapsedTime: exportRetry,
	})}
	host, path, insecure := o.Endpoint()
	if host == "" {
		return options // what the variables say
	}
	options = append(options, otlptracehttp.WithEndpoint(host))
	if path != "" {
		options = append(options, otlptracehttp.WithURLPath(path))
	}
	if insecure {
		options = append(options, otlptracehttp.WithInsecure())
	}
	return options
}

// tracer gives nil where nothing is recorded.
func (t *traces) tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer("github.com/usher-auth/usher")
}

// options are for workers of this process.
func (t *traces) options() []workers.Option {
	if t == nil {
		return nil
	}
	return []workers.Option{workers.Traces(t.provider)}
}

// openDB gives what opens pools whose statements are recorded, nil for the usual: their
// text, in which every value is a parameter, and no parameter. What belongs to no trace,
// such as the relay's look at the outbox, is not recorded.
func (t *traces) openDB() func(driver.Connector) *sql.DB {
	if t == nil {
		return nil
	}
	return func(c driver.Connector) *sql.DB {
		return otelsql.OpenDB(c,
			otelsql.WithTracerProvider(t.provider),
			otelsql.WithSpanNameFormatter(func(_ context.Context, method otelsql.Method, query string) string {
				if word, _, _ := strings.Cut(strings.TrimSpace(query), " "); word != "" {
					return "sql " + word
				}
				return string(method)
			}),
			otelsql.WithAttributesGetter(func(_ context.Context, _ otelsql.Method, query string, _ []driver.NamedValue) []attribute.KeyValue {
				return []attribute.KeyValue{attribute.String("db.query.text", query[:min(len(query), longestStatement)])}
			}),
			otelsql.WithSpanOptions(otelsql.SpanOptions{
				SpanFilter: func(ctx context.Context, _ otelsql.Method, _ string, _ []driver.NamedValue) bool {
					return trace.SpanFromContext(ctx).IsRecording()
				},
				RecordError:          func(error) bool { return false }, // it may quote a value
				DisableQuery:         true,                              // see the attributes
				OmitConnResetSession: true, OmitConnPrepare: true, OmitRows: true,
			}))
	}
}

// close sends what is left, for a bounded time.
func (t *traces) close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("tracing: %w", err)
	}
	return nil
}

// linked samples attempts at events as what the events are from was sampled, and
// whatever else begins a trace by a ratio.
type linked struct{ sdktrace.Sampler }

// ShouldSample is that of [sdktrace.Sampler].
func (l linked) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if p.Kind == trace.SpanKindConsumer && len(p.Links) > 0 {
		if p.Links[0].SpanContext.IsSampled() {
			return sdktrace.AlwaysSample().ShouldSample(p)
		}
		return sdktrace.NeverSample().ShouldSample(p)
	}
	return l.Sampler.ShouldSample(p)
}

// tellingExporter says once that spans are not taken, and once that they are again.
type tellingExporter struct {
	sdktrace.SpanExporter
	log  *slog.Logger
	away atomic.Bool
}

// ExportSpans is that of [sdktrace.SpanExporter]. An error is told here.
func (e *tellingExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil && !e.away.Swap(true):
		e.log.Warn("traces are not taken, they are dropped until they are", "error", err)
	case err == nil && e.away.Swap(false):
		e.log.Info("traces are taken again")
	}
	return nil
}
